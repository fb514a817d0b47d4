package storage

// DeleteOption changes how a manifest is deleted.
type DeleteOption func(*deleteOptions)

type deleteOptions struct {
	unlessTagged bool
}

// UnlessTagged deletes a manifest only where no tag names it: else it is
// [ErrReferenced].
func UnlessTagged() DeleteOption { return func(o *deleteOptions) { o.unlessTagged = true } }

func deleteOptionsOf(options []DeleteOption) deleteOptions {
	var o deleteOptions
	for _, option := range options {
		option(&o)
	}
	return o
}
