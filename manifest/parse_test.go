package manifest_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"registryfs/digest"
	"registryfs/manifest"
)

const (
	hexA = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	hexB = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"

	config = `{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:` + hexA + `","size":7}`
	layer  = `{"mediaType":"application/vnd.oci.image.layer.v1.tar+gzip","digest":"sha256:` + hexB + `","size":9}`

	image = `{"schemaVersion":2,"mediaType":"` + manifest.MediaTypeOCIManifest + `","config":` + config + `,"layers":[` + layer + `]}`
	index = `{"schemaVersion":2,"mediaType":"` + manifest.MediaTypeOCIIndex + `","manifests":[` + layer + `]}`

	untypedImage = `{"schemaVersion":2,"config":` + config + `,"layers":[` + layer + `]}`
	untypedIndex = `{"schemaVersion":2,"manifests":[` + layer + `]}`
)

// in replaces one piece of a document.
func in(document, old, new string) string {
	if strings.Count(document, old) != 1 {
		panic(fmt.Sprintf("%q is not once in %s", old, document))
	}
	return strings.Replace(document, old, new, 1)
}

// A layer alone, as the replacement of one.
func inLayer(old, new string) string { return in(image, layer, in(layer, old, new)) }

func TestStrictAccepts(t *testing.T) {
	docker := in(image, manifest.MediaTypeOCIManifest, manifest.MediaTypeDockerManifest)
	list := in(index, manifest.MediaTypeOCIIndex, manifest.MediaTypeDockerList)
	for name, c := range map[string]struct{ mediaType, payload, want string }{
		"image":                {"", image, manifest.MediaTypeOCIManifest},
		"image, given":         {manifest.MediaTypeOCIManifest, image, manifest.MediaTypeOCIManifest},
		"image, untyped":       {"", untypedImage, manifest.MediaTypeOCIManifest},
		"image, untyped, type": {manifest.MediaTypeOCIManifest, untypedImage, manifest.MediaTypeOCIManifest},
		"index":                {"", index, manifest.MediaTypeOCIIndex},
		"index, untyped":       {"", untypedIndex, manifest.MediaTypeOCIIndex},
		"docker":               {"", docker, manifest.MediaTypeDockerManifest},
		"docker list":          {"", list, manifest.MediaTypeDockerList},
		"parameters":           {manifest.MediaTypeDockerList + "; charset=utf-8", list, manifest.MediaTypeDockerList},
		"octet stream":         {manifest.MediaTypeOctetStream, image, manifest.MediaTypeOCIManifest},
		"plain JSON":           {"application/json", docker, manifest.MediaTypeDockerManifest},
		"layers null":          {"", in(image, "["+layer+"]", "null"), manifest.MediaTypeOCIManifest},
		"layers absent":        {"", in(image, `,"layers":[`+layer+"]", ""), manifest.MediaTypeOCIManifest},
		"subject null":         {"", in(image, `"config"`, `"subject":null,"config"`), manifest.MediaTypeOCIManifest},
		"white space around":   {"", "\n " + image + "\n", manifest.MediaTypeOCIManifest},
		"largest size":         {"", inLayer(":9}", ":9223372036854775807}"), manifest.MediaTypeOCIManifest},
		"extension":            {"", in(image, `"config"`, `"x":{"Size":1,"size":1e999},"config"`), manifest.MediaTypeOCIManifest},
		"annotations":          {"", in(image, `"config"`, `"annotations":{"Size":"1","size":"2"},"config"`), manifest.MediaTypeOCIManifest},
		"data":                 {"", in(image, config, `{"digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","size":2,"data":"e30="}`), manifest.MediaTypeOCIManifest},
		"deepest":              {"", in(image, `"config"`, `"x":`+nested(manifest.MaxDepth-1)+`,"config"`), manifest.MediaTypeOCIManifest},
		"most references":      {"", in(index, layer, repeated(manifest.MaxReferences)), manifest.MediaTypeOCIIndex},
		"largest":              {"", image + strings.Repeat(" ", manifest.MaxSize-len(image)), manifest.MediaTypeOCIManifest},
	} {
		t.Run(name, func(t *testing.T) {
			m, err := manifest.ParseStrict(c.mediaType, []byte(c.payload))
			require.NoError(t, err)
			require.Equal(t, c.want, m.MediaType())
			require.Equal(t, c.payload, string(m.Payload()))

			lenient, err := manifest.Parse(c.mediaType, []byte(c.payload))
			require.NoError(t, err)
			require.Equal(t, m, lenient)
			require.Equal(t, c.want, manifest.DetectMediaType([]byte(c.payload)))
		})
	}
}

// Every document is refused by ParseStrict with the message. Some are ones that
// a registry may have stored: Parse reads those.
func TestStrictRefuses(t *testing.T) {
	const unreadable, readable = false, true
	docker, oci := manifest.MediaTypeDockerManifest, manifest.MediaTypeOCIManifest
	for name, c := range map[string]struct {
		mediaType, payload string
		parses             bool
		want               string
	}{
		"empty":               {"", "", unreadable, "not JSON: unexpected end"},
		"null":                {"", "null", unreadable, "is null, must be an object"},
		"array":               {"", "[]", unreadable, "is an array, must be an object"},
		"string":              {"", `"x"`, unreadable, "is a string, must be an object"},
		"empty object":        {"", "{}", unreadable, "is no manifest"},
		"version alone":       {"", `{"schemaVersion":2}`, unreadable, "is no manifest"},
		"byte order mark":     {"", "\ufeff" + image, unreadable, "byte order mark"},
		"trailing data":       {"", image + "x", unreadable, "after top-level value"},
		"two documents":       {"", image + image, unreadable, "after top-level value"},
		"NUL at the end":      {"", image + "\x00", unreadable, "after top-level value"},
		"truncated":           {"", image[:len(image)-1], unreadable, "unexpected end"},
		"comment":             {"", "// x\n" + image, unreadable, "not JSON"},
		"single quotes":       {"", `{'schemaVersion':2}`, unreadable, "not JSON"},
		"not UTF-8":           {"", in(image, `"config"`, "\"x\":\"\xff\",\"config\""), readable, "is not UTF-8"},
		"nested too deeply":   {"", in(image, `"config"`, `"x":`+nested(manifest.MaxDepth)+`,"config"`), readable, "nests deeper than 32 levels"},
		"nested 20,000 deep":  {"", strings.Repeat("[", 20_000), unreadable, "exceeded max depth"},
		"closed 20,000 deep":  {"", in(image, `"config"`, `"x":`+nested(20_000)+`,"config"`), unreadable, "exceeded max depth"},
		"too many references": {"", in(index, layer, repeated(manifest.MaxReferences+1)), unreadable, "manifests: has more than 20000 entries"},
		"too many layers":     {"", in(image, "["+layer, "["+repeated(manifest.MaxReferences+1)), unreadable, "layers: has more than 20000 entries"},

		"version missing": {"", in(image, `"schemaVersion":2,`, ""), readable, "schemaVersion: is missing, must be 2"},
		"version 1":       {"", in(image, `"schemaVersion":2`, `"schemaVersion":1`), readable, `schemaVersion: is "1", must be 2`},
		"version 2.0":     {"", in(image, `"schemaVersion":2`, `"schemaVersion":2.0`), readable, `schemaVersion: is "2.0", must be 2`},
		"version text":    {"", in(image, `"schemaVersion":2`, `"schemaVersion":"2"`), readable, `schemaVersion: is "\"2\"", must be 2`},

		"layers and manifests":      {"", in(untypedImage, `"config"`, `"manifests":[],"config"`), readable, "ambiguous"},
		"layers and manifests null": {"", in(untypedImage, `"config"`, `"manifests":null,"config"`), readable, "manifests: does not belong in an image manifest"},
		"image with manifests":      {"", in(image, `"config"`, `"manifests":[],"config"`), readable, "manifests: does not belong in an image manifest"},
		"image with fsLayers":       {"", in(image, `"config"`, `"fsLayers":[],"config"`), readable, "fsLayers: does not belong in an image manifest"},
		"index with layers":         {"", in(index, `"manifests"`, `"layers":[],"manifests"`), readable, "layers: does not belong in an index"},
		"index with config":         {"", in(index, `"manifests"`, `"config":`+config+`,"manifests"`), readable, "config: does not belong in an index"},
		"index with fsLayers":       {"", in(index, `"manifests"`, `"fsLayers":[],"manifests"`), readable, "fsLayers: does not belong in an index"},
		"image without config":      {"", in(image, `"config":`+config+`,`, ""), readable, "config: is missing"},
		"config null":               {"", in(image, config, "null"), readable, "config: is missing"},
		"index without manifests":   {"", in(index, `,"manifests":[`+layer+`]`, ""), readable, "manifests: is missing"},
		"foreign config":            {"", in(image, `:7}`, `:7,"urls":["http://example.com"]}`), readable, "config: cannot be foreign"},

		"key twice":                {"", in(image, `"config"`, `"layers":[],"config"`), readable, "layers: occurs twice"},
		"key twice, escaped":       {"", in(image, `"config"`, `"l\u0061yers":[],"config"`), readable, "layers: occurs twice"},
		"media type twice":         {"", in(image, `"config"`, `"mediaType":"`+oci+`","config"`), readable, "mediaType: occurs twice"},
		"key twice in descriptor":  {"", inLayer(`"size"`, `"size":1,"size"`), readable, "layers[0].size: occurs twice"},
		"key twice in annotations": {"", inLayer(`"size"`, `"annotations":{"a":"1","a":"2"},"size"`), readable, `layers[0].annotations."a": occurs twice`},
		"key twice in extension":   {"", in(image, `"config"`, `"x":[{"y":{"z":1,"z":1}}],"config"`), readable, `"x"[0]."y"."z": occurs twice`},
		"other case":               {"", in(image, `"layers"`, `"Layers"`), readable, `"Layers": must be written "layers"`},
		"other case of other kind": {"", in(image, `"config"`, `"Manifests":[],"config"`), readable, `"Manifests": must be written "manifests"`},
		"other case, folded":       {"", in(image, `"layers"`, `"layerſ"`), readable, `"layer\u017f": must be written "layers"`},
		"other case in descriptor": {"", inLayer(`"size"`, `"Size":1,"size"`), readable, `layers[0]."Size": must be written "size"`},
		"other case in config":     {"", in(image, `"size":7`, `"DIGEST":"x:y","size":7`), unreadable, `config."DIGEST": must be written "digest"`},
		"other case in subject":    {"", in(image, `"config"`, `"subject":`+in(layer, `"size"`, `"siZe":1,"size"`)+`,"config"`), readable, `subject."siZe": must be written "size"`},
		"other case in platform":   {"", in(index, `:9}`, `:9,"platform":{"OS":"linux","os":"linux"}}`), readable, `manifests[0].platform."OS": must be written "os"`},

		"type against content":     {manifest.MediaTypeOCIIndex, untypedImage, readable, "mediaType: is missing, and the content is not that of"},
		"type against document":    {docker, image, readable, "but the manifest was given as"},
		"type against other kind":  {manifest.MediaTypeOCIIndex, image, readable, "but the manifest was given as"},
		"document against content": {"", in(index, manifest.MediaTypeOCIIndex, oci), readable, "manifests: does not belong in an image"},
		"docker without type":      {docker, untypedImage, readable, "mediaType: is missing, must be"},
		"document's parameters":    {"", in(image, oci, oci+"; charset=utf-8"), readable, "must be written"},
		"document's case":          {"", in(image, oci, strings.ToUpper(oci)), readable, "must be written"},
		"document says nothing":    {"", in(image, oci, "application/json"), readable, "must be written"},
		"media type a number":      {"", in(image, `"`+oci+`"`, "5"), unreadable, "mediaType: is a number, must be a string"},

		"config a list":      {"", in(image, config, "["+config+"]"), unreadable, "config: is an array, must be an object"},
		"layers a number":    {"", in(image, "["+layer+"]", "5"), unreadable, "layers: is not an array"},
		"layers an object":   {"", in(image, "["+layer+"]", layer), unreadable, "layers: is not an array"},
		"manifests a number": {"", `{"schemaVersion":2,"manifests":5}`, unreadable, "manifests: is not an array"},
		"descriptor null":    {"", in(image, layer, layer+",null"), unreadable, "layers[1].digest: is missing"},
		"descriptor text":    {"", in(image, layer, layer+`,"x"`), unreadable, "layers[1]: is a string, must be an object"},
		"subject a number":   {"", in(image, `"config"`, `"subject":5,"config"`), unreadable, "subject: is a number, must be an object"},
		"annotations a list": {"", in(image, `"config"`, `"annotations":[],"config"`), readable, "annotations: is an array, must be an object"},

		"digest missing":    {"", inLayer(`"digest":"sha256:`+hexB+`",`, ""), unreadable, "layers[0].digest: is missing"},
		"digest a number":   {"", inLayer(`"sha256:`+hexB+`"`, "5"), unreadable, "layers[0].digest: is a number, must be a string"},
		"digest upper-case": {"", inLayer(hexB, strings.ToUpper(hexB)), unreadable, "layers[0].digest: not a digest"},
		"digest short":      {"", inLayer(hexB, hexB[1:]), unreadable, "layers[0].digest: not a digest"},
		"digest a path":     {"", inLayer(hexB, "../../etc/passwd"), unreadable, "layers[0].digest: not a digest"},
		"digest md5":        {"", inLayer("sha256:"+hexB, "md5:"+hexB[:32]), unreadable, "layers[0].digest: unsupported algorithm"},
		"digest tarsum":     {"", inLayer("sha256:"+hexB, "tarsum.v1+sha256:"+hexB), unreadable, "layers[0].digest: unsupported algorithm"},
		"digest sha384":     {"", inLayer("sha256:"+hexB, "sha384:"+hexA+hexB[:32]), unreadable, "layers[0].digest: unsupported algorithm"},
		"subject's digest":  {"", in(image, `"config"`, `"subject":`+in(layer, hexB, "x")+`,"config"`), unreadable, "subject.digest: not a digest"},
		"child's digest":    {"", in(index, hexB, "x"), unreadable, "manifests[0].digest: not a digest"},
		"size missing":      {"", inLayer(`,"size":9`, ""), readable, "layers[0].size: is missing"},
		"size null":         {"", inLayer(`:9}`, ":null}"), readable, "layers[0].size: is null"},
		"size negative":     {"", inLayer(`:9}`, ":-1}"), unreadable, "layers[0].size: is negative: -1"},
		"size 2^63":         {"", inLayer(`:9}`, ":9223372036854775808}"), unreadable, "layers[0].size: is a number 9223372036854775808, must be a whole number below 2^63"},
		"size a fraction":   {"", inLayer(`:9}`, ":9.5}"), unreadable, "layers[0].size: is a number 9.5, must be a whole number below 2^63"},
		"size text":         {"", inLayer(`:9}`, `:"9"}`), unreadable, "layers[0].size: is a string, must be a whole number below 2^63"},
		"data not base64":   {"", inLayer(`:9}`, `:9,"data":"?"}`), unreadable, "layers[0]: cannot be decoded: illegal base64"},
		"data too short":    {"", inLayer(`:9}`, `:9,"data":"e30="}`), readable, "layers[0].data: holds 2 bytes, size says 9"},
		"data different":    {"", in(image, `:7}`, `:2,"data":"e30="}`), readable, "config.data: does not match the digest"},
		"subject's data":    {"", in(image, `"config"`, `"subject":`+in(layer, `:9}`, `:2,"data":"e30="}`)+`,"config"`), readable, "subject.data: does not match the digest"},
		"child's data":      {"", in(index, `:9}`, `:2,"data":"e30="}`), readable, "manifests[0].data: does not match the digest"},
		"urls text":         {"", inLayer(`:9}`, `:9,"urls":"x"}`), unreadable, "layers[0].urls: is a string, must be an array"},
	} {
		t.Run(name, func(t *testing.T) {
			m, err := manifest.ParseStrict(c.mediaType, []byte(c.payload))
			require.ErrorContains(t, err, c.want)
			require.Nil(t, m)
			require.ErrorIs(t, err, manifest.ErrInvalid)
			require.ErrorIs(t, err, fs.ErrInvalid)
			require.NotErrorIs(t, err, manifest.ErrUnknownType)
			require.NotErrorIs(t, err, errors.ErrUnsupported, "an algorithm we lack is the document's fault")
			require.Less(t, len(err.Error()), 500, "the message does not grow with the payload")

			m, err = manifest.Parse(c.mediaType, []byte(c.payload))
			if c.parses {
				require.NoError(t, err)
				require.Equal(t, c.payload, string(m.Payload()))
				return
			}
			require.ErrorIs(t, err, manifest.ErrInvalid)
			require.Nil(t, m)
		})
	}
}

func TestUnknownType(t *testing.T) {
	for name, c := range map[string]struct{ mediaType, payload, want string }{
		"given":           {"text/plain", image, "text/plain"},
		"in the document": {"", in(image, manifest.MediaTypeOCIManifest, "application/vnd.example"), "application/vnd.example"},
		"a layer":         {manifest.MediaTypeDockerLayer, image, manifest.MediaTypeDockerLayer},
		"schema 3":        {"", in(image, manifest.MediaTypeOCIManifest, "application/vnd.docker.distribution.manifest.v3+json"), "application/vnd.docker.distribution.manifest.v3+json"},
	} {
		t.Run(name, func(t *testing.T) {
			for _, parse := range []func(string, []byte) (manifest.Manifest, error){manifest.Parse, manifest.ParseStrict} {
				m, err := parse(c.mediaType, []byte(c.payload))
				require.Nil(t, m)
				require.ErrorIs(t, err, manifest.ErrUnknownType)
				require.ErrorIs(t, err, manifest.ErrInvalid)
				var unknown *manifest.UnknownTypeError
				require.ErrorAs(t, err, &unknown)
				require.Equal(t, c.want, unknown.MediaType)
			}
		})
	}
}

func TestTooLarge(t *testing.T) {
	payload := []byte(image + strings.Repeat(" ", manifest.MaxSize-len(image)+1))
	for _, parse := range []func(string, []byte) (manifest.Manifest, error){manifest.Parse, manifest.ParseStrict} {
		m, err := parse("", payload)
		require.Nil(t, m)
		require.ErrorIs(t, err, manifest.ErrTooLarge)
		require.NotErrorIs(t, err, manifest.ErrInvalid)
		require.ErrorContains(t, err, "4194305 bytes, at most 4194304")
	}
	require.Empty(t, manifest.DetectMediaType(payload))
}

// Two readers of a stored document agree: Parse takes the keys that
// encoding/json, and so a stock registry, takes.
func TestParseReadsAsRegistriesDo(t *testing.T) {
	m, err := manifest.Parse("", []byte(in(image, `"config"`, `"LAYERS":[],"config"`)))
	require.NoError(t, err)
	require.Len(t, m.References().Blobs, 2, "layers comes last")

	m, err = manifest.Parse("", []byte(strings.TrimSuffix(image, "}")+`,"LAYERS":[]}`))
	require.NoError(t, err)
	require.Len(t, m.References().Blobs, 1, "LAYERS comes last")

	m, err = manifest.Parse("", []byte(`{"manifests":[],"layers":[`+layer+`]}`))
	require.NoError(t, err)
	require.Equal(t, manifest.MediaTypeOCIIndex, m.MediaType())
}

// A list of empty objects is the most descriptors that fit in a payload. They
// are refused one by one, not all allocated first.
func TestAllocationsAreBounded(t *testing.T) {
	const head, tail = `{"schemaVersion":2,"manifests":[`, `{}]}`
	payload := []byte(head + strings.Repeat("{},", (manifest.MaxSize-len(head)-len(tail))/3) + tail)

	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := manifest.Parse("", payload)
	runtime.ReadMemStats(&after)
	require.ErrorContains(t, err, "manifests[0].digest: is missing")
	require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(4*manifest.MaxSize))
}

func TestTenThousandLayers(t *testing.T) {
	payload := []byte(in(image, "["+layer, "["+repeated(10_000)))
	m, err := manifest.ParseStrict("", payload)
	require.NoError(t, err)
	refs := m.References()
	require.Len(t, refs.Blobs, 10_001)
	require.Equal(t, digest.Digest("sha256:"+hexA), refs.Blobs[0].Digest)
	for i, d := range refs.Blobs[1:] {
		require.Equal(t, numbered(i), d.Digest)
	}
}

func TestRequiredBlobs(t *testing.T) {
	payload := in(image, layer, layer+","+
		in(layer, `:9}`, `:9,"urls":["https://example.com/x"]}`)+","+
		in(layer, "image.layer.v1", "image.layer.nondistributable.v1")+","+
		in(layer, `:9}`, `:10,"urls":[]}`))
	m, err := manifest.ParseStrict("", []byte(payload))
	require.NoError(t, err)
	require.Len(t, m.References().Blobs, 5)
	var sizes []int64
	for _, d := range m.References().RequiredBlobs() {
		sizes = append(sizes, d.Size)
	}
	require.Equal(t, []int64{7, 9, 10}, sizes)
}

// Only OCI documents have a subject and an artifact type.
func TestSubject(t *testing.T) {
	const more = `"artifactType":"application/x","subject":` + layer + `,`
	docker := strings.NewReplacer(manifest.MediaTypeOCIManifest, manifest.MediaTypeDockerManifest,
		manifest.MediaTypeOCIIndex, manifest.MediaTypeDockerList)
	for _, payload := range []string{in(image, `"config"`, more+`"config"`), in(index, `"manifests"`, more+`"manifests"`)} {
		m, err := manifest.ParseStrict("", []byte(payload))
		require.NoError(t, err)
		require.Equal(t, digest.Digest("sha256:"+hexB), m.References().Subject.Digest)
		require.Equal(t, "application/x", artifactType(m))

		m, err = manifest.ParseStrict("", []byte(docker.Replace(payload)))
		require.NoError(t, err)
		require.Nil(t, m.References().Subject)
		require.Empty(t, artifactType(m))
	}
}

func artifactType(m manifest.Manifest) string {
	switch m := m.(type) {
	case *manifest.Image:
		return m.ArtifactType
	case *manifest.Index:
		return m.ArtifactType
	}
	return "neither"
}

func nested(depth int) string { return strings.Repeat("[", depth) + strings.Repeat("]", depth) }

func numbered(i int) digest.Digest { return digest.Digest(fmt.Sprintf("sha256:%064x", i)) }

// repeated is n descriptors with digests of their own, without mediaType.
func repeated(n int) string {
	var b strings.Builder
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		d, _ := json.Marshal(map[string]any{"digest": numbered(i), "size": i})
		b.Write(d)
	}
	return b.String()
}
