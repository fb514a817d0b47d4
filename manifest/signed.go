package manifest

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/docker/libtrust"
)

var (
	// ErrUnsigned says that a manifest of schema 1 has no signature where it
	// should have one. It is an [ErrInvalid] too.
	ErrUnsigned = fmt.Errorf("manifest: manifest is not signed: %w", ErrInvalid)
	// ErrUnverified says that a signature is not one of the manifest it stands
	// in. It is an [ErrInvalid] too; the error is a [*SignatureError].
	ErrUnverified = fmt.Errorf("manifest: signature does not match: %w", ErrInvalid)
	// ErrName says that a signed manifest was made for another name or tag. It
	// is an [ErrInvalid] too; the error is a [*NameError].
	ErrName = fmt.Errorf("manifest: manifest is of another name: %w", ErrInvalid)
)

// SignatureError says what is wrong with a signature.
type SignatureError struct {
	Err error
}

func (e *SignatureError) Error() string {
	return fmt.Sprintf("manifest: signature cannot be verified: %+.160q", e.Err.Error())
}

// Unwrap returns [ErrUnverified] and Err.
func (e *SignatureError) Unwrap() []error { return []error{ErrUnverified, e.Err} }

// NameError is a name, or a tag, that a manifest was not made for.
type NameError struct {
	Field     string // "name" or "tag"
	Want, Got string // as it was pushed to; as the manifest has it
}

func (e *NameError) Error() string {
	return fmt.Sprintf("manifest: %s is "+quoted+", but it is pushed as "+quoted, e.Field, e.Got, e.Want)
}

// Unwrap returns [ErrName].
func (e *NameError) Unwrap() error { return ErrName }

// Signed is a manifest of schema 1 with signatures, all of which match it.
// Whose keys they are of nobody asks: a signature says that the manifest is
// whole, not who made it.
type Signed struct {
	manifest   *Schema1
	signatures [][]byte
	document   []byte
}

// ParseSigned reads the signed form of a manifest of schema 1, verifies every
// signature, and checks what is signed as [ParseStrict] does. The result keeps
// document, which must not change. Errors: [ErrUnsigned], [ErrUnverified],
// [ErrInvalid], [ErrUnknownType], [ErrTooLarge].
func ParseSigned(document []byte) (*Signed, error) {
	m, err := parseUnverified(MediaTypeDockerSchema1Signed, document)
	if err != nil {
		return nil, err
	}
	return verify(m.(*Schema1)) // the media type allows no other
}

// Sign makes the signed form of a payload. The key's own signature is the only
// one. Errors: those of [Parse], [ErrInvalid] for a payload that has signatures
// already.
func Sign(payload []byte, key libtrust.PrivateKey) (*Signed, error) {
	m, err := parsePayload(payload)
	if err != nil {
		return nil, err
	}
	document, err := signDocument(payload, key)
	if err != nil {
		return nil, err
	}
	return signedOf(m, document)
}

// Assemble makes the signed form of a stored payload and signatures that
// [Signed.Signatures] returned, in any order. Repeated signatures, those beyond
// [MaxSignatures], and those that do not match are left out; if none is left,
// the error is [ErrUnsigned]. Errors: also those of [Sign].
func Assemble(payload []byte, signatures [][]byte) (*Signed, error) {
	m, err := parsePayload(payload)
	if err != nil {
		return nil, err
	}
	signatures = distinct(signatures)
	if signed, err := assemble(m, signatures); err == nil {
		return signed, nil
	}
	signatures = slices.DeleteFunc(signatures, func(signature []byte) bool {
		_, err := assemble(m, [][]byte{signature})
		return err != nil
	})
	if len(signatures) == 0 {
		return nil, ErrUnsigned
	}
	return assemble(m, signatures)
}

func assemble(m *Schema1, signatures [][]byte) (*Signed, error) {
	document, err := assembleDocument(m.payload, signatures)
	if err != nil {
		return nil, err
	}
	return signedOf(m, document)
}

// distinct is the first [MaxSignatures] of the signatures, each once.
func distinct(signatures [][]byte) [][]byte {
	var list [][]byte
	seen := make(map[string]bool)
	for _, s := range signatures {
		if !seen[string(s)] && len(list) < MaxSignatures {
			seen[string(s)] = true
			list = append(list, s)
		}
	}
	return list
}

// Merge is the manifest with more signatures, as [Assemble] takes them.
func (s *Signed) Merge(signatures [][]byte) (*Signed, error) {
	return Assemble(s.manifest.payload, slices.Concat(s.signatures, signatures))
}

// Manifest is what is signed: its payload is what a store keeps, and what the
// manifest's digest is of.
func (s *Signed) Manifest() *Schema1 { return s.manifest }

// Document is the signed form; do not modify.
func (s *Signed) Document() []byte { return s.document }

// Signatures is the signatures, each as registries store it: a JSON object.
// They are in the order of their keys. Do not modify.
func (s *Signed) Signatures() [][]byte { return s.signatures }

// CheckName refuses a manifest that was made for another repository, or, where
// it is pushed by a tag, for another tag. Errors: [ErrName].
func (s *Signed) CheckName(name, tag string) error {
	switch {
	case s.manifest.Name != name:
		return &NameError{Field: "name", Want: name, Got: s.manifest.Name}
	case tag != "" && s.manifest.Tag != tag:
		return &NameError{Field: "tag", Want: tag, Got: s.manifest.Tag}
	}
	return nil
}

// verify reads the signed form that m was parsed from.
func verify(m *Schema1) (*Signed, error) {
	payload, signatures, err := verifyDocument(m.payload)
	if err != nil {
		return nil, err
	}
	signed, err := parseUnverified(MediaTypeDockerSchema1, payload)
	if err != nil {
		return nil, err
	}
	if signed.MediaType() != MediaTypeDockerSchema1 {
		return nil, invalid("signatures", "are signed themselves")
	}
	return &Signed{manifest: signed.(*Schema1), signatures: signatures, document: m.payload}, nil
}

// signedOf checks a document that was made of m.
func signedOf(m *Schema1, document []byte) (*Signed, error) {
	payload, signatures, err := verifyDocument(document)
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(payload, m.payload) {
		return nil, invalid("", "cannot be signed: its form would change")
	}
	return &Signed{manifest: m, signatures: signatures, document: document}, nil
}

// parsePayload reads what is stored, which may be older than the rules of
// ParseStrict.
func parsePayload(payload []byte) (*Schema1, error) {
	m, err := Parse(MediaTypeDockerSchema1, payload)
	if err != nil {
		return nil, err
	}
	if m.MediaType() != MediaTypeDockerSchema1 {
		return nil, invalid("signatures", "do not belong in a payload")
	}
	schema1 := m.(*Schema1)
	if len(schema1.Layers) == 0 {
		return nil, invalid("fsLayers", "has no entries")
	}
	return schema1, nil
}
