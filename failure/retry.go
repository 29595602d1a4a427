package archiver

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/archiverd/archiverd/genesys"
)

// tries is how often one action is tried in a pass. The next pass tries again.
const tries = 4

// maxHolds bounds how often an action waits out a 429. Each wait is the time that
// Genesys itself named; holds of over three minutes end the pass at once.
const maxHolds = 10

// maxMediaHold is the longest that a media host's Retry-After is waited out. The API's
// are the rate budget's business.
const maxMediaHold = 3 * time.Minute

// retry runs f, a request to Genesys, until it succeeds, fails for good, or has
// failed too often; the storage package retries its own. The last error is returned. Waits between tries: 0.3, 1.2, 4.8 s, a quarter either way,
// or what the media host asks for.
func (a *Archiver) retry(ctx context.Context, f func() error) error {
	wait, holds := 300*time.Millisecond, 0
	for n := 1; ; n++ {
		err := f()
		// Media that changed stay so: not this request is repeated but the download.
		if err == nil || !temporary(err) || errors.Is(err, genesys.ErrChanged) {
			return err
		}
		if genesys.AsError(err).TooMany() && holds < maxHolds {
			holds++ // the rate budget waits before the next request
			n--
			a.retried()
			continue
		}
		hold := mediaHold(err)
		if n >= tries || hold > maxMediaHold || !sleep(ctx, max(hold, jitter(wait))) {
			return err
		}
		a.Log.Debug("trying again", "error", err)
		a.retried()
		wait *= 4
	}
}

func (a *Archiver) retried() {
	if a.Observer != nil {
		a.Observer.Retried()
	}
}

func jitter(d time.Duration) time.Duration {
	return d*3/4 + rand.N(d/2)
}

// sleep waits for d, or tells that ctx ended first.
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
