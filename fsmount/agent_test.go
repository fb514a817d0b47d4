package fsmount_test

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// request is what an agent is asked to do by system calls.
type request struct {
	Op       string
	Path, To string
	Flags    int
	Parts    [][]byte // that are written, with a FLUSH after each
	Uploads  []string // directories that tree is to list as well
}

// answer is how that went.
type answer struct {
	Errno syscall.Errno
	Fault string
	Tree  map[string]string
}

// act is the program that makes system calls for a test, one after the other.
func act([]string) error {
	runtime.LockOSThread() // the mount knows who asks by the thread
	in, out := json.NewDecoder(os.Stdin), json.NewEncoder(os.Stdout)
	for {
		var q request
		if err := in.Decode(&q); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		var a answer
		if err := q.do(&a); err != nil {
			a.Fault = err.Error()
			if !errors.As(err, &a.Errno) {
				return err
			}
		}
		if err := out.Encode(a); err != nil {
			return err
		}
	}
}

func (q request) do(a *answer) error {
	switch q.Op {
	case "write":
		return q.write()
	case "symlink":
		return os.Symlink(q.To, q.Path)
	case "rename":
		return syscall.Rename(q.Path, q.To) // os.Rename looks first
	case "link":
		return os.Link(q.Path, q.To)
	case "unlink":
		return syscall.Unlink(q.Path)
	case "mkdir":
		return os.MkdirAll(q.Path, 0o755)
	case "mkdir one":
		return os.Mkdir(q.Path, 0o755)
	case "rmdir":
		return syscall.Rmdir(q.Path)
	case "truncate":
		return os.Truncate(q.Path, 0)
	case "tree":
		a.Tree = map[string]string{}
		return q.tree(q.Path, a.Tree)
	}
	return fmt.Errorf("no such operation: %s", q.Op)
}

// write opens a file, writes, and closes it: the verdict is that of close, but
// for the parts before the last.
func (q request) write() error {
	fd, err := again(func() (int, error) { return syscall.Open(q.Path, q.Flags, 0o644) })
	if err != nil {
		return err
	}
	for i, part := range q.Parts {
		if _, err := again(func() (int, error) { return syscall.Write(fd, part) }); err != nil {
			return errors.Join(err, syscall.Close(fd))
		}
		if i+1 < len(q.Parts) {
			copied, err := syscall.Dup(fd)
			if err != nil {
				return errors.Join(err, syscall.Close(fd))
			}
			_ = syscall.Close(copied) // that is a FLUSH
		}
	}
	return syscall.Close(fd)
}

// again makes a system call that a signal may interrupt: the runtime sends
// itself some.
func again(call func() (int, error)) (int, error) {
	for {
		if n, err := call(); err != syscall.EINTR {
			return n, err
		}
	}
}

// tree reads everything below a directory.
func (q request) tree(dir string, found map[string]string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		name := strings.TrimPrefix(path, q.Path+"/")
		if _, twice := found[name]; twice {
			return fmt.Errorf("%s is listed twice", name)
		}
		switch e.Type() {
		case os.ModeDir:
			found[name] = "directory"
			err = q.tree(path, found)
		case os.ModeSymlink:
			found[name], err = os.Readlink(path)
		default:
			found[name], err = describeFile(path)
		}
		if errors.Is(err, os.ErrNotExist) && filepath.Base(dir) == "_uploads" {
			delete(found, name) // it has ended meanwhile
		} else if err != nil {
			return err
		}
	}
	if dir != q.Path {
		return nil
	}
	for _, uploads := range q.Uploads {
		if err := q.tree(uploads, found); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return nil
}

func describeFile(path string) (string, error) {
	info, err := os.Lstat(path)
	if err != nil {
		return "", err
	}
	content, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	return fileOf(content, info.Size()), nil
}

// fileOf is how tree tells of a file.
func fileOf(content []byte, size int64) string {
	return fmt.Sprintf("%d bytes, and has %x", size, sha256.Sum256(content))
}

// A thread that looks where a tag leads, and then writes there, does not write
// to the tag, as it does that opens the tag.
func TestLookingIsNotFollowing(t *testing.T) {
	t.Parallel()
	m := newMount(t, serveOptions{AttrTimeout: time.Second})
	r, agent := m.repo(t), newAgent(t, m.dir)
	a, b := r.pushed(t, "a", "v1"), r.pushed(t, "b")
	payload, err := b.manifest.content()
	require.NoError(t, err)
	ask := func(q request) syscall.Errno {
		got, err := agent.ask(q)
		require.NoError(t, err)
		return got.Errno
	}
	require.Zero(t, ask(request{Op: "tree", Path: r.dir() + "/_tags"}))
	there := r.dir() + "/_manifests/sha256/" + a.manifest.hex
	require.Equal(t, syscall.EBADMSG, ask(writing(there, payload)))
	r.requireTag(t, "v1", a.manifest)

	require.Zero(t, ask(request{Op: "tree", Path: r.dir() + "/_tags"}))
	require.Zero(t, ask(request{Op: "unlink", Path: r.dir() + "/_tags/v1"}))
	payload, err = a.manifest.content()
	require.NoError(t, err)
	require.Zero(t, ask(writing(there, payload)))
	r.isGone(t, r.dir()+"/_tags/v1")

	r.ok(t, `ln -s "$1" "$R/_tags/v1"`, a.manifest.digest())
	payload, err = b.manifest.content()
	require.NoError(t, err)
	require.Zero(t, ask(writing(r.dir()+"/_tags/v1", payload)))
	r.requireTag(t, "v1", b.manifest)
}

// agent is a process that uses a mount.
type agent struct {
	dir string
	in  *json.Encoder
	out *json.Decoder
}

// newAgent starts an agent, which lives as long as the test.
func newAgent(t *testing.T, dir string) *agent {
	t.Helper()
	return newAgentNamed(t, dir, filepath.Base(os.Args[0]))
}

// newAgentNamed starts an agent as a program of that name.
func newAgentNamed(t *testing.T, dir, name string) *agent {
	t.Helper()
	self, err := filepath.Abs(os.Args[0])
	require.NoError(t, err)
	program := filepath.Join(t.TempDir(), name)
	require.NoError(t, os.Symlink(self, program))
	cmd := exec.Command(program)
	cmd.Env = append(os.Environ(), roleEnv+"=act")
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = in.Close()
		_ = cmd.Wait()
	})
	return &agent{dir, json.NewEncoder(in), json.NewDecoder(out)}
}

// ask has the agent do something. If that hangs, the mount is ended.
func (a *agent) ask(q request) (answer, error) {
	stuck := time.AfterFunc(patience, func() { _ = exec.Command("umount", "-f", a.dir).Run() })
	defer stuck.Stop()
	var got answer
	if err := a.in.Encode(q); err != nil {
		return got, err
	}
	err := a.out.Decode(&got)
	return got, err
}
