package storage

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"

	smithytime "github.com/aws/smithy-go/time"
)

// codeHeader is the code of a good reply with a header that the SDK cannot read.
const codeHeader = "UnreadableHeader"

// headerError names that header.
type headerError struct{ name, value string }

func (e *headerError) Error() string { return fmt.Sprintf("%s: %q", e.name, e.value) }

// oddHeader returns the header of an object that the SDK could not read, or nil. The SDK
// parses the headers below and takes all others as they are.
func oddHeader(h http.Header) *headerError {
	date := func(s string) error { _, err := smithytime.ParseHTTPDate(s); return err }
	instant := func(s string) error { _, err := smithytime.ParseDateTime(s); return err }
	number := func(s string) error { _, err := strconv.ParseInt(s, 0, 64); return err }
	flag := func(s string) error { _, err := strconv.ParseBool(s); return err }
	for _, c := range []struct {
		name string
		read func(string) error
	}{
		{"Last-Modified", date},
		{"x-amz-abort-date", date},
		{"x-amz-object-lock-retain-until-date", instant},
		{"Content-Length", number},
		{"x-amz-missing-meta", number},
		{"x-amz-mp-parts-count", number},
		{"x-amz-object-lock-event-hold-duration-days", number},
		{"x-amz-object-lock-event-hold-duration-years", number},
		{"x-amz-object-size", number},
		{"x-amz-tagging-count", number},
		{"x-amz-delete-marker", flag},
		{"x-amz-server-side-encryption-bucket-key-enabled", flag},
	} {
		if shown := h.Values(c.name); len(shown) > 0 && c.read(strings.TrimSpace(shown[0])) != nil {
			return &headerError{c.name, shown[0]}
		}
	}
	return nil
}
