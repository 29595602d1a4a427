package genesys

import (
	"context"
	"io"
	"testing"
)

// TestPredicates wants every predicate of no error false, and silence told from a wait.
func TestPredicates(t *testing.T) {
	var none *Error
	for name, is := range map[string]bool{
		"OfMedia": none.OfMedia(), "Unauthorized": none.Unauthorized(), "Forbidden": none.Forbidden(), "TooMany": none.TooMany(),
		"NotFound": none.NotFound(), "Silent": none.Silent(), "OfClient": none.OfClient(), "OfToken": none.OfToken(),
	} {
		if is {
			t.Errorf("%s of no error is true", name)
		}
	}
	for _, c := range []struct {
		err    *Error
		silent bool
	}{
		{&Error{Op: "get_userrecordings", Err: io.ErrUnexpectedEOF}, true},
		{&Error{Op: "get_userrecordings", Status: 503}, false},
		{&Error{Op: opLink, Err: io.ErrUnexpectedEOF}, false},
		{&Error{Op: "get_userrecordings", Err: &LimitedError{}}, false},
		{&Error{Op: "get_userrecordings", Err: context.Canceled}, false},
	} {
		if c.err.Silent() != c.silent {
			t.Errorf("Silent of %+v is %v", c.err, !c.silent)
		}
	}
}
