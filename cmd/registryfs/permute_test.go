package main

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestPermute(t *testing.T) {
	takesValue := valueFlags(mountFlagSet())
	for _, tc := range []struct{ args, want string }{
		{"", "--"},
		{"SRC MNT", "-- SRC MNT"},
		{"--read-only SRC MNT", "--read-only -- SRC MNT"},
		{"SRC MNT --read-only", "--read-only -- SRC MNT"},
		{"SRC --read-only MNT", "--read-only -- SRC MNT"},
		{"SRC -read-only MNT", "-read-only -- SRC MNT"},
		{"SRC MNT --uid 5 --create", "--uid=5 --create -- SRC MNT"},
		{"SRC MNT -uid=5", "--uid=5 -- SRC MNT"},
		{"SRC --uid=5 MNT", "--uid=5 -- SRC MNT"},
		{"SRC --uid= MNT", "--uid= -- SRC MNT"},
		{"--create=false SRC MNT", "--create=false -- SRC MNT"},
		{"SRC MNT -o ro,uid=5", "--read-only --uid=5 -- SRC MNT"},
		{"-o ro SRC MNT --umask 022 -o rw", "--read-only --umask=022 --read-only=false -- SRC MNT"},
		{"-o=ro SRC MNT", "--read-only -- SRC MNT"},
		{"-- --read-only MNT", "-- --read-only MNT"},
		{"--read-only -- -SRC -- MNT", "--read-only -- -SRC -- MNT"},
		{"--umask -- SRC MNT", "--umask=-- -- SRC MNT"}, // as a parser that is not permuted has it
		{"- MNT", "-- - MNT"},
		{"SRC MNT --bogus", "--bogus -- SRC MNT"},
		{"SRC MNT ---uid 5", "---uid -- SRC MNT 5"},
	} {
		got, err := permute(strings.Fields(tc.args), takesValue)
		require.NoError(t, err, tc.args)
		require.Equal(t, tc.want, strings.Join(got, " "), tc.args)
	}
	for _, args := range []string{"SRC MNT --uid", "SRC MNT -o", "SRC MNT -o foo"} {
		_, err := permute(strings.Fields(args), takesValue)
		var usage *usageError
		require.ErrorAs(t, err, &usage, args)
	}
}

func TestArrange(t *testing.T) {
	commands := newApp(nil, nil).Commands
	for _, tc := range []struct{ args, want string }{
		{"registryfs", "registryfs"},
		{"registryfs mount SRC MNT --create", "registryfs mount --create -- SRC MNT"},
		{"registryfs --version mount SRC --create", "registryfs --version mount --create -- SRC"},
		{"registryfs --help mount SRC --create", "registryfs help"},
		{"registryfs umount MNT --help", "registryfs help unmount"},
		{"registryfs umount -- --help", "registryfs umount -- --help"},
		{"registryfs nonsense MNT --help", "registryfs nonsense MNT --help"},
	} {
		got, err := arrange(strings.Fields(tc.args), commands)
		require.NoError(t, err, tc.args)
		require.Equal(t, tc.want, strings.Join(got, " "), tc.args)
	}
	got, err := arrange(nil, commands)
	require.NoError(t, err)
	require.Empty(t, got)
}

func TestHelperArgs(t *testing.T) {
	for _, tc := range []struct{ args, want string }{
		{"/usr/bin/registryfs mount -s", "/usr/bin/registryfs mount -s"},
		{"/sbin/mount.registryfs SRC MNT", "registryfs mount --daemon SRC MNT"},
		{"/sbin/mount.registryfs SRC MNT -s -n -v -N /ns -o rw,_netdev -t registryfs", "registryfs mount --daemon SRC MNT -o rw,_netdev"},
		{"mount.fuse.registryfs SRC MNT -t", "registryfs mount --daemon SRC MNT"},
	} {
		require.Equal(t, tc.want, strings.Join(helperArgs(strings.Fields(tc.args)), " "), tc.args)
	}
	require.Empty(t, helperArgs(nil))
}

// What follows "--" in the result is what stood in the command line and is no
// flag, in its order; nothing before it is an argument.
func FuzzPermute(f *testing.F) {
	for _, seed := range []string{"SRC MNT -o ro", "--uid 5 SRC -- -x", "-o a=b,c", "--umask", "- -- --"} {
		f.Add(seed)
	}
	takesValue := valueFlags(mountFlagSet())
	f.Fuzz(func(t *testing.T, line string) {
		args := strings.Fields(line)
		got, err := permute(slices.Clone(args), takesValue)
		if err != nil {
			var usage *usageError
			require.True(t, errors.As(err, &usage))
			return
		}
		at := slices.Index(got, "--")
		require.GreaterOrEqual(t, at, 0)
		for _, flag := range got[:at] {
			require.True(t, strings.HasPrefix(flag, "-"), flag)
		}
		rest := args
		for _, positional := range got[at+1:] {
			i := slices.Index(rest, positional)
			require.GreaterOrEqual(t, i, 0, "%q is not in order", positional)
			rest = rest[i+1:]
		}
		again, err := permute(got, takesValue)
		require.NoError(t, err)
		require.Equal(t, got, again, "a second pass changes nothing")
	})
}
