package storage_test

import (
	"fmt"
	"os"
	"path"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"registryfs/digest"
	"registryfs/driver"
	"registryfs/storage"
)

// What may look like damage and is none.
func TestCheckHarmless(t *testing.T) {
	absent := digest.FromBytes([]byte("absent"))
	for name, test := range map[string]struct {
		do   func(t *testing.T, s *checkedStore)
		want []string
	}{
		"HistoryOfDeletedManifest": {do: func(t *testing.T, s *checkedStore) {
			put(t, s.driver, indexLink("app", "v1", absent), absent.String())
		}},
		"AbsentSubject": {do: func(t *testing.T, s *checkedStore) {
			putDocument(t, s, fmt.Sprintf(`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json",`+
				`"config":{"mediaType":"application/x","digest":"%s","size":16},"layers":[],`+
				`"subject":{"mediaType":"application/x","digest":"%s","size":1}}`, s.one.config, absent))
		}},
		"SparseIndex": {do: func(t *testing.T, s *checkedStore) {
			putDocument(t, s, fmt.Sprintf(`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json",`+
				`"manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"%s","size":1}]}`, absent))
		}},
		"ForeignLayer": {do: func(t *testing.T, s *checkedStore) {
			putDocument(t, s, fmt.Sprintf(`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json",`+
				`"config":{"mediaType":"application/x","digest":"%s","size":16},"layers":[{"mediaType":"application/x",`+
				`"digest":"%s","size":1,"urls":["https://example.com/"]}]}`, s.one.config, absent))
		}},
		"NoManifest":   {do: func(t *testing.T, s *checkedStore) { putDocument(t, s, "no manifest") }},
		"UnknownType":  {do: func(t *testing.T, s *checkedStore) { putDocument(t, s, `{"mediaType":"application/x-unknown"}`) }},
		"HugeManifest": {do: func(t *testing.T, s *checkedStore) { putDocument(t, s, strings.Repeat(" ", 5<<20)) }},
		"UnlinkedBlob": {do: func(t *testing.T, s *checkedStore) { put(t, s.driver, dataPath(absent), "absent") }},
		"Sha512Blob": {do: func(t *testing.T, s *checkedStore) {
			put(t, s.driver, dataPath(digest.SHA512.FromBytes([]byte("absent"))), "absent")
		}},
		"EmptyDigestDirectories": {do: func(t *testing.T, s *checkedStore) {
			for _, p := range []string{dataPath(absent), layerLink("app", absent), revisionLink("app", absent), indexLink("app", "v1", absent)} {
				require.NoError(t, driver.MakeDir(t.Context(), s.driver, path.Dir(p)))
			}
		}},
		"EmptyRepository": {do: func(t *testing.T, s *checkedStore) {
			require.NoError(t, driver.MakeDir(t.Context(), s.driver, repos+"/team/empty/_layers"))
		}},
		"OldManifest": {do: func(t *testing.T, s *checkedStore) { // as registry 2.1.0 kept it
			for _, d := range []digest.Digest{s.one.config, s.one.layer, s.one.manifest} {
				put(t, s.driver, layerLink("old", d), d.String())
			}
			put(t, s.driver, currentLink("old", "v1"), s.one.manifest.String())
			put(t, s.driver, currentLink("old", "v2"), s.one.manifest.String())
		}},
		"UploadOnly": {
			do: func(t *testing.T, s *checkedStore) {
				put(t, s.driver, repos+"/begun/_uploads/"+uploadID+"/startedat", "")
			},
			want: []string{"leftover /repositories/begun/_uploads/" + uploadID},
		},
		"Temporaries": {
			do: func(t *testing.T, s *checkedStore) {
				put(t, s.driver, layerLink("app", absent)+".ABCDEF.tmp", "")
				put(t, s.driver, currentLink("app", "v1")+".ABCDEF.tmp", "")
				put(t, s.driver, dataPath(absent)+".ABCDEF.tmp", "")
			},
			want: []string{
				line(storage.FindingLeftover, dataPath(absent)+".ABCDEF.tmp"),
				line(storage.FindingLeftover, layerLink("app", absent)+".ABCDEF.tmp"),
				line(storage.FindingLeftover, currentLink("app", "v1")+".ABCDEF.tmp"),
			},
		},
		"Ours": {
			do: func(t *testing.T, s *checkedStore) {
				put(t, s.driver, "/registryfs/staging/"+uploadID+"/current/link", "")
				put(t, s.driver, "/registryfs/uploads/"+uploadID, "{}")
				put(t, s.driver, "/registryfs/trash/1-"+uploadID+"/app/v1/current/link", "")
				put(t, s.driver, "/registryfs/quarantine/sha256/"+absent.Encoded()+"-x", "")
				put(t, s.driver, "/registryfs/quarantine/check/1-x/blobs/y", "")
				put(t, s.driver, "/registryfs/exclusive", "")
			},
			want: []string{
				"leftover /registryfs/quarantine/check/1-x",
				"leftover /registryfs/quarantine/sha256/" + absent.Encoded() + "-x",
				"leftover /registryfs/staging/" + uploadID,
				"leftover /registryfs/trash/1-" + uploadID,
				"leftover /registryfs/uploads/" + uploadID,
			},
		},
		"RecordOfUpload": {
			do: func(t *testing.T, s *checkedStore) {
				put(t, s.driver, repos+"/app/_uploads/"+uploadID+"/data", "")
				put(t, s.driver, "/registryfs/uploads/"+uploadID, "{}")
			},
			want: []string{"leftover /repositories/app/_uploads/" + uploadID},
		},
		"StrangersInOurs": {
			do: func(t *testing.T, s *checkedStore) {
				for _, dir := range []string{"", "/quarantine", "/quarantine/check", "/trash", "/swept", "/staging"} {
					put(t, s.driver, "/registryfs"+dir+"/README", "x")
				}
				require.NoError(t, os.Symlink("check", s.dir+"/registryfs/quarantine/latest"))
			},
			want: []string{"leftover /registryfs/quarantine/README", "leftover /registryfs/quarantine/latest",
				"leftover /registryfs/quarantine/check/README", "leftover /registryfs/trash/README",
				"leftover /registryfs/swept/README", "leftover /registryfs/staging/README"},
		},
		"StrangersElsewhere": {
			do: func(t *testing.T, s *checkedStore) {
				for _, p := range []string{"/README", "/repositories/README", "/repositories/app/README", "/repositories/Upper/x",
					"/repositories/app/_other/x", "/repositories/app/_uploads/x", "/repositories/app/_manifests/x",
					"/repositories/app/_layers/md5/x", "/repositories/app/_layers/sha256/short/link"} {
					put(t, s.driver, v2+p, "x")
				}
				put(t, s.driver, path.Dir(layerLink("app", s.one.layer))+"/x", "x")
				put(t, s.driver, "/scheduler-state.json", "{}")
			},
			want: []string{"foreign /README", "foreign /repositories/README", "foreign /repositories/app/README",
				"foreign /repositories/Upper", "foreign /repositories/app/_other", "foreign /repositories/app/_uploads/x",
				"foreign /repositories/app/_manifests/x", "foreign /repositories/app/_layers/md5",
				"foreign /repositories/app/_layers/sha256/short", "*/x"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newCheckedStore(t)
			test.do(t, s)
			findings, _ := s.check(t, storage.CheckOptions{})
			require.Empty(t, lines(findings, true), "%+v", findings)
			for i, want := range test.want {
				if want == "*/x" {
					test.want[i] = line(storage.FindingForeign, path.Dir(layerLink("app", s.one.layer))+"/x")
				}
			}
			require.ElementsMatch(t, test.want, lines(findings, false))

			contents := contentsOf(t, s.dir)
			_, summary := s.check(t, storage.CheckOptions{Repair: true})
			require.Zero(t, summary.Damaged)
			require.ElementsMatch(t, contentsOf(t, s.dir), contents)
			findings, _ = s.check(t, storage.CheckOptions{})
			require.Empty(t, lines(findings, true), "%+v", findings)
			s.rest(t, nil)
		})
	}
}

const uploadID = "00000000-0000-4000-8000-000000000000"

// putDocument stores a manifest in app as others may have.
func putDocument(t *testing.T, s *checkedStore, document string) {
	t.Helper()
	d := digest.FromBytes([]byte(document))
	put(t, s.driver, dataPath(d), document)
	put(t, s.driver, revisionLink("app", d), d.String())
}
