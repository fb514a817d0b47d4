package manifest_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/docker/libtrust"
	"github.com/stretchr/testify/require"

	"registryfs/manifest"
	"registryfs/testdata"
)

func newKey(t testing.TB) libtrust.PrivateKey {
	key, err := libtrust.GenerateECP256PrivateKey()
	require.NoError(t, err)
	return key
}

func signed(t testing.TB, payload string, keys ...libtrust.PrivateKey) *manifest.Signed {
	var signatures [][]byte
	for _, key := range keys {
		s, err := manifest.Sign([]byte(payload), key)
		require.NoError(t, err)
		signatures = append(signatures, s.Signatures()...)
	}
	s, err := manifest.Assemble([]byte(payload), signatures)
	require.NoError(t, err)
	return s
}

func TestSignedRoundTrip(t *testing.T) {
	compact := `{"schemaVersion":1,"name":"a","fsLayers":[{"blobSum":"sha256:` + hexA + `"}],"history":[{"v1Compatibility":"{}"}]}`
	rsa, err := libtrust.GenerateRSA2048PrivateKey()
	require.NoError(t, err)
	for name, payload := range map[string]string{
		"indented":    schema1,
		"compact":     compact,
		"white space": compact + " \n\n",
		"tail":        in(compact, `"}]}`, "\"}\n]\n\t\r\n }"),
		"escapes":     in(schema1, `amd64`, `\u003c&<é\n`),
	} {
		for _, key := range []libtrust.PrivateKey{newKey(t), rsa} {
			s, err := manifest.Sign([]byte(payload), key)
			require.NoError(t, err, name)
			require.Equal(t, payload, string(s.Manifest().Payload()), name)
			require.Equal(t, manifest.MediaTypeDockerSchema1, s.Manifest().MediaType())
			require.Len(t, s.Signatures(), 1)
			require.True(t, json.Valid(s.Document()))

			parsed, err := manifest.ParseSigned(s.Document())
			require.NoError(t, err, name)
			require.Equal(t, s, parsed, name)

			again, err := manifest.Assemble([]byte(payload), s.Signatures())
			require.NoError(t, err, name)
			require.Equal(t, s, again, name)

			m, err := manifest.ParseStrict("", s.Document())
			require.NoError(t, err, name)
			require.Equal(t, manifest.MediaTypeDockerSchema1Signed, m.MediaType())
			require.Equal(t, s.Document(), m.Payload())
			require.Equal(t, s.Manifest().References(), m.References())
			for _, said := range []string{manifest.MediaTypeDockerSchema1, manifest.MediaTypeDockerSchema1Signed, "application/json"} {
				same, err := manifest.ParseStrict(said, s.Document())
				require.NoError(t, err)
				require.Equal(t, m, same)
			}
		}
	}
}

// The signed form that this package made once is read for ever.
func TestSignedVector(t *testing.T) {
	document, err := testdata.Manifests.ReadFile("manifest/docker-schema1-signed.json")
	require.NoError(t, err)
	s, err := manifest.ParseSigned(document)
	require.NoError(t, err)
	require.Equal(t, document, s.Document())
	payload, err := testdata.Manifests.ReadFile("manifest/docker-schema1-payload.json")
	require.NoError(t, err)
	require.Equal(t, string(payload), string(s.Manifest().Payload()))
	require.Len(t, s.Signatures(), 2)
}

func TestMerge(t *testing.T) {
	a, b, c := newKey(t), newKey(t), newKey(t)
	one, two := signed(t, schema1, a), signed(t, schema1, b, c)
	merged, err := one.Merge(two.Signatures())
	require.NoError(t, err)
	require.Len(t, merged.Signatures(), 3)
	require.Len(t, one.Signatures(), 1, "merging leaves it as it was")
	for _, s := range slices.Concat(one.Signatures(), two.Signatures()) {
		require.Contains(t, merged.Signatures(), s)
	}
	parsed, err := manifest.ParseSigned(merged.Document())
	require.NoError(t, err)
	require.Equal(t, merged, parsed)

	other, err := two.Merge(one.Signatures())
	require.NoError(t, err)
	require.Equal(t, merged, other, "in any order")
	again, err := merged.Merge(two.Signatures())
	require.NoError(t, err)
	require.Equal(t, merged, again, "each once")
}

func TestAssembleLeavesOutWhatDoesNotMatch(t *testing.T) {
	good := signed(t, schema1, newKey(t))
	foreign := signed(t, in(schema1, `"v1"`, `"v2"`), newKey(t))
	shifted := signed(t, schema1+"\n", newKey(t))
	junk := [][]byte{nil, []byte("junk"), []byte("null"), []byte("{}"), []byte("[]"),
		[]byte(`{"header":{"jwk":{"kty":"EC"}},"signature":"","protected":""}`),
		bytes.Repeat([]byte(" "), manifest.MaxSignatureSize+1)}

	s, err := manifest.Assemble([]byte(schema1), slices.Concat(junk, foreign.Signatures(), shifted.Signatures(), good.Signatures()))
	require.NoError(t, err)
	require.Equal(t, good, s)

	for _, none := range [][][]byte{nil, {}, junk, foreign.Signatures(), shifted.Signatures()} {
		_, err = manifest.Assemble([]byte(schema1), none)
		require.ErrorIs(t, err, manifest.ErrUnsigned)
	}
}

func TestMaxSignatures(t *testing.T) {
	key := newKey(t)
	var signatures [][]byte
	for range manifest.MaxSignatures + 1 {
		s, err := manifest.Sign([]byte(schema1), key)
		require.NoError(t, err)
		signatures = append(signatures, s.Signatures()...)
	}
	s, err := manifest.Assemble([]byte(schema1), signatures)
	require.NoError(t, err)
	require.Len(t, s.Signatures(), manifest.MaxSignatures)

	document := in(string(s.Document()), `"signatures": [`, `"signatures": [`+string(signatures[manifest.MaxSignatures])+`,`)
	_, err = manifest.ParseSigned([]byte(document))
	require.ErrorContains(t, err, "signatures: has 101 entries, at most 100")
}

func TestParseSignedRefuses(t *testing.T) {
	document := string(signed(t, schema1, newKey(t)).Document())
	start := strings.Index(document, `"protected": "`) + len(`"protected": "`)
	protected := document[start : start+strings.Index(document[start:], `"`)]
	withProtected := func(header string) string {
		return in(document, protected, base64.RawURLEncoding.EncodeToString([]byte(header)))
	}
	tail := base64.RawURLEncoding.EncodeToString([]byte("\n}"))
	for name, c := range map[string]struct {
		document string
		want     error
	}{
		"unsigned":               {schema1, manifest.ErrUnsigned},
		"no signatures":          {in(schema1, `"name"`, `"signatures":[],"name"`), manifest.ErrUnsigned},
		"signatures null":        {in(schema1, `"name"`, `"signatures":null,"name"`), manifest.ErrUnsigned},
		"another tag":            {in(document, `"v1"`, `"v2"`), manifest.ErrUnverified},
		"white space inside":     {in(document, `"tag": "v1"`, `"tag":  "v1"`), manifest.ErrUnverified},
		"another layer":          {in(document, hexA, strings.Repeat("c", 64)), manifest.ErrUnverified},
		"a field outside":        {strings.TrimSuffix(document, "}") + `,"tag2":"x"}`, manifest.ErrUnverified},
		"junk for a signature":   {in(schema1, `"name"`, `"signatures":["junk"],"name"`), manifest.ErrUnverified},
		"empty signature":        {in(schema1, `"name"`, `"signatures":[{}],"name"`), manifest.ErrUnverified},
		"negative length":        {withProtected(`{"formatLength":-5,"formatTail":"` + tail + `"}`), manifest.ErrUnverified},
		"length beyond the end":  {withProtected(`{"formatLength":100000,"formatTail":"` + tail + `"}`), manifest.ErrUnverified},
		"huge length":            {withProtected(`{"formatLength":1e30,"formatTail":"` + tail + `"}`), manifest.ErrUnverified},
		"length no number":       {withProtected(`{"formatLength":"5","formatTail":"` + tail + `"}`), manifest.ErrUnverified},
		"no protected header":    {withProtected(``), manifest.ErrUnverified},
		"null protected header":  {withProtected(`null`), manifest.ErrUnverified},
		"algorithm":              {in(document, `"ES256"`, `"none"`), manifest.ErrUnverified},
		"key":                    {in(document, `"crv": "P-256"`, `"crv": "P-384"`), manifest.ErrUnverified},
		"no key":                 {in(document, `"jwk"`, `"jwq"`), manifest.ErrUnverified},
		"signatures no array":    {in(schema1, `"name"`, `"signatures":{},"name"`), manifest.ErrInvalid},
		"long signature":         {in(document, `"alg"`, `"x":"`+strings.Repeat("x", manifest.MaxSignatureSize)+`","alg"`), manifest.ErrInvalid},
		"too long":               {document + strings.Repeat(" ", manifest.MaxSize), manifest.ErrTooLarge},
		"another kind":           {image, manifest.ErrInvalid},
		"not JSON":               {"{", manifest.ErrInvalid},
		"empty":                  {"", manifest.ErrInvalid},
		"name in another case":   {in(document, `"name"`, `"Name"`), manifest.ErrInvalid},
		"signatures twice":       {strings.TrimSuffix(document, "}") + `,"signatures":[]}`, manifest.ErrInvalid},
		"signatures, other case": {strings.TrimSuffix(document, "}") + `,"Signatures":[]}`, manifest.ErrInvalid},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := manifest.ParseSigned([]byte(c.document))
			require.ErrorIs(t, err, c.want)
			require.Nil(t, s)
			require.Less(t, len(err.Error()), 1000)
			if c.want != manifest.ErrTooLarge {
				require.ErrorIs(t, err, manifest.ErrInvalid)
			}
			_, err = manifest.ParseStrict(manifest.MediaTypeDockerSchema1Signed, []byte(c.document))
			require.ErrorIs(t, err, c.want)
		})
	}
}

// A signature covers what its header says, not what stands before it: a
// document can show one manifest and have another signed.
func TestParseSignedRefusesWhatIsNotShown(t *testing.T) {
	key := newKey(t)
	hidden := strings.Replace(schema1, hexA, strings.Repeat("c", 64), 1)
	for _, length := range []int{0, 1} { // bytes of the document that are signed
		protected := base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, `{"formatLength":%d,"formatTail":%q}`,
			length, base64.RawURLEncoding.EncodeToString([]byte(hidden[length:]))))
		signature, alg, err := key.Sign(strings.NewReader(protected+"."+base64.RawURLEncoding.EncodeToString([]byte(hidden))), 5)
		require.NoError(t, err)
		jwk, err := json.Marshal(key.PublicKey())
		require.NoError(t, err)
		entry := fmt.Sprintf(`{"header":{"jwk":%s,"alg":%q},"signature":%q,"protected":%q}`,
			jwk, alg, base64.RawURLEncoding.EncodeToString(signature), protected)
		document := in(schema1, "   ]\n}", "   ],\"signatures\":["+entry+"]}")

		jws, err := libtrust.ParsePrettySignature([]byte(document), "signatures")
		require.NoError(t, err)
		_, err = jws.Verify()
		require.NoError(t, err, "the signature alone is a good one")

		_, err = manifest.ParseSigned([]byte(document))
		require.ErrorIs(t, err, manifest.ErrUnverified)
	}
}

func TestParseSignedChecksWhatIsSigned(t *testing.T) {
	// Sign takes what is stored, so it signs this.
	s := signed(t, in(schema1, `"history": [`, `"history": [{"v1Compatibility":"{}"},`), newKey(t))
	_, err := manifest.ParseSigned(s.Document())
	require.ErrorContains(t, err, "history: has 4 entries, fsLayers has 3")
}

func TestSignRefuses(t *testing.T) {
	key := newKey(t)
	for name, payload := range map[string]string{
		"signed":       string(signed(t, schema1, key).Document()),
		"another kind": in(index, "sha256", "sha1"),
		"no JSON":      "{",
		"no fields":    "{}",
		"comma":        `{"schemaVersion":1,}`,
	} {
		_, err := manifest.Sign([]byte(payload), key)
		require.ErrorIs(t, err, manifest.ErrInvalid, name)
		_, err = manifest.Assemble([]byte(payload), [][]byte{[]byte("{}")})
		require.ErrorIs(t, err, manifest.ErrInvalid, name)
	}
	_, err := manifest.Sign([]byte(schema1), nil)
	require.Error(t, err)
}

func TestCheckName(t *testing.T) {
	s := signed(t, schema1, newKey(t))
	require.NoError(t, s.CheckName("team/app", "v1"))
	require.NoError(t, s.CheckName("team/app", ""), "pushed by digest")
	for _, c := range []struct{ name, tag, field string }{{"team/other", "v1", "name"}, {"team/app", "v2", "tag"}, {"", "", "name"}} {
		err := s.CheckName(c.name, c.tag)
		require.ErrorIs(t, err, manifest.ErrName)
		require.ErrorIs(t, err, manifest.ErrInvalid)
		var mismatch *manifest.NameError
		require.ErrorAs(t, err, &mismatch)
		require.Equal(t, c.field, mismatch.Field)
	}
}

// Nothing panics, and what is accepted can be taken apart and put together.
func FuzzParseSigned(f *testing.F) {
	f.Add(signed(f, schema1, newKey(f)).Document())
	f.Add(signed(f, schema1+" ", newKey(f), newKey(f)).Document())
	f.Add([]byte(in(schema1, `"name"`, `"signatures":[{}],"name"`)))
	for _, name := range []string{"docker-schema1.json", "docker-schema1-signed.json"} {
		document, err := testdata.Manifests.ReadFile("manifest/" + name)
		require.NoError(f, err)
		f.Add(document)
	}
	f.Fuzz(func(t *testing.T, document []byte) {
		before := bytes.Clone(document)
		s, err := manifest.ParseSigned(document)
		require.Equal(t, before, document)
		if err != nil {
			require.Nil(t, s)
			require.ErrorIs(t, err, manifest.ErrInvalid)
			return
		}
		require.Equal(t, document, s.Document())
		again, err := manifest.Assemble(s.Manifest().Payload(), s.Signatures())
		require.NoError(t, err)
		require.Equal(t, s.Manifest(), again.Manifest())
	})
}

// The parts as they come from a store: anything.
func FuzzAssemble(f *testing.F) {
	s := signed(f, schema1, newKey(f))
	f.Add([]byte(schema1), s.Signatures()[0], []byte("{}"))
	f.Add([]byte(schema1), []byte(`{"header":{"x5c":["AAAA"]}}`), []byte(`{"header":{"jwk":null}}`))
	f.Fuzz(func(t *testing.T, payload, a, b []byte) {
		s, err := manifest.Assemble(payload, [][]byte{a, b})
		if err != nil {
			require.ErrorIs(t, err, manifest.ErrInvalid)
			return
		}
		require.Equal(t, payload, s.Manifest().Payload())
		require.LessOrEqual(t, len(s.Signatures()), 2)
	})
}
