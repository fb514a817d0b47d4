package manifest_test

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"registryfs/digest"
	"registryfs/manifest"
	"registryfs/testdata"
)

// What holds for every input: nothing panics; Payload is the input; what
// ParseStrict accepts, Parse reads in the same way, and so does a reader that
// takes keys by their exact spelling.
func FuzzParse(f *testing.F) {
	names, err := fs.Glob(testdata.Manifests, "manifest/*.json")
	require.NoError(f, err)
	for _, name := range names {
		payload, err := testdata.Manifests.ReadFile(name)
		require.NoError(f, err)
		f.Add("", payload)
		f.Add(manifest.DetectMediaType(payload)+"; charset=utf-8", payload)
	}
	f.Add(manifest.MediaTypeOCIIndex, []byte(untypedImage))
	f.Add(manifest.MediaTypeOctetStream, []byte(in(image, layer, nested(9))))
	f.Add("", []byte(in(image, `"config"`, `"config":null,"Config"`)))
	f.Add("", []byte(in(index, layer, in(layer, `"size"`, `"platform":{"os":"linux"},"size"`))))

	f.Fuzz(func(t *testing.T, mediaType string, payload []byte) {
		before := slices.Clone(payload)
		lenient, lenientErr := manifest.Parse(mediaType, payload)
		strict, strictErr := manifest.ParseStrict(mediaType, payload)
		detected := manifest.DetectMediaType(payload)
		require.Equal(t, before, payload)

		if lenientErr != nil {
			require.Nil(t, lenient)
			require.ErrorIs(t, lenientErr, manifest.ErrInvalid)
			require.Error(t, strictErr, "stricter is not less strict")
			return
		}
		require.Equal(t, payload, lenient.Payload())
		require.True(t, manifest.IsManifest(lenient.MediaType()))
		for _, d := range all(lenient.References()) {
			require.NoError(t, checked(d))
			if manifest.IsSchema1(lenient.MediaType()) {
				require.EqualValues(t, manifest.UnknownSize, d.Size)
			} else {
				require.GreaterOrEqual(t, d.Size, int64(0))
			}
		}

		if strictErr != nil {
			require.Nil(t, strict)
			require.ErrorIs(t, strictErr, manifest.ErrInvalid)
			return
		}
		require.Equal(t, lenient, strict)
		require.Equal(t, strict.MediaType(), detected)
		require.Equal(t, exactly(t, payload), digestsOf(strict.References()))
	})
}

func checked(d manifest.Descriptor) error {
	_, err := digest.Parse(string(d.Digest))
	return err
}

func all(r manifest.References) []manifest.Descriptor {
	return slices.Concat(r.Blobs, r.Manifests)
}

func digestsOf(r manifest.References) []string {
	list := []string{}
	for _, d := range all(r) {
		list = append(list, string(d.Digest))
	}
	return list
}

// exactly reads the digests of a manifest with maps, which know no case.
func exactly(t *testing.T, payload []byte) []string {
	dec := json.NewDecoder(bytes.NewReader(payload))
	dec.UseNumber()
	var doc map[string]any
	require.NoError(t, dec.Decode(&doc))
	list := []string{}
	add := func(v any) { list = append(list, v.(map[string]any)["digest"].(string)) }
	if c, ok := doc["config"]; ok {
		add(c)
	}
	for _, field := range []string{"layers", "manifests"} {
		entries, _ := doc[field].([]any)
		for _, e := range entries {
			add(e)
		}
	}
	layers, _ := doc["fsLayers"].([]any)
	for _, e := range slices.Backward(layers) {
		if d := e.(map[string]any)["blobSum"].(string); !slices.Contains(list, d) {
			list = append(list, d)
		}
	}
	return list
}
