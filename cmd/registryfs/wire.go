package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"os"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"

	"registryfs/driver"
	"registryfs/driver/filedriver"
	"registryfs/fsmount"
	"registryfs/manifest"
	"registryfs/storage"
)

// dirMode is the mode of a new registry's directory, less the umask.
const dirMode = 0o777

// mount puts the layers together: a driver for the source, the storage system
// over it, the mounted tree over that. The claim on the store is to be closed
// when the mount has ended.
func mount(ctx context.Context, src source, dir string, o mountOptions, logger *slog.Logger) (_ *fsmount.Mount, claim io.Closer, err error) {
	key, err := loadKey(o.signingKey)
	if err != nil {
		return nil, nil, err
	}
	d, err := openDriverWith(src, filedriver.Options{ReadOnly: o.readOnly, NoSync: o.noSync})
	if err != nil {
		return nil, nil, err
	}
	reg, err := openRegistry(ctx, src, d, storage.Options{
		ReadOnly:      o.readOnly,
		AllowDelete:   o.allowDelete,
		SparseIndexes: o.sparseIndexes,
		ImmutableTags: o.immutableTags,
		URLs:          manifest.URLPolicy{Allow: o.allowURL, Deny: o.denyURL},
		SigningKey:    key,
		Logger:        logger,
	})
	if err != nil {
		return nil, nil, err
	}
	if claim, err = claimStore(ctx, src, dir, reg, o); err != nil {
		return nil, nil, err
	}

	// The FUSE library says through package log why fusermount3 failed.
	var said bytes.Buffer
	log.SetFlags(0)
	log.SetOutput(&said)
	m, err := fsmount.New(dir, reg, fsmount.Options{
		Source:      src.name,
		ReadOnly:    o.readOnly,
		AllowDelete: o.allowDelete,
		AllowOther:  o.allowOther,
		Exclusive:   o.exclusive,
		ListViews:   o.listViews,
		UID:         o.uid,
		GID:         o.gid,
		Umask:       o.umask,
		AttrTimeout: o.attrTimeout,
		Version:     version(),
		Logger:      logger,

		SparseIndexes: o.sparseIndexes,
		ImmutableTags: o.immutableTags,
	})
	log.SetOutput(slog.NewLogLogger(logger.Handler(), slog.LevelDebug).Writer())
	if err != nil {
		return nil, nil, errors.Join(mountError(dir, err, said.String()), claim.Close())
	}
	addProcessors()
	return m, claim, nil
}

// addProcessors allows for the threads that wait in read(2) for requests. The Go
// runtime counts each as running a goroutine until its monitor finds it there,
// and where that leaves it no processor the monitor goes on looking every 20 µs.
// A GOMAXPROCS of the environment holds.
func addProcessors() {
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(runtime.GOMAXPROCS(0) + fsmount.BlockedThreads)
	}
}

// claimStore makes it known that a mount writes to a store.
func claimStore(ctx context.Context, src source, dir string, reg storage.Registry, o mountOptions) (io.Closer, error) {
	claimer, ok := reg.(storage.Claimer)
	if !ok || o.readOnly {
		return io.NopCloser(nil), nil
	}
	claim, err := claimer.Claim(ctx, storage.ClaimOptions{Exclusive: o.exclusive, By: "the mount on " + dir})
	return claim, inUse(src, err, "end that first, or mount with --read-only; only mounts without --exclusive can be beside each other")
}

// openRegistry opens the registry that d holds for a source, and makes it where
// findSource said that there is none yet.
func openRegistry(ctx context.Context, src source, d driver.Driver, o storage.Options) (storage.Registry, error) {
	o.Create = src.make
	reg, err := storage.Open(ctx, d, o)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", src.name, err)
	}
	return reg, nil
}

// loadKey reads the key that signs manifests; no file is no key.
func loadKey(file string) (manifest.PrivateKey, error) {
	if file == "" {
		return nil, nil
	}
	key, err := manifest.LoadKey(file)
	if err != nil {
		return nil, fmt.Errorf("--signing-key %s: %w; it must hold a private key, in PEM or as a JSON web key", file, err)
	}
	// A crash must not write the key to a disk.
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}); err != nil {
		return nil, fmt.Errorf("--signing-key: turn core dumps off: %w", err)
	}
	return key, nil
}

func openDriver(src source, readOnly bool) (driver.Driver, error) {
	return openDriverWith(src, filedriver.Options{ReadOnly: readOnly})
}

// openDriverWith opens the driver of a source; the options are for a directory.
func openDriverWith(src source, o filedriver.Options) (driver.Driver, error) {
	if src.dir == "" {
		return openMemory(src.capacity), nil
	}
	if src.make {
		if err := os.MkdirAll(src.dir, dirMode); err != nil {
			return nil, fmt.Errorf("%s cannot be made: %w", src.dir, errors.Unwrap(err))
		}
	}
	return filedriver.New(src.dir, o)
}

// mountError explains why the kernel did not take the mount: err, and what
// fusermount3 said.
func mountError(dir string, err error, said string) error {
	said = strings.TrimSpace(strings.ReplaceAll(said, "mount helper error: ", ""))
	if said != "" {
		err = errors.New(said)
	}
	if strings.Contains(err.Error(), "Operation not permitted") {
		return fmt.Errorf("mounting on %s is forbidden: %w: %s", dir, err, containerRemedy)
	}
	return fmt.Errorf("mounting on %s: %w", dir, err)
}

func newLogger(w io.Writer, o mountOptions) *slog.Logger {
	handler := &slog.HandlerOptions{Level: o.logLevel}
	if o.logFormat == "json" {
		return slog.New(slog.NewJSONHandler(w, handler))
	}
	return slog.New(slog.NewTextHandler(w, handler))
}
