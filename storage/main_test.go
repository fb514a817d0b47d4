package storage_test

import (
	"os"
	"testing"
)

// The test binary is also the process that dies: see crash_process_test.go.
func TestMain(m *testing.M) {
	if job := os.Getenv(crashEnv); job != "" {
		os.Exit(crash(job))
	}
	os.Exit(m.Run())
}
