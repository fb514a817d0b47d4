package fsmount_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"testing"
	"time"

	"registryfs/driver"
	"registryfs/driver/filedriver"
	"registryfs/driver/memdriver"
	"registryfs/fsmount"
	"registryfs/storage"
)

// roleEnv makes the test binary another program: one that serves a mount, or
// one of those that use it. A process that served what it touches could wait
// for itself.
const roleEnv = "FSMOUNT_TEST_ROLE"

// serveEnv holds serveOptions for the role "serve".
const serveEnv = "FSMOUNT_TEST_SERVE"

// testVersion is the content of .registryfs/version.
const testVersion = "test-version"

// serveOptions say what is mounted and how.
type serveOptions struct {
	Dir, Store    string // mount point; the registry's directory, or "" for mem:
	Trouble       string // a file that says what goes wrong in the driver: see trouble; or ""
	ReadOnly      bool
	AllowDelete   bool
	SparseIndexes bool
	ImmutableTags bool
	Exclusive     bool
	ListViews     bool
	UID, GID      uint32
	Umask         fs.FileMode
	AttrTimeout   time.Duration
	PageCache     int64
	Drain         time.Duration // how long SIGTERM waits for open files
}

var roles = map[string]func(args []string) error{
	"serve":      func([]string) error { return serve() },
	"dirents":    dirents,
	"truncate":   truncate,
	"twothreads": twoThreads,
	"mmap":       mapAndRead,
	"act":        act,
	"layout":     layoutWriter,
	"replay":     replay,
	"fsx":        runFSX,
	"signalled":  signalled,
	"calls":      calls,
	"rewrites":   rewrites,
	"unlinks":    unlinks,
	"steps":      steps,
}

func TestMain(m *testing.M) {
	role, ok := roles[os.Getenv(roleEnv)]
	if !ok {
		for _, s := range []os.Signal{syscall.SIGINT, syscall.SIGQUIT} {
			if signal.Ignored(s) {
				// As what a shell starts in the background does; the programs
				// of tests are to have what is usual.
				signal.Notify(make(chan os.Signal, 1), s)
			}
		}
		os.Exit(m.Run())
	}
	if err := role(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// serve mounts a registry, says so on standard output, and serves it until
// SIGTERM or until it is unmounted.
func serve() error {
	var o serveOptions
	if err := json.Unmarshal([]byte(os.Getenv(serveEnv)), &o); err != nil {
		return err
	}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM)
	ctx := context.Background()
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))

	var d driver.Driver = memdriver.New()
	if o.Store != "" {
		var err error
		if d, err = filedriver.New(o.Store, filedriver.Options{ReadOnly: o.ReadOnly}); err != nil {
			return err
		}
	}
	if o.Trouble != "" {
		d = inTrouble(d, o.Trouble)
	}
	reg, err := storage.Open(ctx, d, storage.Options{
		Create:        !o.ReadOnly,
		ReadOnly:      o.ReadOnly,
		AllowDelete:   o.AllowDelete,
		SparseIndexes: o.SparseIndexes,
		ImmutableTags: o.ImmutableTags,
		Logger:        log,
	})
	if err != nil {
		return err
	}
	m, err := fsmount.New(o.Dir, reg, fsmount.Options{
		Source:      "test",
		ReadOnly:    o.ReadOnly,
		AllowDelete: o.AllowDelete,
		Exclusive:   o.Exclusive,
		ListViews:   o.ListViews,
		UID:         o.UID,
		GID:         o.GID,
		Umask:       o.Umask,
		AttrTimeout: o.AttrTimeout,
		PageCache:   o.PageCache,
		Version:     testVersion,
		Logger:      log,

		SparseIndexes: o.SparseIndexes,
		ImmutableTags: o.ImmutableTags,
	})
	if err != nil {
		return err
	}
	fmt.Println("ready")
	ended := make(chan error, 1)
	go func() { ended <- m.Wait() }()
	select {
	case err := <-ended:
		return err
	case <-signals:
	}
	ctx, cancel := context.WithTimeout(ctx, o.Drain)
	defer cancel()
	if err := m.Shutdown(ctx); err != nil {
		log.Info("shut down", "error", err)
	}
	return <-ended
}
