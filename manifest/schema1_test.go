package manifest_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"registryfs/digest"
	"registryfs/manifest"
)

const schema1 = `{
   "schemaVersion": 1,
   "name": "team/app",
   "tag": "v1",
   "architecture": "amd64",
   "fsLayers": [
      {
         "blobSum": "sha256:` + hexB + `"
      },
      {
         "blobSum": "tarsum.v1+sha256:` + hexA + `"
      },
      {
         "blobSum": "sha256:` + hexB + `"
      }
   ],
   "history": [
      {
         "v1Compatibility": "{\"id\":\"3\",\"parent\":\"2\"}"
      },
      {
         "v1Compatibility": "{\"id\":\"2\",\"parent\":\"1\"}"
      },
      {
         "v1Compatibility": "{\"id\":\"1\"}"
      }
   ]
}`

func TestSchema1(t *testing.T) {
	for _, mediaType := range []string{"", "application/json", manifest.MediaTypeDockerSchema1, manifest.MediaTypeDockerSchema1 + "; charset=utf-8"} {
		parsed, err := manifest.ParseStrict(mediaType, []byte(schema1))
		require.NoError(t, err)
		lenient, err := manifest.Parse(mediaType, []byte(schema1))
		require.NoError(t, err)
		require.Equal(t, parsed, lenient)

		m := parsed.(*manifest.Schema1)
		require.Equal(t, manifest.MediaTypeDockerSchema1, m.MediaType())
		require.Equal(t, schema1, string(m.Payload()))
		require.Equal(t, "team/app", m.Name)
		require.Equal(t, "v1", m.Tag)
		require.Equal(t, "amd64", m.Architecture)
		require.Equal(t, []digest.Digest{"sha256:" + hexB, "tarsum.v1+sha256:" + hexA, "sha256:" + hexB}, m.Layers)
		require.Equal(t, []string{`{"id":"3","parent":"2"}`, `{"id":"2","parent":"1"}`, `{"id":"1"}`}, m.History)

		require.Equal(t, manifest.References{Blobs: []manifest.Descriptor{
			{MediaType: manifest.MediaTypeDockerLayer, Digest: "sha256:" + hexB, Size: manifest.UnknownSize},
			{MediaType: manifest.MediaTypeDockerLayer, Digest: "tarsum.v1+sha256:" + hexA, Size: manifest.UnknownSize},
		}}, m.References())
		require.Len(t, m.References().RequiredBlobs(), 2)
	}
}

func TestSchema1Strict(t *testing.T) {
	for name, c := range map[string]struct {
		payload string
		want    string // empty: it is accepted
	}{
		"name with a host":        {in(schema1, `team/app`, `Host.example.com:5000/team/a__p-p.x`), ""},
		"no tag":                  {in(schema1, `"v1"`, `""`), ""},
		"tag absent":              {in(schema1, `   "tag": "v1",`, ``), ""},
		"architecture absent":     {in(schema1, `   "architecture": "amd64",`, ``), ""},
		"own media type":          {in(schema1, `"name"`, `"mediaType":"`+manifest.MediaTypeDockerSchema1+`","name"`), ""},
		"media type of the other": {in(schema1, `"name"`, `"mediaType":"`+manifest.MediaTypeDockerSchema1Signed+`","name"`), ""},

		"no layers":             {`{"schemaVersion":1,"name":"a","fsLayers":[],"history":[]}`, "fsLayers: has no entries"},
		"layers absent":         {`{"schemaVersion":1,"name":"a"}`, "fsLayers: has no entries"},
		"history shorter":       {in(schema1, ",\n      {\n         \"v1Compatibility\": \"{\\\"id\\\":\\\"1\\\"}\"\n      }", ""), "history: has 2 entries, fsLayers has 3"},
		"history longer":        {in(schema1, `"history": [`, `"history": [{"v1Compatibility":"{}"},`), "history: has 4 entries, fsLayers has 3"},
		"history empty":         {in(schema1, `"{\"id\":\"1\"}"`, `""`), "history[2].v1Compatibility: is missing"},
		"history null":          {in(schema1, `"{\"id\":\"1\"}"`, `"null"`), "history[2].v1Compatibility: is null, must be an object"},
		"history no JSON":       {in(schema1, `"{\"id\":\"1\"}"`, `"{"`), "history[2].v1Compatibility: not JSON"},
		"history no object":     {in(schema1, `"{\"id\":\"1\"}"`, `"[]"`), "history[2].v1Compatibility: is an array"},
		"name absent":           {in(schema1, `   "name": "team/app",`, ``), `name: is "": no name`},
		"name of upper case":    {in(schema1, `team/app`, `Team/App`), `name: is "Team/App": no name`},
		"name of a path":        {in(schema1, `team/app`, `team/../app`), "no name of a repository"},
		"name too long":         {in(schema1, `team/app`, strings.Repeat("a", 300)), "no name of a repository"},
		"tag with a slash":      {in(schema1, `"v1"`, `"v/1"`), `tag: is "v/1": no tag`},
		"tag too long":          {in(schema1, `"v1"`, `"`+strings.Repeat("a", 129)+`"`), "no tag"},
		"version 2":             {in(schema1, `"schemaVersion": 1`, `"schemaVersion": 2`), `schemaVersion: is "2", must be 1`},
		"version absent":        {in(schema1, `"schemaVersion": 1,`, ``), "schemaVersion: is missing, must be 1"},
		"config too":            {in(schema1, `"name"`, `"config":null,"name"`), "config: does not belong in a manifest of schema 1"},
		"layers too":            {in(schema1, `"name"`, `"layers":null,"name"`), "layers: does not belong in a manifest of schema 1"},
		"manifests too":         {in(schema1, `"name"`, `"manifests":null,"name"`), "manifests: does not belong in a manifest of schema 1"},
		"key twice":             {in(schema1, `"tag": "v1"`, `"tag": "v1","tag":"v2"`), "tag: occurs twice"},
		"key in another case":   {in(schema1, `"tag": "v1"`, `"tag": "v1","Tag":"v2"`), `must be written "tag"`},
		"blobSum twice":         {in(schema1, `"blobSum": "tarsum`, `"blobSum":"sha256:`+hexA+`","blobSum": "tarsum`), `fsLayers[1].blobSum: occurs twice`},
		"blobSum in other case": {in(schema1, `"blobSum": "tarsum`, `"BlobSum": "tarsum`), `must be written "blobSum"`},
		"history in other case": {in(schema1, `"v1Compatibility": "{\"id\":\"1\"}"`, `"V1Compatibility": "{\"id\":\"1\"}"`), `must be written "v1Compatibility"`},
	} {
		t.Run(name, func(t *testing.T) {
			m, err := manifest.ParseStrict(manifest.MediaTypeDockerSchema1, []byte(c.payload))
			if c.want == "" {
				require.NoError(t, err)
				require.Equal(t, manifest.MediaTypeDockerSchema1, m.MediaType())
				return
			}
			require.ErrorContains(t, err, c.want)
			require.ErrorIs(t, err, manifest.ErrInvalid)
		})
	}
}

// What Parse refuses too.
func TestSchema1Invalid(t *testing.T) {
	for name, c := range map[string]struct {
		payload string
		want    string
	}{
		"no digest":       {in(schema1, "tarsum.v1+sha256:"+hexA, "sha256"), `fsLayers[1].blobSum: not a digest: "sha256"`},
		"digest absent":   {in(schema1, "tarsum.v1+sha256:"+hexA, ""), "fsLayers[1].blobSum: is missing"},
		"unknown digest":  {in(schema1, "tarsum.v1+sha256:"+hexA, "md5:d41d8cd98f00b204e9800998ecf8427e"), "unsupported algorithm"},
		"no object":       {in(schema1, `"blobSum": "tarsum.v1+sha256:`+hexA+`"`, `"blobSum": []`), "fsLayers[1].blobSum: is an array, must be a string"},
		"layers no array": {`{"schemaVersion":1,"fsLayers":{}}`, "fsLayers: is not an array"},
		"history":         {`{"schemaVersion":1,"history":"x"}`, "history: is not an array"},
		"history entries": {`{"schemaVersion":1,"history":[{"v1Compatibility":{}}]}`, "history[0].v1Compatibility: is an object, must be a string"},
		"name":            {in(schema1, `"team/app"`, `5`), "name: is a number, must be a string"},
		"too many layers": {`{"schemaVersion":1,"fsLayers":[` + strings.Repeat(`{"blobSum":"sha256:`+hexA+`"},`, manifest.MaxReferences) + `{}]}`, "fsLayers: has more than 20000 entries"},
	} {
		t.Run(name, func(t *testing.T) {
			for _, parse := range []func(string, []byte) (manifest.Manifest, error){manifest.Parse, manifest.ParseStrict} {
				m, err := parse(manifest.MediaTypeDockerSchema1, []byte(c.payload))
				require.Nil(t, m)
				require.ErrorContains(t, err, c.want)
				require.ErrorIs(t, err, manifest.ErrInvalid)
			}
		})
	}
}

func TestSchema1TarsumVersion(t *testing.T) {
	_, err := manifest.Parse("", []byte(in(schema1, "tarsum.v1+", "tarsum.dev+")))
	require.ErrorIs(t, err, manifest.ErrInvalid)
	require.ErrorIs(t, err, digest.ErrTarsumVersion)
	require.ErrorContains(t, err, "fsLayers[1].blobSum: unsupported version of tarsum")
}

// Tarsums belong in schema 1 only.
func TestTarsumInDescriptor(t *testing.T) {
	for _, payload := range []string{in(image, "sha256:"+hexB, "tarsum.v1+sha256:"+hexB), in(index, "sha256:"+hexB, "tarsum+sha256:"+hexB)} {
		_, err := manifest.Parse("", []byte(payload))
		require.ErrorIs(t, err, manifest.ErrInvalid)
		require.ErrorContains(t, err, "must be sha256 or sha512")
	}
}

func TestSchema1ReadsWhatIsStored(t *testing.T) {
	m, err := manifest.Parse("", []byte(`{"schemaVersion":1}`))
	require.NoError(t, err)
	require.Equal(t, manifest.MediaTypeDockerSchema1, m.MediaType())
	require.Empty(t, m.References().Blobs)

	m, err = manifest.Parse("", []byte(in(schema1, `"architecture"`, `"signatures":["junk"],"architecture"`)))
	require.NoError(t, err, "signatures are not looked at")
	require.Equal(t, manifest.MediaTypeDockerSchema1Signed, m.MediaType())
	require.Len(t, m.References().Blobs, 2)
}
