package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestHasUserAllowOther(t *testing.T) {
	for _, tc := range []struct {
		conf string
		want bool
	}{
		{"", false},
		{"#user_allow_other\n", false},
		{"# user_allow_other\nmount_max = 1000\n", false},
		{"user_allow_other_not\n", false},
		{"user_allow_other", true},
		{"mount_max = 5\n  user_allow_other # for backups\n", true},
	} {
		got, err := hasUserAllowOther(strings.NewReader(tc.conf))
		require.NoError(t, err)
		require.Equal(t, tc.want, got, tc.conf)
	}
}
