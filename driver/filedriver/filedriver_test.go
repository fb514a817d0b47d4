package filedriver_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"registryfs/driver"
	"registryfs/driver/drivertest"
	"registryfs/driver/filedriver"
)

func TestConformance(t *testing.T) { drivertest.Run(t, newDriver) }

func TestOpenFiles(t *testing.T) { drivertest.RunOpenFiles(t, newDriver) }

func TestLarge(t *testing.T) { drivertest.RunLarge(t, newDriver) }

func newDriver(t *testing.T) driver.Driver { return open(t, t.TempDir(), filedriver.Options{}) }

func open(t *testing.T, root string, o filedriver.Options) driver.Driver {
	t.Helper()
	d, err := filedriver.New(root, o)
	require.NoError(t, err)
	return d
}
