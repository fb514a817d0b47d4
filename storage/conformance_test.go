package storage_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"registryfs/driver"
	"registryfs/driver/filedriver"
	"registryfs/driver/memdriver"
	"registryfs/storage"
	"registryfs/storage/storagetest"
)

func TestConformance(t *testing.T) {
	for name, newDriver := range map[string]func(t *testing.T) driver.Driver{
		"Mem":  func(*testing.T) driver.Driver { return memdriver.New() },
		"File": func(t *testing.T) driver.Driver { return openDir(t, t.TempDir(), filedriver.Options{}) },
		// What drivers need not do themselves is done for them.
		"Core": func(*testing.T) driver.Driver { return driver.Checked(struct{ driver.Driver }{memdriver.New()}) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			storagetest.Run(t, func(t *testing.T, o storagetest.Options) storage.Registry {
				return openRegistry(t, newDriver(t), storage.Options{
					Create: true, ReadOnly: o.ReadOnly, AllowDelete: o.AllowDelete,
					SparseIndexes: o.SparseIndexes, ImmutableTags: o.ImmutableTags,
				})
			})
		})
	}
}

// openDir returns the driver of a directory.
func openDir(t *testing.T, dir string, o filedriver.Options) driver.Driver {
	t.Helper()
	d, err := filedriver.New(dir, o)
	require.NoError(t, err)
	return d
}

func openRegistry(t *testing.T, d driver.Driver, o storage.Options) storage.Registry {
	t.Helper()
	reg, err := storage.Open(t.Context(), d, o)
	require.NoError(t, err)
	return reg
}
