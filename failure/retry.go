package failure

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/archiverd/archiverd/genesys"
)

// Tries is how often one action is tried in a pass. The next pass tries again.
const Tries = 4

const (
	// maxHolds bounds how often an action waits out a 429. Each wait is the time that
	// Genesys itself named; holds of over three minutes end the pass at once.
	maxHolds = 10
	// maxMediaHold is the longest Retry-After of a media host that is waited out. The rate
	// budget waits out the API's.
	maxMediaHold = 3 * time.Minute
)

// Retry calls f until it succeeds, fails for good, or has failed too often, and returns
// the last error. f is a request to Genesys, or an action on the store, whose single requests
// the storage package repeats. Retry calls again with the error before it repeats f. It
// waits 0.3, 1.2 and 4.8 s, a quarter more or less, or as long as the media host asks for.
func Retry(ctx context.Context, again func(error), f func() error) error {
	wait, holds := 300*time.Millisecond, 0
	for n := 1; ; n++ {
		err := f()
		// Media that changed stay changed: the download is repeated, not this request.
		if err == nil || !Temporary(err) || errors.Is(err, genesys.ErrChanged) {
			return err
		}
		if genesys.AsError(err).TooMany() && holds < maxHolds {
			holds++ // the rate budget waits before the next request
			n--
			again(err)
			continue
		}
		hold := mediaHold(err)
		if n >= Tries || hold > maxMediaHold || !sleep(ctx, max(hold, jitter(wait))) {
			return err
		}
		again(err)
		wait *= 4
	}
}

// Pause waits for d, a quarter more or less. It returns false if ctx ended first.
func Pause(ctx context.Context, d time.Duration) bool { return sleep(ctx, jitter(d)) }

func jitter(d time.Duration) time.Duration {
	return d*3/4 + rand.N(d/2)
}

func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// mediaHold is how long the media host asks to be left alone.
func mediaHold(err error) time.Duration {
	if e := genesys.AsError(err); e.OfMedia() {
		return e.RetryAfter
	}
	return 0
}
