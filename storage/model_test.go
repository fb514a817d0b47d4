package storage_test

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"registryfs/driver"
	"registryfs/driver/filedriver"
	"registryfs/driver/memdriver"
	"registryfs/storage"
	"registryfs/storage/storagetest"
)

// Random operations leave what a model says, whatever the registry stands on.
func TestModel(t *testing.T) {
	open := func(t *rapid.T, drivers ...driver.Driver) []storage.Registry {
		var registries []storage.Registry
		for _, d := range drivers {
			reg, err := storage.Open(t.Context(), d, storage.Options{Create: true, AllowDelete: true})
			require.NoError(t, err)
			registries = append(registries, reg)
		}
		return registries
	}
	// directory has as many drivers as take turns on it.
	directory := func(t *rapid.T, drivers int) []driver.Driver {
		dir, err := os.MkdirTemp("", "registryfs-model")
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
		var all []driver.Driver
		for range drivers {
			d, err := filedriver.New(dir, filedriver.Options{})
			require.NoError(t, err)
			all = append(all, d)
		}
		return all
	}
	for name, open := range map[string]func(t *rapid.T) []storage.Registry{
		"Mem":           func(t *rapid.T) []storage.Registry { return open(t, memdriver.New()) },
		"File":          func(t *rapid.T) []storage.Registry { return open(t, directory(t, 1)...) },
		"TwoRegistries": func(t *rapid.T) []storage.Registry { return open(t, directory(t, 2)...) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			storagetest.RunModel(t, open)
		})
	}
}
