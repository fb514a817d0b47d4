package manifest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"registryfs/digest"
)

// Descriptor names content: media type, digest, size in bytes (image
// specification, descriptor.md). Docker's descriptors have the same form.
type Descriptor = ocispec.Descriptor

// Platform is the operating system and architecture of an image.
type Platform = ocispec.Platform

// UnknownSize is the size in a descriptor of content of which the manifest does
// not tell the size: the layers of schema 1.
const UnknownSize = -1

// IsForeign reports whether content comes from elsewhere: it may not be
// distributed, or its descriptor has addresses to fetch it from.
func IsForeign(d Descriptor) bool { return len(d.URLs) > 0 || isForeignType(d.MediaType) }

// descriptorOf decodes one descriptor; nil for a field that is absent or null.
func descriptorOf(field string, raw json.RawMessage) (*Descriptor, error) {
	if isNull(raw) {
		return nil, nil
	}
	var d Descriptor
	if err := json.Unmarshal(raw, &d); err != nil {
		return nil, unreadable(field, err)
	}
	if err := checkDescriptor(field, d); err != nil {
		return nil, err
	}
	return &d, nil
}

// descriptorsOf decodes a list of descriptors.
func descriptorsOf(field string, raw json.RawMessage) ([]Descriptor, error) {
	return listOf(field, raw, MaxReferences, checkDescriptor)
}

// listOf decodes a list entry by entry, and checks each, so that what it
// allocates is bounded by the limit and not by the payload.
func listOf[T any](field string, raw json.RawMessage, limit int, check func(at string, entry T) error) ([]T, error) {
	if isNull(raw) {
		return nil, nil
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	if start, err := dec.Token(); err != nil || start != json.Delim('[') {
		return nil, invalid(field, "is not an array")
	}
	var list []T
	for dec.More() {
		if len(list) == limit {
			return nil, invalid(field, "has more than %d entries", limit)
		}
		var entry T
		at := fmt.Sprintf("%s[%d]", field, len(list))
		if err := dec.Decode(&entry); err != nil {
			return nil, unreadable(at, err)
		}
		if err := check(at, entry); err != nil {
			return nil, err
		}
		list = append(list, entry)
	}
	return list, nil
}

func checkDescriptor(field string, d Descriptor) error {
	if err := checkDigest(field+".digest", d.Digest); err != nil {
		return err
	}
	if digest.IsTarsum(d.Digest) {
		return unsupported(field+".digest", d.Digest, nil)
	}
	if d.Size < 0 {
		return invalid(field+".size", "is negative: %d", d.Size)
	}
	return nil
}

// checkDigest accepts tarsums too.
func checkDigest(field string, d digest.Digest) error {
	switch _, err := digest.Parse(string(d)); {
	case d == "":
		return invalid(field, "is missing")
	case errors.Is(err, digest.ErrUnsupported):
		return unsupported(field, d, err)
	case err != nil:
		return invalid(field, "not a digest: "+quoted, d)
	}
	return nil
}

func unsupported(field string, d digest.Digest, err error) error {
	if errors.Is(err, digest.ErrTarsumVersion) {
		return &InvalidError{Field: field, Reason: fmt.Sprintf("unsupported version of tarsum in "+quoted, d), Err: err}
	}
	return invalid(field, "unsupported algorithm in "+quoted+", must be sha256 or sha512", d)
}

// checkData compares content embedded in a descriptor with the digest and the
// size beside it: who reads the embedded copy must not get other bytes.
func checkData(field string, d *Descriptor) error {
	switch {
	case d == nil || d.Data == nil:
		return nil
	case int64(len(d.Data)) != d.Size:
		return invalid(field+".data", "holds %d bytes, size says %d", len(d.Data), d.Size)
	case d.Digest.Algorithm().FromBytes(d.Data) != d.Digest:
		return invalid(field+".data", "does not match the digest %s", d.Digest)
	}
	return nil
}

// checkAllData is [checkData] for a list.
func checkAllData(field string, list []Descriptor) error {
	for i := range list {
		if err := checkData(fmt.Sprintf("%s[%d]", field, i), &list[i]); err != nil {
			return err
		}
	}
	return nil
}

// isNull reports whether a field is absent or null. Encoders write null for an
// empty list.
func isNull(raw json.RawMessage) bool { return len(raw) == 0 || string(raw) == "null" }
