package failure

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/archiverd/archiverd/genesys"
	"github.com/archiverd/archiverd/storage"
)

const opGet, opList = "get_userrecording", "get_userrecordings"

func unheard(error) {}

func TestJitterIsAQuarterEitherWay(t *testing.T) {
	const d = 1000 * time.Millisecond
	least, most := d, d
	for range 10_000 {
		got := jitter(d)
		least, most = min(least, got), max(most, got)
	}
	if least < 750*time.Millisecond || most >= 1250*time.Millisecond {
		t.Errorf("between %s and %s", least, most)
	}
	if least > 800*time.Millisecond || most < 1200*time.Millisecond {
		t.Errorf("hardly any: between %s and %s", least, most)
	}
}

func TestRetry(t *testing.T) {
	reply := func(status int) error { return &genesys.Error{Op: opGet, Status: status} }
	held := func(d time.Duration) error { return &genesys.Error{Op: "media_link", Status: 503, RetryAfter: d} }
	for _, c := range []struct {
		name     string
		errs     []error // by try; after them nil
		tries    int
		min, max time.Duration
	}{
		{"at once", nil, 1, 0, 0},
		{"not temporary", []error{reply(404)}, 1, 0, 0},
		{"not ours to judge", []error{errors.New("unknown")}, 1, 0, 0},
		{"the storage package retried", []error{&storage.Error{Op: "put", Status: 503, Err: errors.New("x")}}, 2, 225 * time.Millisecond, 375 * time.Millisecond},
		{"no reply, then one", []error{reply(0)}, 2, 225 * time.Millisecond, 375 * time.Millisecond},
		{"503 for good", []error{reply(503), reply(503), reply(503), reply(503), reply(503)}, 4, 4725 * time.Millisecond, 7875 * time.Millisecond},
		{"503, then 404", []error{reply(503), reply(404)}, 2, 225 * time.Millisecond, 375 * time.Millisecond},
		{"the budget waits out a 429", []error{reply(429), reply(429), reply(429), reply(429), reply(429)}, 6, 0, 0},
		{"limited for long", []error{&genesys.Error{Op: opGet, Err: &genesys.LimitedError{}}}, 1, 0, 0},
		{"the media host asks to wait", []error{held(7 * time.Second)}, 2, 7 * time.Second, 7 * time.Second},
		{"the media host asks to wait for long", []error{held(time.Hour)}, 1, 0, 0},
		{"media that changed", []error{&genesys.Error{Op: "media_link", Status: 200, Err: genesys.ErrChanged}}, 1, 0, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n, begun := 0, time.Now()
				err := Retry(t.Context(), unheard, func() error {
					if n++; n <= len(c.errs) {
						return c.errs[n-1]
					}
					return nil
				})
				if n != c.tries {
					t.Errorf("%d tries, want %d", n, c.tries)
				}
				if want := append(c.errs, nil)[min(n-1, len(c.errs))]; err != want {
					t.Errorf("ended with %v, want the last error, %v", err, want)
				}
				if took := time.Since(begun); took < c.min || took > c.max {
					t.Errorf("waited %s, want %s to %s", took, c.min, c.max)
				}
			})
		})
	}
}

func TestRetryDoesNotWaitOutADayOf429(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := 0
		err := Retry(t.Context(), unheard, func() error { n++; return &genesys.Error{Op: opGet, Status: 429} })
		if err == nil || n != maxHolds+Tries {
			t.Errorf("%d tries, %v", n, err)
		}
	})
}

func TestRetryEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		begun, cause := time.Now(), &genesys.Error{Op: opGet, Status: 503}
		if err := Retry(ctx, unheard, func() error { return cause }); err != cause {
			t.Errorf("ended with %v: the reason is the last error, not the context", err)
		}
		if took := time.Since(begun); took != 50*time.Millisecond {
			t.Errorf("ended after %s", took)
		}
	})
}
