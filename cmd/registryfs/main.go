// Command registryfs mounts a container registry as a directory.
//
//	registryfs mount SOURCE MOUNTPOINT     serve a registry until it is unmounted
//	registryfs unmount MOUNTPOINT          unmount it and wait for its daemon
//	registryfs purge-uploads SOURCE        remove uploads that nobody has finished
//	registryfs check SOURCE                verify all that is stored, and repair it
//	registryfs gc SOURCE                   free what nothing in a store needs
//	registryfs rm SOURCE REPOSITORY        remove a repository
//	registryfs version
//	registryfs help
//
// Exit status: 0 done, 1 failed, 2 wrong usage, 4 damage found. A failure is one line on
// standard error that names the remedy.
//
// This package reads the command line and wires a driver, the storage above it
// and the mounted tree together; what these do is their own business.
package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/urfave/cli/v2"
)

// Exit statuses.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
	exitDamage = 4
)

// usageError is a command line that cannot be understood.
type usageError struct{ reason string }

func (e *usageError) Error() string { return e.reason }

func usagef(format string, args ...any) error {
	return &usageError{fmt.Sprintf(format, args...)}
}

// defaultPath is where programs are looked for without PATH: mount(8) unsets it
// for its helpers.
const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

func main() {
	if os.Getenv("PATH") == "" {
		_ = os.Setenv("PATH", defaultPath) // fails for names with "=" only
	}
	os.Exit(run(os.Args, os.Stdout, os.Stderr))
}

// run runs one command line, args[0] being the program's name, and returns the
// exit status.
func run(args []string, stdout, stderr io.Writer) int {
	app := newApp(stdout, stderr)
	args, err := arrange(helperArgs(args), app.Commands)
	if err == nil {
		err = app.Run(args)
	}
	if err == nil {
		return exitOK
	}
	fmt.Fprintf(stderr, "registryfs: %s\n", oneLine(err))
	var usage *usageError
	if errors.As(err, &usage) {
		fmt.Fprintln(stderr, "registryfs: see registryfs help")
		return exitUsage
	}
	var damage *damageError
	if errors.As(err, &damage) {
		return exitDamage
	}
	return exitFailed
}

// oneLine is an error's text without the line breaks that libraries put there.
func oneLine(err error) string { return strings.Join(strings.Fields(err.Error()), " ") }

func newApp(stdout, stderr io.Writer) *cli.App {
	onUsage := func(_ *cli.Context, err error, _ bool) error { return usagef("%v", err) }
	app := &cli.App{
		Name:         "registryfs",
		Usage:        "a container registry as a directory",
		UsageText:    "registryfs COMMAND [FLAGS] [ARGUMENTS]",
		Version:      version(),
		Commands:     []*cli.Command{mountCommand(), unmountCommand(), purgeUploadsCommand(), checkCommand(), gcCommand(), rmCommand(), versionCommand()},
		Flags:        []cli.Flag{cli.HelpFlag}, // for the list of them; arrange serves it
		OnUsageError: onUsage,
		// The library would exit by itself, with statuses of its own.
		ExitErrHandler: func(*cli.Context, error) {},
		Writer:         stdout,
		ErrWriter:      stderr,
		// A comma belongs to an expression.
		DisableSliceFlagSeparator: true,
		Action: func(c *cli.Context) error {
			if name := c.Args().First(); name != "" {
				return usagef("unknown command %q", name)
			}
			return usagef("a command is missing: mount, unmount, purge-uploads, check, gc, rm, version or help")
		},
	}
	for _, cmd := range app.Commands {
		cmd.OnUsageError = onUsage
		// Otherwise a source named "help" would be taken for a command.
		cmd.HideHelpCommand = true
	}
	// The library's own help answers an unknown topic with status 3.
	app.Commands = append(app.Commands, helpCommand())
	app.HideHelpCommand = true
	return app
}

func helpCommand() *cli.Command {
	return &cli.Command{
		Name:            "help",
		Usage:           "show the commands, or the flags of one",
		ArgsUsage:       "[COMMAND]",
		HideHelpCommand: true,
		Action: func(c *cli.Context) error {
			switch name := c.Args().First(); {
			case c.NArg() > 1:
				return usagef("help takes one command")
			case name == "":
				return cli.ShowAppHelp(c)
			case c.App.Command(name) == nil:
				return usagef("unknown command %q", name)
			default:
				return cli.ShowCommandHelp(c, name)
			}
		},
	}
}

// helperArgs turns the call that mount(8) makes of a program named
// mount.registryfs, for a file system of that type, into a mount command. It
// drops what mount(8) adds for itself: -s (tolerate unknown options), -f
// (fake) is refused later as unknown, -n (no mtab), -v (verbose), -N and -t
// with their values.
func helperArgs(args []string) []string {
	if len(args) == 0 || !strings.HasPrefix(filepath.Base(args[0]), "mount.") {
		return args
	}
	out := []string{"registryfs", "mount", "--daemon"}
	for rest := args[1:]; len(rest) > 0; rest = rest[1:] {
		switch rest[0] {
		case "-s", "-n", "-v":
		case "-N", "-t":
			if len(rest) > 1 {
				rest = rest[1:]
			}
		default:
			out = append(out, rest[0])
		}
	}
	return out
}
