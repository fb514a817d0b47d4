package storage

// OpenOption changes how content is opened.
type OpenOption func(*openOptions)

type openOptions struct {
	observer Observer
}

// Observer sees content while it is verified, so that it need not be read
// again. The calls come one after another, from a goroutine of their own.
type Observer interface {
	// Verifying is called with the content, piece by piece and in order,
	// before anybody knows whether it is good. All pieces but the last are of
	// 1 MiB. p is valid until it returns.
	Verifying(p []byte, off int64)

	// Verified is called at the end. err is nil where all of the content was
	// seen and is what the digest names.
	Verified(err error)
}

// Observe lets o see the content, where opening verifies it and is the first
// to: others wait for the same verification, and see nothing of it. Who no
// longer waits may still be called.
func Observe(o Observer) OpenOption { return func(opts *openOptions) { opts.observer = o } }

func openOptionsOf(options []OpenOption) openOptions {
	var o openOptions
	for _, option := range options {
		option(&o)
	}
	return o
}
