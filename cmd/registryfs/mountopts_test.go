package main

import (
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestExpandOptions(t *testing.T) {
	takesValue := valueFlags(mountFlagSet())
	for _, tc := range []struct{ words, want string }{
		{"", ""},
		{"defaults,rw,_netdev,nofail,user,nodev,nosuid,noexec,exec,suid,dev", "--read-only=false"},
		{"noatime,relatime,strictatime,lazytime,auto,noauto,x-systemd.automount,x-foo=bar,comment=x", ""},
		{"ro", "--read-only"},
		{"read_only,read-only", "--read-only --read-only"},
		{"allow_other,allow-other", "--allow-other --allow-other"},
		{"uid=5,gid=6,umask=022", "--uid=5 --gid=6 --umask=022"},
		{"attr_timeout=2.5,drain-timeout=1s", "--attr-timeout=2.5 --drain-timeout=1s"},
		{"log_file=/a=b", "--log-file=/a=b"},
		{",,ro,", "--read-only"},
		{"allow_url=^a=b$,deny_url=c,allow-url=d", "--allow-url=^a=b$ --deny-url=c --allow-url=d"},
	} {
		got, err := expandOptions(tc.words, takesValue)
		require.NoError(t, err, tc.words)
		require.Equal(t, tc.want, strings.Join(got, " "), tc.words)
	}
	for _, words := range []string{"foo", "ro,foo=1", "uid", "o=ro", "ready-fd=3", "help", "ro=1", "-", "="} {
		_, err := expandOptions(words, takesValue)
		var usage *usageError
		require.ErrorAs(t, err, &usage, words)
	}
}

// Every flag of the mount command is a word of -o too.
func TestOptionWordsAreComplete(t *testing.T) {
	var names []string
	for _, f := range mountFlagSet() {
		names = append(names, f.Names()...)
	}
	names = slices.DeleteFunc(names, func(name string) bool { return name == optionsFlag || name == readyFlag })
	require.ElementsMatch(t, names, mountFlags)
}
