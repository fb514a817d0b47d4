package storage_test

import (
	"context"
	"io"

	"registryfs/driver"
)

// gate is a driver that asks before each call whether it is to be made. It is
// there to stop one user of a store while another goes on.
type gate struct {
	driver.Driver
	before func(op, path string) error
}

var (
	_ driver.AtOpener   = (*gate)(nil)
	_ driver.FileGetter = (*gate)(nil)
	_ driver.FilePutter = (*gate)(nil)
	_ driver.NewMover   = (*gate)(nil)
	_ driver.DirMover   = (*gate)(nil)
	_ driver.DirMaker   = (*gate)(nil)
	_ driver.Syncer     = (*gate)(nil)
	_ driver.Locker     = (*gate)(nil)
)

func (g *gate) Reader(ctx context.Context, path string, offset int64) (io.ReadCloser, error) {
	if err := g.before("reader", path); err != nil {
		return nil, err
	}
	return g.Driver.Reader(ctx, path, offset)
}

func (g *gate) OpenAt(ctx context.Context, path string) (driver.File, error) {
	if err := g.before("openat", path); err != nil {
		return nil, err
	}
	return driver.OpenAt(ctx, g.Driver, path)
}

func (g *gate) GetFile(ctx context.Context, path string, limit int64) ([]byte, driver.FileInfo, error) {
	if err := g.before("getfile", path); err != nil {
		return nil, driver.FileInfo{}, err
	}
	return driver.GetFile(ctx, g.Driver, path, limit)
}

func (g *gate) Stat(ctx context.Context, path string) (driver.FileInfo, error) {
	if err := g.before("stat", path); err != nil {
		return driver.FileInfo{}, err
	}
	return g.Driver.Stat(ctx, path)
}

func (g *gate) List(ctx context.Context, path string) ([]string, error) {
	if err := g.before("list", path); err != nil {
		return nil, err
	}
	return g.Driver.List(ctx, path)
}

func (g *gate) PutContent(ctx context.Context, path string, content []byte) error {
	if err := g.before("put", path); err != nil {
		return err
	}
	return g.Driver.PutContent(ctx, path, content)
}

func (g *gate) PutFile(ctx context.Context, path string, content []byte) (driver.Written, error) {
	if err := g.before("put", path); err != nil {
		return driver.Written{}, err
	}
	return driver.PutFile(ctx, g.Driver, path, content)
}

func (g *gate) Writer(ctx context.Context, path string, append bool) (driver.Writer, error) {
	if err := g.before("writer", path); err != nil {
		return nil, err
	}
	return g.Driver.Writer(ctx, path, append)
}

func (g *gate) Move(ctx context.Context, src, dst string) error {
	if err := g.before("move", src); err != nil {
		return err
	}
	return g.Driver.Move(ctx, src, dst)
}

func (g *gate) MoveNew(ctx context.Context, src, dst string) error {
	if err := g.before("movenew", src); err != nil {
		return err
	}
	return driver.MoveNew(ctx, g.Driver, src, dst)
}

func (g *gate) MoveDir(ctx context.Context, src, dst string) error {
	if err := g.before("movedir", src); err != nil {
		return err
	}
	return driver.MoveDir(ctx, g.Driver, src, dst)
}

func (g *gate) MakeDir(ctx context.Context, path string) error {
	if err := g.before("makedir", path); err != nil {
		return err
	}
	return driver.MakeDir(ctx, g.Driver, path)
}

func (g *gate) Sync(ctx context.Context, path string) error {
	if err := g.before("sync", path); err != nil {
		return err
	}
	return driver.Sync(ctx, g.Driver, path)
}

func (g *gate) Delete(ctx context.Context, path string) error {
	if err := g.before("delete", path); err != nil {
		return err
	}
	return g.Driver.Delete(ctx, path)
}

func (g *gate) Lock(ctx context.Context, path string, shared bool) (io.Closer, error) {
	if err := g.before("lock", path); err != nil {
		return nil, err
	}
	return driver.Lock(ctx, g.Driver, path, shared)
}
