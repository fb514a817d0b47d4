package storage

// RegistryMiddleware wraps a registry: what it returns is used in its place.
type RegistryMiddleware func(Registry) Registry

// RepositoryMiddleware wraps each repository that a registry returns. A wrapper
// that is to be a source of Mount has a method Unwrap() Repository.
type RepositoryMiddleware func(Repository) Repository

// Wrap returns a registry whose repositories are wrapped, in the order given:
// the last is the outermost.
func Wrap(reg Registry, middleware ...RepositoryMiddleware) Registry {
	if len(middleware) == 0 {
		return reg
	}
	return &wrapped{reg, middleware}
}

// wrapped is a registry with wrapped repositories.
type wrapped struct {
	Registry
	middleware []RepositoryMiddleware
}

var _ Registry = (*wrapped)(nil)

func (w *wrapped) Repository(name string) (Repository, error) {
	repo, err := w.Registry.Repository(name)
	if err != nil {
		return nil, err
	}
	for _, m := range w.middleware {
		repo = m(repo)
	}
	return repo, nil
}

// unwrap is the repository of this package below any wrappers.
func unwrap(repo Repository) (*repository, bool) {
	for {
		switch r := repo.(type) {
		case *repository:
			return r, true
		case interface{ Unwrap() Repository }:
			repo = r.Unwrap()
		default:
			return nil, false
		}
	}
}
