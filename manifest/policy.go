package manifest

import (
	"fmt"
	"net/url"
	"regexp"
	"slices"
)

// ErrURL says that a manifest has an address that a [URLPolicy] does not allow,
// or lacks one. It is an [ErrInvalid] too; the error is a [*URLError].
var ErrURL = fmt.Errorf("manifest: address is not allowed: %w", ErrInvalid)

// URLError is an address that is not allowed.
type URLError struct {
	Field  string // "blobs[3].urls[0]", by the order of [References]
	URL    string // empty: there is none
	Reason string
}

func (e *URLError) Error() string {
	return fmt.Sprintf("manifest: %s: "+quoted+" %s", e.Field, e.URL, e.Reason)
}

// Unwrap returns [ErrURL].
func (e *URLError) Unwrap() error { return ErrURL }

// MaxURL is the length in bytes of the longest address that a [URLPolicy]
// allows.
const MaxURL = 4096

// URLPolicy says which addresses the descriptors of a manifest may have.
// Nothing is ever fetched from them here, but who pulls the image may.
//
// An address must be http or https, without a fragment, match one expression of
// Allow and none of Deny. If Allow is empty and Deny is not, everything is
// allowed that is not denied; the zero value allows nothing. A foreign layer of
// Docker's must have an address; an OCI one need not.
type URLPolicy struct {
	Allow, Deny []*regexp.Regexp
}

// Check says whether the policy allows what a manifest names. Errors: [ErrURL].
func (p URLPolicy) Check(refs References) error {
	for i, d := range refs.Blobs {
		field := fmt.Sprintf("blobs[%d]", i)
		if len(d.URLs) == 0 && isDockerForeign(d.MediaType) {
			return &URLError{Field: field + ".urls", Reason: "is missing: the layer is foreign"}
		}
		if err := p.checkAll(field, d); err != nil {
			return err
		}
	}
	for i, d := range refs.Manifests {
		if err := p.checkAll(fmt.Sprintf("manifests[%d]", i), d); err != nil {
			return err
		}
	}
	if refs.Subject != nil {
		return p.checkAll("subject", *refs.Subject)
	}
	return nil
}

func (p URLPolicy) checkAll(field string, d Descriptor) error {
	for i, address := range d.URLs {
		if reason := p.refusal(address); reason != "" {
			return &URLError{Field: fmt.Sprintf("%s.urls[%d]", field, i), URL: address, Reason: reason}
		}
	}
	return nil
}

// refusal is why an address is not allowed, or "".
func (p URLPolicy) refusal(address string) string {
	if len(address) > MaxURL {
		return "is too long"
	}
	parsed, err := url.Parse(address)
	matches := func(e *regexp.Regexp) bool { return e.MatchString(address) }
	switch {
	case err != nil:
		return "is no address"
	case parsed.Scheme != "http" && parsed.Scheme != "https", parsed.Host == "":
		return "is not of http or https"
	case parsed.Fragment != "":
		return "has a fragment"
	case slices.ContainsFunc(p.Deny, matches):
		return "is denied"
	case len(p.Allow) == 0 && len(p.Deny) > 0, slices.ContainsFunc(p.Allow, matches):
		return ""
	default:
		return "is not among those allowed"
	}
}
