package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestLines(t *testing.T) {
	for _, tc := range []struct {
		line line
		want string
	}{
		{ratio("1", "read", "curl", 0.9, 1, 0.9), "1|read|curl|0.90 s|1.00 s|0.90|≤ 0.9|yes"},
		{ratio("1", "read", "curl", 0.91, 1, 0.9), "1|read|curl|0.91 s|1.00 s|0.91|≤ 0.9|**no**"},
		{ratio("5", "list", "curl", 0.0021, 0.0042, 0.25), "5|list|curl|2.10 ms|4.20 ms|0.50|≤ 0.25|**no**"},
		{memory("9", "ls", 64<<20, 64<<20), "9|peak resident memory: ls|–|64 MiB|–|–|≤ 64 MiB|yes"},
		{memory("9", "ls", 65<<20, 64<<20), "9|peak resident memory: ls|–|65 MiB|–|–|≤ 64 MiB|**no**"},
	} {
		require.Equal(t, tc.want, strings.Join(tc.line.cells(), "|"))
	}
}

func TestMedian(t *testing.T) {
	require.Equal(t, 2.0, median([]float64{9, 1, 2}))
	require.Equal(t, 1.5, median([]float64{2, 1}))
	require.Equal(t, 7.0, median([]float64{7}))
}

func TestDeal(t *testing.T) {
	require.Equal(t, [][]string{{"a"}, {"b", "c"}}, deal([]string{"a", "b", "c"}, 2))
	require.Equal(t, [][]string{{}, {"a"}}, deal([]string{"a"}, 2))
}

// What somebody wrote below the notes' heading outlasts the next run.
func TestNotesAreKept(t *testing.T) {
	o := options{out: filepath.Join(t.TempDir(), "BENCHMARKS.md"), sizes: sizesByName["full"]}
	r := report{begun: time.Unix(0, 0), lines: []line{ratio("1", "read", "curl", 1, 2, 0.9)}}
	require.NoError(t, r.save(t.Context(), o))
	first, err := os.ReadFile(o.out)
	require.NoError(t, err)
	require.True(t, strings.HasSuffix(string(first), "\n## Notes\n"), "%s", first)
	require.Contains(t, string(first), "| 1 | read | curl | 1.00 s | 2.00 s | 0.50 | ≤ 0.9 | yes |\n")

	require.NoError(t, os.WriteFile(o.out, append(first, "\nRow 1: why.\n"...), 0o644))
	r.lines[0].ours = 3
	require.NoError(t, r.save(t.Context(), o))
	second, err := os.ReadFile(o.out)
	require.NoError(t, err)
	require.True(t, strings.HasSuffix(string(second), "\n## Notes\n\nRow 1: why.\n"), "%s", second)
	require.Contains(t, string(second), "| 1 | read | curl | 3.00 s | 2.00 s | 1.50 | ≤ 0.9 | **no** |\n")
}

func TestArguments(t *testing.T) {
	o, err := parse([]string{"-rows", "1,3c", "-size", "quick"})
	require.NoError(t, err)
	require.Equal(t, []string{"1", "3c"}, o.rows)
	require.Equal(t, 3, o.sizes.rounds)
	for _, args := range [][]string{{"-rows", "12"}, {"-size", "huge"}, {"more"}} {
		_, err := parse(args)
		require.Error(t, err, "%q", args)
	}
	for _, g := range groups {
		for _, id := range g.rows {
			require.Contains(t, rowOrder, id)
		}
	}
}
