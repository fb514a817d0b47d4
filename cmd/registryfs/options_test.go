package main

import (
	"io"
	"log/slog"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/urfave/cli/v2"
)

// parse reads a mount command line without mounting.
func parse(t *testing.T, line string) (mountOptions, error) {
	t.Helper()
	app := newApp(io.Discard, io.Discard)
	var o mountOptions
	app.Command("mount").Action = func(c *cli.Context) error {
		var err error
		o, err = parseMountOptions(c)
		return err
	}
	args, err := arrange(strings.Fields("registryfs mount "+line), app.Commands)
	if err != nil {
		return o, err
	}
	return o, app.Run(args)
}

func TestParseMountOptions(t *testing.T) {
	defaults := func(change func(*mountOptions)) mountOptions {
		o := mountOptions{
			source: "SRC", mountPoint: "MNT",
			uid: uint32(os.Getuid()), gid: uint32(os.Getgid()),
			attrTimeout: time.Second, drainTimeout: time.Minute,
			logLevel: slog.LevelWarn, logFormat: "text",
		}
		change(&o)
		return o
	}
	for _, tc := range []struct {
		line   string
		change func(*mountOptions)
	}{
		{"SRC MNT", func(o *mountOptions) {}},
		{"SRC MNT --read-only", func(o *mountOptions) { o.readOnly = true }},
		{"SRC MNT -o ro,rw", func(o *mountOptions) {}},
		{"SRC MNT -o ro --read-only=false", func(o *mountOptions) {}},
		{"-o rw SRC MNT -o ro", func(o *mountOptions) { o.readOnly = true }},
		{"--create SRC MNT --allow-delete", func(o *mountOptions) { o.create, o.allowDelete = true, true }},
		{"SRC MNT -o allow_other,exclusive,list_views,sparse_indexes", func(o *mountOptions) {
			o.allowOther, o.exclusive, o.listViews, o.sparseIndexes = true, true, true, true
		}},
		{"SRC MNT --uid 0 --gid 7", func(o *mountOptions) { o.uid, o.gid = 0, 7 }},
		{"SRC MNT --umask 022", func(o *mountOptions) { o.umask = 0o022 }},
		{"SRC MNT --attr-timeout 0 --drain-timeout 1.5", func(o *mountOptions) { o.attrTimeout, o.drainTimeout = 0, 1500*time.Millisecond }},
		{"SRC MNT --attr-timeout 20ms", func(o *mountOptions) { o.attrTimeout = 20 * time.Millisecond }},
		{"SRC MNT --log-level debug --log-format json --log-file /x", func(o *mountOptions) {
			o.logLevel, o.logFormat, o.logFile = slog.LevelDebug, "json", "/x"
		}},
		{"SRC MNT --allow-url ^https://a{1,2}/ -o deny_url=b=c --allow-url x", func(o *mountOptions) {
			o.allowURL = []*regexp.Regexp{regexp.MustCompile("^https://a{1,2}/"), regexp.MustCompile("x")}
			o.denyURL = []*regexp.Regexp{regexp.MustCompile("b=c")}
		}},
		{"SRC MNT --immutable-tags -o signing_key=/k", func(o *mountOptions) { o.immutableTags, o.signingKey = true, "/k" }},
		{"SRC MNT --fsync always -o fsync=none", func(o *mountOptions) { o.noSync = true }},
		{"SRC MNT -o fsync=none,fsync=always", func(o *mountOptions) {}},
		{"--daemon -- SRC MNT", func(o *mountOptions) { o.daemon = true }},
	} {
		got, err := parse(t, tc.line)
		require.NoError(t, err, tc.line)
		require.Equal(t, defaults(tc.change), got, tc.line)
	}
}

func TestWrongMountOptions(t *testing.T) {
	for _, line := range []string{
		"", "SRC", "SRC MNT THIRD", "SRC MNT --bogus", "SRC MNT -x", "SRC MNT -o bogus", "SRC MNT -- --read-only",
		"SRC MNT --uid", "SRC MNT --uid -1", "SRC MNT --uid root", "SRC MNT --gid 4294967295", "SRC MNT -o uid=",
		"SRC MNT --umask 8", "SRC MNT --umask 1000", "SRC MNT --umask -1", "SRC MNT --read-only=maybe",
		"SRC MNT --attr-timeout -1s", "SRC MNT --attr-timeout soon", "SRC MNT --drain-timeout 1000h", "SRC MNT --drain-timeout NaN",
		"SRC MNT --log-level loud", "SRC MNT --log-format xml", "SRC MNT --allow-url [", "SRC MNT --allow-url=", "SRC MNT --deny-url", "SRC MNT -o allow_url", "SRC MNT -o deny_url=a{1,2}",
		"SRC MNT --fsync never", "SRC MNT --fsync=", "SRC MNT -o fsync", "SRC MNT --signing-key=", "SRC MNT --create --read-only", "SRC MNT --create -o ro",
	} {
		_, err := parse(t, line)
		var usage *usageError
		require.ErrorAs(t, err, &usage, line)
	}
}
