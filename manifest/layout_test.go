package manifest_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"registryfs/digest"
	"registryfs/manifest"
)

const refName = "org.opencontainers.image.ref.name"

// named is a descriptor with a name, as tools put it into index.json.
func named(hex, name string) string {
	return `{"mediaType":"` + manifest.MediaTypeOCIManifest + `","digest":"sha256:` + hex + `","size":7,"annotations":{"` + refName + `":"` + name + `"}}`
}

func layoutOf(entries ...string) string {
	return `{"schemaVersion":2,"manifests":[` + strings.Join(entries, ",") + `]}`
}

func TestParseLayout(t *testing.T) {
	nameless := `{"digest":"sha256:` + hexB + `","size":9}`
	for name, tc := range map[string]struct {
		document string
		want     string // tag and first letter of the digest of each entry
	}{
		"null":                    {`{"schemaVersion":2,"manifests":null}`, ""},
		"no manifests":            {`{"schemaVersion":2}`, ""},
		"none":                    {layoutOf(), ""},
		"with a media type":       {in(layoutOf(), `2,`, `2,"mediaType":"`+manifest.MediaTypeOCIIndex+`",`), ""},
		"a tag":                   {layoutOf(named(hexA, "v1")), "v1=a"},
		"in the document's order": {layoutOf(named(hexB, "v2"), named(hexA, "v1")), "v2=b v1=a"},
		"without a name":          {layoutOf(nameless, named(hexA, "v1")), "=b v1=a"},
		"with an empty name":      {layoutOf(named(hexA, "")), "=a"},
		"twice":                   {layoutOf(named(hexA, "v1"), named(hexA, "v1")), "v1=a v1=a"},
		"one name, two digests":   {layoutOf(named(hexA, "v1"), named(hexB, "v1")), "v1=a v1=b"},
		"a reference":             {layoutOf(named(hexA, "team/app:v1")), "v1=a"},
		"with a host":             {layoutOf(named(hexA, "registry.example.com/team/app:v1")), "v1=a"},
		"with a port":             {layoutOf(named(hexA, "127.0.0.1:5000/team/app:v1")), "v1=a"},
		"with a digest":           {layoutOf(named(hexA, "team/app:v1@sha256:"+hexA)), "v1=a"},
		"by digest alone":         {layoutOf(named(hexA, "team/app@sha256:"+hexA)), "=a"},
		"unknown keys":            {`{"schemaVersion":2,"manifests":[],"x":{"y":[1]}}`, ""},
		"an annotated index":      {`{"schemaVersion":2,"manifests":[],"annotations":{"a":"b"}}`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			l, err := manifest.ParseLayout([]byte(tc.document))
			require.NoError(t, err)
			var got []string
			for _, e := range l.Entries {
				got = append(got, e.Tag+"="+e.Digest.Encoded()[:1])
			}
			require.Equal(t, tc.want, strings.Join(got, " "))
			require.Empty(t, l.Generation)
		})
	}
}

func TestParseLayoutRefuses(t *testing.T) {
	for name, tc := range map[string]struct{ document, says string }{
		"nothing":               {"", "not JSON"},
		"half of one":           {layoutOf(named(hexA, "v1"))[:80], "not JSON"},
		"null":                  {"null", "is null"},
		"an array":              {"[]", "is an array"},
		"another version":       {`{"schemaVersion":1,"manifests":[]}`, "schemaVersion"},
		"no version":            {`{"manifests":[]}`, "schemaVersion"},
		"another media type":    {in(layoutOf(), `2,`, `2,"mediaType":"`+manifest.MediaTypeDockerList+`",`), "mediaType"},
		"an image":              {untypedImage, "config"},
		"manifests no array":    {`{"schemaVersion":2,"manifests":{}}`, "manifests"},
		"a descriptor without":  {layoutOf(`{"size":7}`), "manifests[0].digest"},
		"a digest that is none": {layoutOf(named(hexA, "v1"), `{"digest":"sha256:abc","size":7}`), "manifests[1].digest"},
		"a negative size":       {layoutOf(`{"digest":"sha256:` + hexA + `","size":-1}`), "size"},
		"a name that is none":   {layoutOf(named(hexA, "a b")), "manifests[0].annotations"},
		"a name with a slash":   {layoutOf(named(hexA, "team/app")), "team/app"},
		"a tag that is none":    {layoutOf(named(hexA, "team/app:.v1")), "no tag"},
		"a tag that is empty":   {layoutOf(named(hexA, "team/app:")), "no tag"},
		"a long tag":            {layoutOf(named(hexA, strings.Repeat("x", 129))), "no tag"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := manifest.ParseLayout([]byte(tc.document))
			require.ErrorIs(t, err, manifest.ErrInvalid)
			require.ErrorContains(t, err, tc.says)
		})
	}
	_, err := manifest.ParseLayout(make([]byte, manifest.MaxLayoutSize+1))
	require.ErrorIs(t, err, manifest.ErrTooLarge)
	if testing.Short() {
		return
	}
	many := strings.Repeat(`{"digest":"sha256:`+hexA+`","size":7},`, manifest.MaxLayoutEntries)
	_, err = manifest.ParseLayout([]byte(`{"schemaVersion":2,"manifests":[` + many + named(hexA, "v1") + `]}`))
	require.ErrorIs(t, err, manifest.ErrInvalid)
}

func TestEncodeLayout(t *testing.T) {
	l := &manifest.Layout{Entries: []manifest.LayoutEntry{
		{Tag: "v1", Descriptor: manifest.Descriptor{
			MediaType: manifest.MediaTypeOCIManifest, Digest: "sha256:" + hexA, Size: 7,
			Platform: &manifest.Platform{OS: "linux", Architecture: "arm64", Variant: "v8"},
		}},
		{Descriptor: manifest.Descriptor{MediaType: manifest.MediaTypeDockerManifest, Digest: "sha256:" + hexB, Size: 9}},
	}}
	payload, generation, err := l.Encode()
	require.NoError(t, err)
	require.JSONEq(t, fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"manifests":[
		{"mediaType":%q,"digest":"sha256:%s","size":7,"annotations":{%q:"v1"},"platform":{"os":"linux","architecture":"arm64","variant":"v8"}},
		{"mediaType":%q,"digest":"sha256:%s","size":9}],"annotations":{"registryfs.generation":%q}}`,
		manifest.MediaTypeOCIIndex, manifest.MediaTypeOCIManifest, hexA, refName, manifest.MediaTypeDockerManifest, hexB, generation), string(payload))

	again, sameGeneration, err := l.Encode()
	require.NoError(t, err)
	require.Equal(t, payload, again)
	require.Equal(t, generation, sameGeneration)

	parsed, err := manifest.ParseLayout(payload)
	require.NoError(t, err)
	require.Equal(t, generation, parsed.Generation)
	require.Len(t, parsed.Entries, 2)
	require.Equal(t, "v1", parsed.Entries[0].Tag)
	require.Equal(t, l.Entries[1], parsed.Entries[1])

	l.Entries = l.Entries[:1]
	_, other, err := l.Encode()
	require.NoError(t, err)
	require.NotEqual(t, generation, other)

	none, _, err := (&manifest.Layout{}).Encode()
	require.NoError(t, err)
	require.Contains(t, string(none), `"manifests":[]`, "not null: some tools cannot read that")
}

func TestLayoutOfManyTags(t *testing.T) {
	l := &manifest.Layout{}
	for len(l.Entries) < 10_000 {
		tag := fmt.Sprintf("v%d", len(l.Entries))
		l.Entries = append(l.Entries, manifest.LayoutEntry{Tag: tag, Descriptor: manifest.Descriptor{
			MediaType: manifest.MediaTypeOCIManifest, Digest: digest.FromBytes([]byte(tag)), Size: 7,
		}})
	}
	payload, _, err := l.Encode()
	require.NoError(t, err)
	parsed, err := manifest.ParseLayout(payload)
	require.NoError(t, err)
	require.Len(t, parsed.Entries, len(l.Entries))

	for i := range 9 {
		l.Entries[i].MediaType = strings.Repeat("x", 2<<20)
	}
	_, _, err = l.Encode()
	require.ErrorIs(t, err, manifest.ErrTooLarge)
}

func TestLayoutVersion(t *testing.T) {
	require.NoError(t, manifest.CheckLayoutVersion(manifest.LayoutVersion()))
	require.NoError(t, manifest.CheckLayoutVersion([]byte("{\n  \"imageLayoutVersion\": \"1.0.0\"\n}\n")))
	for _, bad := range []string{"", "{}", "[]", `{"imageLayoutVersion":"2.0.0"}`, `{"imageLayoutVersion":1}`} {
		require.ErrorIs(t, manifest.CheckLayoutVersion([]byte(bad)), manifest.ErrInvalid, bad)
	}
}

// What holds for every input: nothing panics, and what was read is written and
// read again as the same.
func FuzzParseLayout(f *testing.F) {
	f.Add([]byte(layoutOf(named(hexA, "v1"), named(hexB, "127.0.0.1:5000/team/app:v2@sha256:"+hexB))))
	f.Add([]byte(`{"schemaVersion":2,"manifests":null,"annotations":{"registryfs.generation":"x"}}`))
	f.Add([]byte(index))
	f.Fuzz(func(t *testing.T, payload []byte) {
		l, err := manifest.ParseLayout(payload)
		if err != nil {
			require.True(t, strings.HasPrefix(err.Error(), "manifest: "))
			require.Nil(t, l)
			return
		}
		encoded, generation, err := l.Encode()
		require.NoError(t, err)
		again, err := manifest.ParseLayout(encoded)
		require.NoError(t, err)
		require.Equal(t, generation, again.Generation)
		require.Len(t, again.Entries, len(l.Entries))
		for i, e := range l.Entries {
			require.Equal(t, e.Tag, again.Entries[i].Tag)
			require.Equal(t, e.Digest, again.Entries[i].Digest)
			require.Equal(t, e.Size, again.Entries[i].Size)
		}
	})
}
