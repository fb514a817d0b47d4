package storage

// PutOption changes how a manifest is put.
type PutOption func(*putOptions)

type putOptions struct {
	skipReferences bool
	acceptUnsigned bool
	checkOnly      bool
	tag            string
	made           *Link
}

// SkipReferences puts a manifest whether or not what it references is here:
// for a caller who knows better, as a mirror that fetches blobs when they are
// asked for.
func SkipReferences() PutOption { return func(o *putOptions) { o.skipReferences = true } }

// AcceptUnsigned puts a manifest of schema 1 without signatures, as stores keep
// it: for a caller who copies what is stored.
func AcceptUnsigned() PutOption { return func(o *putOptions) { o.acceptUnsigned = true } }

// ForTag says which tag a manifest is pushed for. The signed form of schema 1
// names one, which must be that.
func ForTag(tag string) PutOption { return func(o *putOptions) { o.tag = tag } }

// CheckOnly checks a manifest as it would be checked, and stores nothing: for a
// caller who puts several and wants all of them or none.
func CheckOnly() PutOption { return func(o *putOptions) { o.checkOnly = true } }

// Made tells which link the Put has made, for Retract, once it is there.
func Made(made *Link) PutOption { return func(o *putOptions) { o.made = made } }
