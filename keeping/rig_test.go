package keeping

import (
	"context"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/archiverd/archiverd/archiver/archivertest"
	"github.com/archiverd/archiverd/archiver/archivertest/passes"
	"github.com/archiverd/archiverd/journal"
	"github.com/archiverd/archiverd/proof"
	"github.com/archiverd/archiverd/state"
	"github.com/archiverd/archiverd/state/statetest"
	"github.com/archiverd/archiverd/storage"
)

func TestMain(m *testing.M) { archivertest.Main(m) }

// rig is an archive in a bucket that keeps locks and holds, with its ledger.
type rig struct{ *passes.Rig }

func newRig(t *testing.T) *rig {
	t.Helper()
	t.Parallel()
	r := &rig{passes.New(t, archivertest.Checking, true)}
	r.Options.MinAge = 0
	return r
}

func (r *rig) keeper() *Keeper {
	o, b := r.Options, r.Store()
	writer := &journal.Writer{
		Bucket: b, Ledger: r.Ledger, Prover: &proof.Prover{Bucket: b, Prefix: o.Prefix, Ledger: r.Ledger.ID(), Log: r.Log},
		Prefix: o.Prefix, Retention: o.Retention, Configuration: "test", Version: o.Version, Log: r.Log,
	}
	return New(Options{
		Bucket: b, Ledger: r.Ledger, Prefix: o.Prefix, Retention: o.Retention, Workers: 1, Journal: writer.WriteOrdered,
	})
}

// removal removes with the rights to do so.
func (r *rig) removal() Removal { return Removal{With: storage.NewRemover(r.Store()), Bypass: true} }

// order returns an act of this kind on one recording. The outcome appears in out.
func (r *rig) order(kind state.ActKind, id, recording string) (o Order, out *Outcome) {
	out = &Outcome{}
	o = Order{Act: statetest.Act(kind), Emit: func(of Outcome) error { *out = of; return nil }}
	o.ID = id
	o.Recordings = func(ctx context.Context, f func(state.Key, *state.Entry) error) error {
		e, err := r.Ledger.Entry(ctx, r.Key(recording))
		if err != nil {
			return err
		}
		return f(r.Key(recording), &e)
	}
	return o, out
}

// ordered carries an order out.
func (r *rig) ordered(do func(context.Context, Order) (Totals, error), o Order) {
	r.T.Helper()
	if _, err := do(r.T.Context(), o); err != nil {
		r.T.Errorf("%s: %v", o.Kind, err)
	}
}

func (r *rig) hold(id, of, recording string) *Outcome {
	r.T.Helper()
	o, out := r.order(state.ActHold, id, recording)
	o.Case = of
	r.ordered(r.keeper().Hold, o)
	return out
}

func (r *rig) release(id, of, recording string) *Outcome {
	r.T.Helper()
	o, out := r.order(state.ActRelease, id, recording)
	o.Case = of
	r.ordered(r.keeper().Release, o)
	return out
}

func (r *rig) erase(id, recording string) *Outcome {
	r.T.Helper()
	o, out := r.order(state.ActErase, id, recording)
	r.ordered(func(ctx context.Context, o Order) (Totals, error) { return r.keeper().Erase(ctx, o, r.removal()) }, o)
	return out
}

// once calls f before the first request to the store of a name, with a part in its URL.
func (r *rig) once(name, part string, f func()) {
	var done atomic.Bool
	r.Wire.Use(func(n string, req *http.Request, send func() (*http.Response, error)) (*http.Response, error) {
		if n == name && strings.Contains(req.URL.String(), part) && done.CompareAndSwap(false, true) {
			f()
		}
		return send()
	})
	r.T.Cleanup(func() {
		if !done.Load() {
			r.T.Errorf("no request %s of %s", name, part)
		}
	})
}

// wantHeld insists on the hold of every version, in the store and in the ledger.
func (r *rig) wantHeld(want bool, id string, versions int) {
	r.T.Helper()
	e := r.Entry(id)
	if len(e.Versions) != versions {
		r.T.Errorf("%d versions, want %d", len(e.Versions), versions)
	}
	for _, v := range e.Versions {
		for key, version := range map[string]string{v.MediaKey: v.MediaVersionID, v.ManifestKey: v.ManifestVersionID} {
			held, err := r.Store().Hold(r.T.Context(), key, version)
			if err != nil || held != want || v.Held != want {
				r.T.Errorf("%s is held: %t in the store, %t in the ledger, want %t (%v)", key, held, v.Held, want, err)
			}
		}
	}
}
