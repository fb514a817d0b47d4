package main

import (
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
)

// arrange puts the flags of a command line before its arguments, and ends them
// with "--". Left alone, urfave/cli takes flags that follow an argument for
// arguments: "mount SOURCE MOUNTPOINT -o ro" would mount read-write. Who asks
// for help gets it, whatever the arguments; the library would take these for
// topics.
func arrange(args []string, commands []*cli.Command) ([]string, error) {
	for i, arg := range args[min(1, len(args)):] {
		if isHelp(arg) {
			return []string{args[0], "help"}, nil
		}
		if strings.HasPrefix(arg, "-") {
			continue // a flag of the program itself; none of them takes a value
		}
		for _, cmd := range commands {
			if !cmd.HasName(arg) {
				continue
			}
			at := i + 2 // past the program and the command
			rest, err := permute(args[at:], valueFlags(cmd.Flags))
			if err != nil {
				return nil, err
			}
			if slices.ContainsFunc(rest[:slices.Index(rest, "--")], isHelp) {
				return []string{args[0], "help", cmd.Name}, nil
			}
			return append(args[:at:at], rest...), nil
		}
		break
	}
	return args, nil
}

func isHelp(arg string) bool {
	return arg == "--help" || arg == "-help" || arg == "-h" || arg == "--h"
}

// valueFlags are the names of the flags that take a value.
func valueFlags(flags []cli.Flag) map[string]bool {
	names := make(map[string]bool)
	for _, f := range flags {
		if _, ok := f.(*cli.BoolFlag); ok {
			continue
		}
		for _, name := range f.Names() {
			names[name] = true
		}
	}
	return names
}

// permute returns the flags of args in their order, "--", and the arguments in
// theirs. Words of -o become flags. A flag it does not know goes with the
// flags, for the parser to refuse.
func permute(args []string, takesValue map[string]bool) ([]string, error) {
	var flags, positional []string
	for i := 0; i < len(args); i++ {
		arg := args[i]
		if arg == "--" {
			positional = append(positional, args[i+1:]...)
			break
		}
		if len(arg) < 2 || arg[0] != '-' {
			positional = append(positional, arg)
			continue
		}
		name, value, inline := strings.Cut(strings.TrimPrefix(arg[1:], "-"), "=")
		if !takesValue[name] {
			flags = append(flags, arg)
			continue
		}
		if !inline {
			if i++; i == len(args) {
				return nil, usagef("flag %s needs a value", arg)
			}
			value = args[i]
		}
		if name == optionsFlag {
			expanded, err := expandOptions(value, takesValue)
			if err != nil {
				return nil, err
			}
			flags = append(flags, expanded...)
			continue
		}
		flags = append(flags, "--"+name+"="+value)
	}
	return append(append(flags, "--"), positional...), nil
}
