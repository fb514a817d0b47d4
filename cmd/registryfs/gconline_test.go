package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Beside a mount that has the store to itself garbage is set aside, and removed
// by the next run; whoever else wants the store is refused, and told by whom.
func TestGCBesideAMount(t *testing.T) {
	store, mnt, made := newStore(t), mountPoint(t), makeLayout(t, "kept")
	d := garbage(t, store, "team/app", "garbage")
	s := startServer(t, "--exclusive", store, mnt)
	copyIn(t, made, mnt, "team/app", "v1")
	mark, err := os.ReadFile(filepath.Join(store, "registryfs/exclusive"))
	require.NoError(t, err)
	require.Contains(t, string(mark), fmt.Sprintf(`"by":"the mount on %s","pid":%d,`, mnt, s.Process.Pid))

	refused := func(args ...string) {
		t.Helper()
		r := registryfs(t, args...)
		require.Equal(t, exitFailed, r.status, r.stderr)
		require.Equal(t, 1, strings.Count(r.stderr, "\n"), r.stderr)
		require.Regexp(t, fmt.Sprintf(`process (\d+, )*%d\b`, s.Process.Pid), r.stderr)
		require.Empty(t, r.stdout)
	}
	other := mountPoint(t)
	refused("gc", "--offline", "--grace", "0", store)
	refused("check", "--repair", store)
	refused("rm", store, "team/app")
	refused("mount", store, other)
	refused("mount", "--exclusive", store, other)
	require.Equal(t, exitOK, registryfs(t, "check", store).status)
	reader := startServer(t, "--read-only", store, other)
	checkMounted(t, other, "team/app", "v1", made.image)
	require.Equal(t, exitOK, registryfs(t, "unmount", other).status)
	reader.end(t)

	r := registryfs(t, "gc", "--grace", "0", store)
	require.Equal(t, exitOK, r.status, r.stderr)
	require.Equal(t, "link\tteam/app\t"+d.String()+"\t0\taside\nblob\t\t"+d.String()+"\t7\taside\n", r.stdout)
	require.Contains(t, r.stderr, "set aside")
	require.Contains(t, r.stderr, "restart registries")
	require.NoFileExists(t, blobFile(store, d))
	// Asked for, it is there again.
	require.Equal(t, "garbage", shell(t, `cat "$1/team/app/_blobs/$2"`, mnt, d.String()))
	require.FileExists(t, blobFile(store, d))
	require.Empty(t, registryfs(t, "gc", "--grace", "0", store).stdout, "and leased")

	forgotten := garbage(t, store, "team/app", "forgotten")
	require.Contains(t, registryfs(t, "gc", "--grace", "0", store).stdout, forgotten.String()+"\t9\taside")
	require.Equal(t, exitOK, registryfs(t, "check", store).status)
	r = registryfs(t, "gc", "--grace", "0", store, "--json")
	require.Contains(t, r.stdout, `"step":"removed"`)
	require.Contains(t, r.stdout, `"blobs":1,"leftovers":0,"bytes":9,"aside":{`)

	// What a daemon that was killed has left does not count.
	require.NoError(t, s.Process.Kill())
	_ = s.Wait()
	require.FileExists(t, filepath.Join(store, "registryfs/exclusive"))
	r = registryfs(t, "gc", store)
	require.Equal(t, exitFailed, r.status)
	require.Contains(t, r.stderr, "--exclusive")
	require.Contains(t, r.stderr, "--offline")
	require.Equal(t, exitOK, registryfs(t, "gc", "--offline", store).status)
	require.Equal(t, exitOK, registryfs(t, "check", "--repair", store).status)
	s = startServer(t, "--exclusive", store, mnt)
	require.Equal(t, exitOK, registryfs(t, "gc", store).status)
	checkMounted(t, mnt, "team/app", "v1", made.image)
	require.Equal(t, exitOK, registryfs(t, "unmount", mnt).status)
	s.end(t)
	require.NoFileExists(t, filepath.Join(store, "registryfs/exclusive"))

	// Mounts that are not exclusive go together, and with nothing else.
	s = startServer(t, store, mnt)
	second := startServer(t, store, other)
	refused("gc", "--offline", store)
	refused("rm", store, "team/app")
	require.Contains(t, registryfs(t, "gc", store).stderr, "--exclusive")
	require.Equal(t, exitOK, registryfs(t, "unmount", other).status)
	second.end(t)
	require.NoError(t, s.Process.Kill())
	_ = s.Wait()
	require.Equal(t, exitOK, registryfs(t, "rm", store, "team/app").status)
}

// Pushes, promotions, retags and deletions go on while one collection after the
// other runs beside them, for which everything is old: nothing that was
// acknowledged is lost, nothing that can be seen is not whole.
func TestGCDuringAStorm(t *testing.T) {
	rounds := 6
	if !testing.Short() {
		rounds = 60
	}
	const writers = 4
	store, mnt := newStore(t), mountPoint(t)
	// What writers push is partly there already, as garbage.
	in := t.TempDir()
	for w := range writers {
		for i := range rounds {
			content := fmt.Sprintf("layer %d of writer %d\n", i, w)
			require.NoError(t, os.WriteFile(filepath.Join(in, fmt.Sprintf("%d-%d", w, i)), []byte(content), 0o644))
			if i%2 == 0 {
				garbage(t, store, fmt.Sprintf("team/app%d", w), content)
			}
		}
	}
	startServer(t, "--exclusive", "--allow-delete", store, mnt)
	script := `
		set -e
		trap 'cat "$2/.registryfs/errors"' EXIT
		in=$1 mnt=$2 w=$3 rounds=$4
		mkdir -p "$mnt/prod/app$w"
		hex() { sha256sum "$1" | cut -d" " -f1; }
		app=$mnt/team/app$w
		printf '{"writer":%d}' "$w" >"$in/config$w"
		config=$(hex "$in/config$w")
		i=0
		while [ $i -lt "$rounds" ]; do
			layer=$(hex "$in/$w-$i") size=$(stat -c %s "$in/$w-$i")
			# A client asks first, and pushes what is not there.
			[ -e "$app/_blobs/sha256/$config" ] || cp "$in/config$w" "$app/_blobs/sha256/$config"
			[ -e "$app/_blobs/sha256/$layer" ] || cp "$in/$w-$i" "$app/_blobs/sha256/$layer"
			printf '{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:%s","size":%d},"layers":[{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":"sha256:%s","size":%d}]}' \
				"$config" "$(stat -c %s "$in/config$w")" "$layer" "$size" >"$in/m$w-$i"
			cp "$in/m$w-$i" "$app/_tags/v$i"
			echo "team/app$w v$i $(hex "$in/m$w-$i") $layer"
			ln -sfn "v$i" "$app/_tags/latest"
			ln -s "$app/_tags/v$i" "$mnt/prod/app$w/_tags/v$i"
			echo "prod/app$w v$i $(hex "$in/m$w-$i") $layer"
			if [ $((i % 3)) = 2 ]; then
				rm "$app/_tags/v$((i - 1))"
				echo "-team/app$w v$((i - 1))"
			fi
			i=$((i + 1))
		done
		trap - EXIT`
	type ended struct {
		out []byte
		err error
	}
	results := make(chan ended, writers)
	for w := range writers {
		cmd := exec.Command("sh", "-c", script, "sh", in, mnt, itoa(w), itoa(rounds))
		go func() {
			out, err := cmd.CombinedOutput()
			results <- ended{out, err}
		}()
	}
	stuck := time.AfterFunc(patience, func() { _ = exec.Command("umount", "-f", mnt).Run() })
	defer stuck.Stop()
	tags := map[string][]string{} // "repository tag" to manifest and layer
	runs, gone := 0, 0
	for left := writers; left > 0; {
		select {
		case e := <-results:
			require.NoError(t, e.err, "%s", e.out)
			for line := range strings.Lines(string(e.out)) {
				f := strings.Fields(line)
				if name, removed := strings.CutPrefix(f[0], "-"); removed {
					delete(tags, name+" "+f[1])
				} else {
					tags[f[0]+" "+f[1]] = f[2:]
				}
			}
			left--
		default:
			r := registryfs(t, "gc", "--grace", "0", "--untagged", store)
			require.Equal(t, exitOK, r.status, r.stderr)
			runs++
			gone += strings.Count(r.stdout, "\tremoved\n")
		}
	}
	require.Equal(t, exitOK, registryfs(t, "check", store).status)
	check := func() {
		t.Helper()
		var sums strings.Builder
		for name, want := range tags {
			repo, tag, _ := strings.Cut(name, " ")
			fmt.Fprintf(&sums, "%s  %s/_tags/%s\n%s  %s/_blobs/sha256/%s\n", want[0], repo, tag, want[1], repo, want[1])
		}
		list := filepath.Join(t.TempDir(), "sums")
		require.NoError(t, os.WriteFile(list, []byte(sums.String()), 0o644))
		shell(t, `cd "$1"; sha256sum --quiet --strict -c "$2"`, mnt, list)
	}
	check()
	require.Equal(t, exitOK, registryfs(t, "unmount", mnt).status)
	r := registryfs(t, "gc", "--offline", "--grace", "0", "--untagged", store)
	require.Equal(t, exitOK, r.status, r.stderr)
	require.Contains(t, r.stdout, "manifest\t", "those whose tags were removed or moved")
	r = registryfs(t, "check", store)
	require.Equal(t, exitOK, r.status, r.stdout)
	startServer(t, "--read-only", store, mnt)
	check()
	require.Positive(t, gone, "the collections had nothing to do")
	t.Logf("%d collections, which removed %d things, beside %d pushes", runs, gone, len(tags))
}
