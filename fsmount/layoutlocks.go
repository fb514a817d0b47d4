package fsmount

import "sync"

// repoLocks is a lock for each repository, or whatever else has a name, that
// somebody holds one of.
type repoLocks struct {
	mu   sync.Mutex
	held map[string]*repoLock
}

type repoLock struct {
	sync.Mutex
	users int // that hold it or wait for it
}

func newRepoLocks() *repoLocks { return &repoLocks{held: map[string]*repoLock{}} }

// lock takes the lock of a repository and returns what gives it back.
func (ls *repoLocks) lock(repo string) (unlock func()) {
	ls.mu.Lock()
	l := ls.held[repo]
	if l == nil {
		l = &repoLock{}
		ls.held[repo] = l
	}
	l.users++
	ls.mu.Unlock()
	l.Lock()
	return func() {
		l.Unlock()
		ls.mu.Lock()
		defer ls.mu.Unlock()
		if l.users--; l.users == 0 {
			delete(ls.held, repo)
		}
	}
}
