package memdriver_test

import (
	"testing"

	"registryfs/driver"
	"registryfs/driver/drivertest"
	"registryfs/driver/memdriver"
)

func TestConformance(t *testing.T) { drivertest.Run(t, newDriver) }

func TestOpenFiles(t *testing.T) { drivertest.RunOpenFiles(t, newDriver) }

func newDriver(*testing.T) driver.Driver { return memdriver.New() }
