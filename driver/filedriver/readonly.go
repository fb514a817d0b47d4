package filedriver

import (
	"context"

	"registryfs/driver"
)

// readOnly is a store without the methods that change it.
type readOnly struct {
	*store
}

var (
	_ driver.Driver     = (*readOnly)(nil)
	_ driver.NewMover   = (*readOnly)(nil)
	_ driver.DirMover   = (*readOnly)(nil)
	_ driver.DirMaker   = (*readOnly)(nil)
	_ driver.DirRemover = (*readOnly)(nil)
	_ driver.Syncer     = (*readOnly)(nil)
)

func (*readOnly) PutContent(context.Context, string, []byte) error {
	return driver.ErrReadOnly
}

func (*readOnly) Writer(context.Context, string, bool) (driver.Writer, error) {
	return nil, driver.ErrReadOnly
}

func (*readOnly) Move(context.Context, string, string) error    { return driver.ErrReadOnly }
func (*readOnly) MoveNew(context.Context, string, string) error { return driver.ErrReadOnly }
func (*readOnly) MoveDir(context.Context, string, string) error { return driver.ErrReadOnly }
func (*readOnly) MakeDir(context.Context, string) error         { return driver.ErrReadOnly }
func (*readOnly) RemoveDir(context.Context, string) error       { return driver.ErrReadOnly }
func (*readOnly) Sync(context.Context, string) error            { return driver.ErrReadOnly }
func (*readOnly) Delete(context.Context, string) error          { return driver.ErrReadOnly }
