package archiver

import (
	"context"
	"time"

	"github.com/archiverd/archiverd/state"
	"github.com/archiverd/archiverd/twins"
)

// twinLength is the longest duration for which two recordings often have the same bytes,
// for example silence.
const twinLength = time.Second

// A twinError says that another recording of the organization was served the same media in
// this run. That happens if a transcoder or a cache mixes up two requests.
type twinError struct{ sha256 string }

func (e *twinError) Error() string {
	return twins.Reason
}

// judgeTwin compares media with those of the organization's other recordings in this run.
// Media are suspect if another recording has the same media after both were asked for once
// more.
func (t *transfer) judgeTwin(ctx context.Context, d mediaDigest, v verdict) (verdict, error) {
	if d.Size == 0 || v.duration > 0 && v.duration <= twinLength {
		return v, nil
	}
	e, sum := t.entry, d.Hex()
	if e.Twin != "" && e.Twin != sum {
		if err := t.register.ServedOther(ctx, t.key, e.Twin); err != nil {
			return v, err
		}
	}
	shared, err := t.register.Served(ctx, t.key, d.Sum())
	if err != nil {
		return v, err
	}
	if e.Twin != sum {
		if shared {
			return v, &twinError{sum}
		}
		return v, nil
	}
	other, pending, err := t.register.Other(ctx, t.key, sum, t.sharing)
	pending = pending || shared // the other recording may have failed since
	switch {
	case err != nil:
		return v, err
	case other != "":
		v.whole, v.unproved, v.suspect = false, "", "byte for byte the media of "+other+" too, also when both were asked for once more"
	case pending:
		return v, &twinError{sum}
	}
	return v, nil
}

// setAside leaves a recording that was served another's media to askTwins.
func (t *transfer) setAside(ctx context.Context, sum string) error {
	t.log.Warn(twins.Reason, "recording", t.key.Recording, "sha256", sum)
	err := t.edit(ctx, state.StateListed, func(e *state.Entry) {
		e.Twin, e.TwinAsked = sum, e.Twin == sum
	})
	t.register.Note(sum)
	return err
}

// askTwins asks once more for the recordings of this inbox that share their media with
// another recording, one at a time. It asks twice: what the first of two recordings is
// served again means nothing before the second was asked for too.
func (p *pass) askTwins(ctx context.Context) error {
	for range 2 {
		waiting, err := p.settledTwins(ctx)
		if err != nil || len(waiting) == 0 {
			return err
		}
		if p.sharing, err = p.register.Find(ctx, waiting); err != nil {
			return err
		}
		if waiting, err = p.settledTwins(ctx); err != nil { // Find may have added some
			return err
		}
		if err := p.askEach(ctx, waiting); err != nil {
			return err
		}
	}
	return nil
}

func (p *pass) askEach(ctx context.Context, twins []state.KeyedEntry) error {
	for _, e := range twins {
		if err := p.stopped(); err != nil {
			return err
		}
		if !p.waits(e.Entry) {
			continue
		}
		p.Tally.Found.Add(1)
		p.register.Asking.Lock()
		err := p.transferOne(ctx, e)
		p.register.Asking.Unlock()
		if err != nil {
			return err
		}
	}
	return nil
}

// settledTwins returns the recordings that wait to be asked for once more, where all that share
// their media are known.
func (p *pass) settledTwins(ctx context.Context) (twins []state.KeyedEntry, err error) {
	err = p.eachWaiting(ctx, func(e state.KeyedEntry) error {
		if e.Entry.Twin == "" {
			return nil
		}
		settled, err := p.register.Settled(ctx, e.Entry.Twin)
		if settled {
			twins = append(twins, e)
		}
		return err
	})
	return twins, err
}
