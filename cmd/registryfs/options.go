package main

import (
	"io/fs"
	"log/slog"
	"math"
	"os"
	"regexp"
	"strconv"
	"time"

	"github.com/urfave/cli/v2"
)

// Bounds of what can be asked for.
const (
	maxUmask = 0o777
	// maxTimeout keeps a slip of the pen ("1000h" for "1000ms") from making a
	// mount that shows others' changes, or ends, a month later.
	maxTimeout = 24 * time.Hour
)

// mountOptions is a mount command, understood.
type mountOptions struct {
	source, mountPoint string

	readOnly, create, allowDelete, allowOther bool
	exclusive, listViews                      bool
	sparseIndexes, immutableTags              bool
	noSync                                    bool

	allowURL, denyURL []*regexp.Regexp
	signingKey        string // file; empty: none

	uid, gid                  uint32
	umask                     fs.FileMode
	attrTimeout, drainTimeout time.Duration

	logLevel  slog.Level
	logFormat string // "text" or "json"
	logFile   string // empty: standard error

	daemon  bool
	readyFD int // pipe to the process that waits for this daemon; 0: none
}

func mountFlagSet() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: optionsFlag, Usage: "any of these flags as mount(8) writes them: `ro,allow_other,uid=1000`"},
		&cli.BoolFlag{Name: "read-only", Usage: "refuse every change, and change nothing in SOURCE"},
		&cli.BoolFlag{Name: "create", Usage: "make a registry in SOURCE where there is none"},
		&cli.BoolFlag{Name: "allow-delete", Usage: "let rm remove blobs and manifests"},
		&cli.BoolFlag{Name: "allow-other", Usage: "let other users in, by the modes of the files"},
		&cli.StringFlag{Name: "uid", Usage: "owner of every file: a user's `number`", DefaultText: "the caller"},
		&cli.StringFlag{Name: "gid", Usage: "group of every file: a group's `number`", DefaultText: "the caller's"},
		&cli.StringFlag{Name: "umask", Value: "0", Usage: "`bits` taken from the modes 0644 and 0755, in octal"},
		&cli.BoolFlag{Name: "exclusive", Usage: "nobody else writes to SOURCE: keep what was looked up"},
		&cli.StringFlag{Name: "attr-timeout", Value: "1s", Usage: "how long another writer's change may go unseen: a `duration`, or seconds"},
		&cli.BoolFlag{Name: "list-views", Usage: "list _uploads, _oci, _images and .registryfs too"},
		&cli.BoolFlag{Name: "sparse-indexes", Usage: "let an index be tagged without its manifests"},
		&cli.BoolFlag{Name: "immutable-tags", Usage: "let a tag that exists be neither moved nor removed"},
		&cli.StringFlag{Name: "fsync", Value: "always", Usage: "`always|none`: none is faster, and a crash of the machine may lose or damage what was written"},
		&cli.StringSliceFlag{Name: "allow-url", Usage: "let manifests carry addresses that match this `EXPRESSION`; may be repeated", DefaultText: "none"},
		&cli.StringSliceFlag{Name: "deny-url", Usage: "but none that match this `EXPRESSION`; may be repeated", DefaultText: "none"},
		&cli.StringFlag{Name: "signing-key", Usage: "sign manifests of schema 1 that have no signature with the private key in `FILE`", DefaultText: "none"},
		&cli.StringFlag{Name: "drain-timeout", Value: "1m0s", Usage: "how long files that are open are served after SIGTERM: a `duration`, or seconds"},
		&cli.StringFlag{Name: "log-level", Value: "warn", Usage: "`debug|info|warn|error`"},
		&cli.StringFlag{Name: "log-format", Value: "text", Usage: "`text|json`"},
		&cli.StringFlag{Name: "log-file", Usage: "append the log to `FILE`", DefaultText: "standard error; with --daemon, none"},
		&cli.BoolFlag{Name: "daemon", Usage: "go to the background once mounted"},
		&cli.IntFlag{Name: readyFlag, Hidden: true},
	}
}

func parseMountOptions(c *cli.Context) (mountOptions, error) {
	o := mountOptions{
		readOnly:      c.Bool("read-only"),
		create:        c.Bool("create"),
		allowDelete:   c.Bool("allow-delete"),
		allowOther:    c.Bool("allow-other"),
		exclusive:     c.Bool("exclusive"),
		listViews:     c.Bool("list-views"),
		sparseIndexes: c.Bool("sparse-indexes"),
		immutableTags: c.Bool("immutable-tags"),
		signingKey:    c.String("signing-key"),
		logFormat:     c.String("log-format"),
		logFile:       c.String("log-file"),
		daemon:        c.Bool("daemon"),
		readyFD:       c.Int(readyFlag),
	}
	switch c.NArg() {
	case 0, 1:
		return o, usagef("mount needs SOURCE and MOUNTPOINT")
	case 2:
		o.source, o.mountPoint = c.Args().Get(0), c.Args().Get(1)
	default:
		return o, usagef("mount takes SOURCE and MOUNTPOINT, and no third argument %q", c.Args().Get(2))
	}
	if o.create && o.readOnly {
		return o, usagef("--create and --read-only contradict each other")
	}
	if o.logFormat != "text" && o.logFormat != "json" {
		return o, usagef("--log-format is text or json, not %q", o.logFormat)
	}
	if err := o.logLevel.UnmarshalText([]byte(c.String("log-level"))); err != nil {
		return o, usagef("--log-level is debug, info, warn or error, not %q", c.String("log-level"))
	}
	switch fsync := c.String("fsync"); fsync {
	case "always":
	case "none":
		o.noSync = true
	default:
		return o, usagef("--fsync is always or none, not %q", fsync)
	}
	if o.signingKey == "" && c.IsSet("signing-key") {
		return o, usagef("--signing-key needs a file")
	}
	var err error
	if o.allowURL, err = parseExpressions(c, "allow-url"); err != nil {
		return o, err
	}
	if o.denyURL, err = parseExpressions(c, "deny-url"); err != nil {
		return o, err
	}
	if o.uid, err = parseID(c, "uid", os.Getuid()); err != nil {
		return o, err
	}
	if o.gid, err = parseID(c, "gid", os.Getgid()); err != nil {
		return o, err
	}
	umask, err := strconv.ParseUint(c.String("umask"), 8, 32)
	if err != nil || umask > maxUmask {
		return o, usagef("--umask is an octal number up to 0777, not %q", c.String("umask"))
	}
	o.umask = fs.FileMode(umask)
	if o.attrTimeout, err = parseDuration(c, "attr-timeout", maxTimeout); err != nil {
		return o, err
	}
	o.drainTimeout, err = parseDuration(c, "drain-timeout", maxTimeout)
	return o, err
}

// parseID reads the number of a user or a group. The highest is the kernel's
// sign for none.
func parseID(c *cli.Context, name string, caller int) (uint32, error) {
	text := c.String(name)
	if text == "" && !c.IsSet(name) {
		return uint32(caller), nil
	}
	id, err := strconv.ParseUint(text, 10, 32)
	if err != nil || id == math.MaxUint32 {
		return 0, usagef("--%s is a number, not %q", name, text)
	}
	return uint32(id), nil
}

// parseExpressions reads the regular expressions of a flag that may be
// repeated. An empty one would match everything.
func parseExpressions(c *cli.Context, name string) ([]*regexp.Regexp, error) {
	var all []*regexp.Regexp
	for _, text := range c.StringSlice(name) {
		if text == "" {
			return nil, usagef("--%s needs an expression; .* matches everything", name)
		}
		e, err := regexp.Compile(text)
		if err != nil {
			return nil, usagef("--%s: %v", name, err)
		}
		all = append(all, e)
	}
	return all, nil
}

// parseDuration reads a duration as Go writes it, or, as other mounts have it, a
// number of seconds.
func parseDuration(c *cli.Context, name string, longest time.Duration) (time.Duration, error) {
	text := c.String(name)
	d, err := time.ParseDuration(text)
	if err != nil {
		d, err = time.ParseDuration(text + "s")
	}
	if err != nil || d < 0 || d > longest {
		return 0, usagef("--%s is a duration between 0s and %v, not %q", name, longest, text)
	}
	return d, nil
}
