package loop_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"bazil.org/fuse"
	fusefs "bazil.org/fuse/fs"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"registryfs/fsmount/loop"
)

// dirEnv makes the test binary a program that serves a tree at a directory: a
// process that served what it touches could wait for itself.
const dirEnv = "LOOP_TEST_DIR"

// patience bounds what a hang could otherwise make endless.
const patience = 60 * time.Second

func TestMain(m *testing.M) {
	dir := os.Getenv(dirEnv)
	if dir == "" {
		os.Exit(m.Run())
	}
	if err := serve(dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func serve(dir string) error {
	conn, err := fuse.Mount(dir, fuse.FSName("test"), fuse.Subtype("registryfs"), fuse.MaxReadahead(128<<10))
	if err != nil {
		return err
	}
	defer conn.Close()
	fmt.Println("ready")
	tree := &tree{counts: map[string]int{}, made: map[string]bool{}, blocked: make(chan struct{})}
	nobody := func(uint32) bool { return false } // is killed
	return loop.New(conn, tree, nobody, slog.New(slog.NewTextHandler(os.Stderr, nil))).Serve()
}

// tree is a root directory whose names behave as they are called.
type tree struct {
	mu      sync.Mutex
	counts  map[string]int
	made    map[string]bool // links
	version uint64
	blocked chan struct{} // closed to let go of who is blocked
	once    sync.Once
}

func (t *tree) count(what string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.counts[what]++
}

func (t *tree) countOf(what string) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strconv.Itoa(t.counts[what])
}

func (t *tree) said() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return fmt.Sprintln(t.counts)
}

func (t *tree) Root() (fusefs.Node, error) { return root{t}, nil }

type root struct{ tree *tree }

var (
	_ fusefs.NodeRequestLookuper = root{}
	_ fusefs.NodeSymlinker       = root{}
	_ fusefs.HandleReadDirAller  = root{}
	_ loop.KeptDirectory         = root{}
)

func (r root) Attr(ctx context.Context, a *fuse.Attr) error {
	a.Inode, a.Mode, a.Valid = 1, os.ModeDir|0o755, time.Hour
	return nil
}

func (r root) Lookup(ctx context.Context, req *fuse.LookupRequest, resp *fuse.LookupResponse) (fusefs.Node, error) {
	r.tree.count("lookup " + req.Name)
	switch kind, _, _ := strings.Cut(req.Name, "-"); kind {
	case "panic":
		panic("as the test wants")
	case "absent":
		resp.EntryValid = time.Hour
		return nil, loop.ErrAbsent
	case "missing":
		resp.EntryValid = time.Hour // of no effect without ErrAbsent
		return nil, syscall.ENOENT
	case "blocked":
		<-r.tree.blocked
	case "release":
		r.tree.once.Do(func() { close(r.tree.blocked) })
	case "change":
		r.tree.mu.Lock()
		r.tree.version++
		r.tree.mu.Unlock()
	case "kept":
		resp.EntryValid = time.Hour
	case "link":
		r.tree.mu.Lock()
		defer r.tree.mu.Unlock()
		if !r.tree.made[req.Name] {
			return nil, syscall.ENOENT
		}
	}
	return file{r.tree, req.Name}, nil
}

func (r root) Symlink(ctx context.Context, req *fuse.SymlinkRequest) (fusefs.Node, error) {
	r.tree.mu.Lock()
	defer r.tree.mu.Unlock()
	r.tree.made[req.NewName] = true
	return file{r.tree, req.NewName}, nil
}

func (r root) ListingKept() (time.Duration, uint64) {
	r.tree.mu.Lock()
	defer r.tree.mu.Unlock()
	return time.Hour, r.tree.version
}

func (r root) ReadDirAll(ctx context.Context) ([]fuse.Dirent, error) {
	r.tree.count("list")
	entries := []fuse.Dirent{{Inode: 1, Type: fuse.DT_Dir, Name: "."}, {Inode: 1, Type: fuse.DT_Dir, Name: ".."}}
	for i := range 5000 {
		entries = append(entries, fuse.Dirent{Inode: uint64(10 + i), Type: fuse.DT_File, Name: fmt.Sprintf("name-%04d", i)})
	}
	_, version := r.ListingKept()
	return append(entries, fuse.Dirent{Inode: 9, Type: fuse.DT_File, Name: fmt.Sprintf("version-%d", version)}), nil
}

type file struct {
	tree *tree
	name string
}

var (
	_ fusefs.NodeOpener     = file{}
	_ fusefs.NodeReadlinker = file{}
	_ fusefs.NodeGetxattrer = file{}
)

func (f file) Attr(ctx context.Context, a *fuse.Attr) error {
	a.Inode, a.Mode = 2, 0o644
	if strings.HasPrefix(f.name, "link") {
		a.Inode, a.Mode = 3, os.ModeSymlink|0o777
	}
	return nil
}

func (f file) EntryValid() time.Duration {
	if strings.HasPrefix(f.name, "link-kept") {
		return time.Hour
	}
	return 0
}

func (f file) Readlink(ctx context.Context, req *fuse.ReadlinkRequest) (string, error) {
	if f.name == "link-held" {
		return f.tree.countOf("held"), nil
	}
	return "counts", nil
}

func (f file) Getxattr(ctx context.Context, req *fuse.GetxattrRequest, resp *fuse.GetxattrResponse) error {
	f.tree.count("getxattr " + req.Name)
	resp.Xattr = []byte("value")
	return nil
}

func (f file) Open(ctx context.Context, req *fuse.OpenRequest, resp *fuse.OpenResponse) (fusefs.Handle, error) {
	resp.Flags |= fuse.OpenDirectIO
	switch kind, _, _ := strings.Cut(f.name, "-"); kind {
	case "waits":
		f.tree.count("waiting")
		<-ctx.Done()
		return nil, fmt.Errorf("waited: %w", ctx.Err())
	case "held":
		f.tree.count("held")
		<-f.tree.blocked
	case "counts":
		return fusefs.DataHandle([]byte(f.tree.said())), nil
	}
	return fusefs.DataHandle([]byte(f.name)), nil
}

// mounted is a tree that another process serves.
type mounted struct {
	dir    string
	stderr *bytes.Buffer
}

func mount(t *testing.T) *mounted {
	t.Helper()
	m := &mounted{dir: filepath.Join(t.TempDir(), "mnt"), stderr: &bytes.Buffer{}}
	require.NoError(t, os.Mkdir(m.dir, 0o755))
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), dirEnv+"="+m.dir)
	cmd.Stderr = m.stderr
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	stuck := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
	t.Cleanup(func() {
		require.NoError(t, exec.Command("fusermount3", "-uz", m.dir).Run())
		require.NoError(t, cmd.Wait(), "%s", m.stderr)
		stuck.Stop()
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err, "%s", m.stderr)
	require.Equal(t, "ready\n", line)
	return m
}

// sh runs a shell in the directory and returns what it says.
func (m *mounted) sh(t *testing.T, script string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-c", "cd "+m.dir+"; "+script)
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s: %s", script, out)
	return string(out)
}

func TestPanicIsAnError(t *testing.T) {
	m := mount(t)
	require.Contains(t, m.sh(t, `stat panic || true`), "Input/output error")
	require.Equal(t, "other", m.sh(t, `cat other`))
}

func TestLateAnswersHoldUpNobody(t *testing.T) {
	m := mount(t)
	// More than there are readers.
	m.sh(t, `for i in $(seq 100); do cat blocked-$i > /dev/null & done
		until [ "$(cat counts | grep -o 'lookup blocked' | wc -l)" = 100 ]; do :; done
		cat release; wait`)
}

// Those that are too many wait in the kernel, and what is quick goes on.
func TestRequestsThatWaitAreLimited(t *testing.T) {
	const more = 40 // fewer than there can be readers
	m := mount(t)
	m.sh(t, `ln -s x link-held`)
	var all sync.WaitGroup
	for i := range loop.MaxWaiting + more {
		all.Go(func() {
			f, err := os.Open(filepath.Join(m.dir, fmt.Sprint("held-", i)))
			if assert.NoError(t, err) {
				assert.NoError(t, f.Close())
			}
		})
	}
	held := func() string {
		to, err := os.Readlink(filepath.Join(m.dir, "link-held"))
		require.NoError(t, err)
		return to
	}
	sent := func() int {
		var st syscall.Stat_t
		require.NoError(t, syscall.Stat(m.dir, &st))
		text, err := os.ReadFile(fmt.Sprintf("/sys/fs/fuse/connections/%d/waiting", st.Dev))
		require.NoError(t, err)
		n, err := strconv.Atoi(strings.TrimSpace(string(text)))
		require.NoError(t, err)
		return n
	}
	require.Eventually(t, func() bool { return sent() == loop.MaxWaiting+more && held() == fmt.Sprint(loop.MaxWaiting) },
		patience, time.Millisecond, "%d requests wait", loop.MaxWaiting)
	for range 100 {
		require.Equal(t, fmt.Sprint(loop.MaxWaiting), held())
	}
	_, err := os.Stat(filepath.Join(m.dir, "release"))
	require.NoError(t, err)
	all.Wait()
	require.Equal(t, fmt.Sprint(loop.MaxWaiting+more), held())
}

func TestInterruptEndsAWait(t *testing.T) {
	m := mount(t)
	said := m.sh(t, `cat waits & until grep -q waiting counts; do :; done; kill -INT $!; kill -TERM $!; wait $!; echo "status $?"`)
	require.Contains(t, said, "status 143")
	require.Equal(t, "other", m.sh(t, `cat other`))
}

func TestNamesAreKeptAsTheAnswerSays(t *testing.T) {
	m := mount(t)
	said := m.sh(t, `for i in 1 2 3; do for name in absent missing kept unkept; do test -e $name; done; done
		ln -s x link-kept; ln -s x link; readlink link-kept link > /dev/null; cat counts`)
	for what, count := range map[string]int{"absent": 1, "missing": 3, "kept": 1, "unkept": 3, "link-kept": 1, "link": 2} {
		require.Contains(t, said, fmt.Sprintf("lookup %s:%d", what, count))
	}
}

func TestListingsAreKept(t *testing.T) {
	m := mount(t)
	list := `ls -f . | tail -1`
	lists := `grep -o 'list:[0-9]*' counts`
	require.Equal(t, "version-0\n", m.sh(t, list))
	require.Equal(t, "version-0\n", m.sh(t, list))
	require.Equal(t, "5003\n", m.sh(t, `ls -f . | wc -l`))
	require.Equal(t, "list:1\n", m.sh(t, lists), "one for all")
	require.Equal(t, "version-1\n", m.sh(t, `cat change > /dev/null; `+list), "until something changes")
	require.Equal(t, "list:2\n", m.sh(t, lists))
	require.Equal(t, "version-1\n", m.sh(t, list))
	require.Equal(t, "list:2\n", m.sh(t, lists))
}

func TestAttributesOfTheKernelAreNotAskedFor(t *testing.T) {
	m := mount(t)
	said := m.sh(t, `for name in security.selinux system.posix_acl_access; do getfattr -n $name file 2>&1 | grep -c 'not supported'; done
		getfattr --only-values -n user.x file; echo; cat counts`)
	require.True(t, strings.HasPrefix(said, "1\n1\nvalue\n"), said)
	require.NotContains(t, said, "getxattr s")
}

// BenchmarkRoundTrip is what a request costs that is answered from memory.
func BenchmarkRoundTrip(b *testing.B) {
	dir := filepath.Join(b.TempDir(), "mnt")
	require.NoError(b, os.Mkdir(dir, 0o755))
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), dirEnv+"="+dir)
	out, err := cmd.StdoutPipe()
	require.NoError(b, err)
	require.NoError(b, cmd.Start())
	defer func() {
		require.NoError(b, exec.Command("fusermount3", "-uz", dir).Run())
		require.NoError(b, cmd.Wait())
	}()
	_, err = bufio.NewReader(out).ReadString('\n')
	require.NoError(b, err)
	var st syscall.Stat_t
	for b.Loop() {
		if err := syscall.Lstat(dir+"/unkept", &st); err != nil {
			b.Fatal(err)
		}
	}
}
