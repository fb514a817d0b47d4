package manifest

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"reflect"
	"strings"
)

var (
	// ErrInvalid says that a payload is not a manifest, or is one that readers
	// would not all read in the same way. The error is an [*InvalidError] or
	// an [*UnknownTypeError].
	ErrInvalid = fmt.Errorf("manifest: invalid manifest: %w", fs.ErrInvalid)
	// ErrUnknownType says that a media type is none that this package can
	// parse. It is an [ErrInvalid] too; the error is an [*UnknownTypeError].
	ErrUnknownType = fmt.Errorf("manifest: unknown media type: %w", ErrInvalid)
	// ErrTooLarge says that a payload is longer than [MaxSize].
	ErrTooLarge = errors.New("manifest: manifest is too large")
)

// InvalidError says what is wrong with a manifest, and where.
type InvalidError struct {
	Field  string // "layers[3].digest"; empty: the document as a whole
	Reason string // for people; anything quoted from the document is escaped
	Err    error  // what is behind it, or nil: digest.ErrTarsumVersion
}

func (e *InvalidError) Error() string {
	if e.Field == "" {
		return "manifest: " + e.Reason
	}
	return "manifest: " + e.Field + ": " + e.Reason
}

// Unwrap returns [ErrInvalid] and Err.
func (e *InvalidError) Unwrap() []error {
	if e.Err == nil {
		return []error{ErrInvalid}
	}
	return []error{ErrInvalid, e.Err}
}

// UnknownTypeError is the media type that was not understood.
type UnknownTypeError struct {
	MediaType string
}

func (e *UnknownTypeError) Error() string {
	return fmt.Sprintf("manifest: unknown media type "+quoted, e.MediaType)
}

// Unwrap returns [ErrUnknownType].
func (e *UnknownTypeError) Unwrap() error { return ErrUnknownType }

// quoted is the verb for text from a document: in ASCII, and cut short so that
// a message cannot grow with what it is about.
const quoted = "%+.80q"

func quote(s string) string { return fmt.Sprintf(quoted, s) }

func invalid(field, format string, args ...any) error {
	return &InvalidError{Field: field, Reason: fmt.Sprintf(format, args...)}
}

// unreadable is the error of a JSON decoder, in words. The field is where
// decoding began.
func unreadable(field string, err error) error {
	var (
		syntax   *json.SyntaxError
		mismatch *json.UnmarshalTypeError
	)
	switch {
	case errors.As(err, &mismatch):
		if mismatch.Field != "" {
			field = join(field, mismatch.Field)
		}
		return invalid(field, "is %.80s, must be %s", article(mismatch.Value), kindName(mismatch.Type))
	case errors.As(err, &syntax):
		return invalid(field, "not JSON: %v (at byte %d)", err, syntax.Offset)
	default:
		return invalid(field, "cannot be decoded: %v", err)
	}
}

func join(field, sub string) string {
	if field == "" {
		return sub
	}
	return field + "." + sub
}

// article puts one before what encoding/json calls a value: "array",
// "number -1".
func article(value string) string {
	switch {
	case value == "":
		return "something else"
	case strings.IndexByte("aeiou", value[0]) >= 0:
		return "an " + value
	default:
		return "a " + value
	}
}

func kindName(t reflect.Type) string {
	switch t.Kind() {
	case reflect.String:
		return "a string"
	case reflect.Int64:
		return "a whole number below 2^63"
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Uint8 {
			return "a base64 string"
		}
		return "an array"
	default:
		return "an object"
	}
}
