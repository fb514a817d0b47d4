package manifest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"

	"github.com/docker/libtrust"
)

// Limits of the signatures of one manifest. Verifying takes time that grows
// with keys, which stand in the signatures.
const (
	MaxSignatures    = 100
	MaxSignatureSize = 8 << 10 // bytes of one signature's JSON
)

// signaturesKey is where the signed form keeps signatures. It is the payload
// with this member put in before the closing brace; each signature's protected
// header says where that was and what followed.
const signaturesKey = "signatures"

// verifyDocument returns the payload of a signed form, and its signatures.
func verifyDocument(document []byte) (payload []byte, signatures [][]byte, err error) {
	doc, err := decodeDocument(document)
	if err != nil {
		return nil, nil, err
	}
	if err := checkSignatures(doc.Signatures); err != nil {
		return nil, nil, err
	}
	err = guarded(func() error {
		jws, err := libtrust.ParsePrettySignature(document, signaturesKey)
		if err != nil {
			return err
		}
		if _, err := jws.Verify(); err != nil {
			return err
		}
		if payload, err = jws.Payload(); err != nil {
			return err
		}
		signatures, err = jws.Signatures()
		return err
	})
	if err != nil {
		return nil, nil, &SignatureError{Err: err}
	}
	if err := checkCovered(document, payload); err != nil {
		return nil, nil, &SignatureError{Err: err}
	}
	return payload, signatures, nil
}

// checkSignatures bounds the work of verifying.
func checkSignatures(raw json.RawMessage) error {
	signatures, err := listOf(signaturesKey, raw, MaxReferences, func(at string, signature json.RawMessage) error {
		if len(signature) > MaxSignatureSize {
			return invalid(at, "has %d bytes, at most %d", len(signature), MaxSignatureSize)
		}
		return nil
	})
	switch {
	case err != nil:
		return err
	case len(signatures) == 0:
		return ErrUnsigned
	case len(signatures) > MaxSignatures:
		return invalid(signaturesKey, "has %d entries, at most %d", len(signatures), MaxSignatures)
	}
	return nil
}

// checkCovered refuses a document that says anything but its payload: what the
// payload is, the signatures tell, and they could tell anything.
func checkCovered(document, payload []byte) error {
	shown, err := members(document)
	if err != nil {
		return err
	}
	signed, err := members(payload)
	if err != nil {
		return err
	}
	delete(shown, signaturesKey)
	if !maps.Equal(shown, signed) {
		return errors.New("what is signed is not what the manifest says")
	}
	return nil
}

// members is the members of a JSON object, without white space.
func members(p []byte) (map[string]string, error) {
	var object map[string]json.RawMessage
	if err := json.Unmarshal(p, &object); err != nil {
		return nil, err
	}
	compact := make(map[string]string, len(object))
	for key, value := range object {
		var b bytes.Buffer
		if err := json.Compact(&b, value); err != nil {
			return nil, err
		}
		compact[key] = b.String()
	}
	return compact, nil
}

func signDocument(payload []byte, key libtrust.PrivateKey) (document []byte, err error) {
	err = guarded(func() error {
		jws, err := libtrust.NewJSONSignature(payload)
		if err != nil {
			return err
		}
		if err := jws.Sign(key); err != nil {
			return err
		}
		document, err = jws.PrettySignature(signaturesKey)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("manifest: signing: %w", err)
	}
	return document, nil
}

func assembleDocument(payload []byte, signatures [][]byte) (document []byte, err error) {
	if len(signatures) == 0 {
		return nil, ErrUnsigned
	}
	for _, s := range signatures {
		if len(s) > MaxSignatureSize {
			return nil, &SignatureError{Err: errors.New("it is too long")}
		}
	}
	err = guarded(func() error {
		jws, err := libtrust.NewJSONSignature(payload, signatures...)
		if err != nil {
			return err
		}
		document, err = jws.PrettySignature(signaturesKey)
		return err
	})
	if err != nil {
		return nil, &SignatureError{Err: err}
	}
	return document, nil
}

// guarded turns a panic into an error: libtrust indexes by numbers from the
// document, and sorts by keys that may be missing.
func guarded(fn func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("malformed signature: %v", r)
		}
	}()
	return fn()
}
