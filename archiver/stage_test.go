package archiver

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"

	"github.com/archiverd/archiverd/archiver/archivertest"
	"github.com/archiverd/archiverd/state"
	"github.com/archiverd/archiverd/state/bolt"
)

// stage stands around every effect of a pass outside Genesys: each request to the
// store and each change of the ledger is a step. One step fails as it is told to.
type stage struct {
	failing int // the number of the step that fails; negative: none
	after   bool
	crash   bool
	kill    context.CancelFunc // with crash: ends the pass

	mu    sync.Mutex
	steps []string
	dead  bool
	fired bool
}

var (
	errOrdered = errors.New("this step fails by order of the test")
	errDead    = errors.New("the process has crashed")
)

// step runs an effect as a step. After a crash nothing has an effect any more.
func (s *stage) step(name string, effect func() error) error {
	s.mu.Lock()
	n := len(s.steps)
	s.steps = append(s.steps, name)
	dead := s.dead
	s.mu.Unlock()
	switch {
	case dead:
		return errDead
	case n != s.failing:
		return effect()
	case s.after:
		if err := effect(); err != nil && !errors.Is(err, errRefusal) {
			return fmt.Errorf("the effect that should be followed by a failure failed itself: %w", err)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fired = true
	if s.crash {
		s.dead = true
		s.kill()
	}
	return errOrdered
}

// errRefusal marks a store's own refusal, which is an effect like others.
var errRefusal = errors.New("the store refused")

// onWire makes the requests steps. One that fails without a crash is answered so
// that the client neither repeats it nor learns what became of it.
func (s *stage) onWire(name string, req *http.Request, send func() (*http.Response, error)) (*http.Response, error) {
	var resp *http.Response
	err := s.step(name, func() (err error) {
		resp, err = send()
		return err
	})
	if err == nil {
		return resp, nil
	}
	if resp != nil {
		resp.Body.Close()
	}
	if errors.Is(err, errOrdered) && !s.crash {
		return archivertest.Refuse(req), nil
	}
	return nil, err
}

// stagedLedger makes every change of the ledger a step.
type stagedLedger struct {
	*bolt.Ledger
	stage *stage
}

func (l stagedLedger) Claim(ctx context.Context, org, inbox string) (state.Claim, error) {
	c, err := l.Ledger.Claim(ctx, org, inbox)
	return stagedClaim{c, l.stage}, err
}

type stagedClaim struct {
	state.Claim
	stage *stage
}

func (c stagedClaim) Move(ctx context.Context, recording string, from, to state.State, edit func(*state.Entry)) (e state.Entry, err error) {
	err = c.stage.step(fmt.Sprintf("ledger %s→%s", from, to), func() (err error) {
		e, err = c.Claim.Move(ctx, recording, from, to, edit)
		return err
	})
	return e, err
}

func (c stagedClaim) List(ctx context.Context, recordings []string, f func(func(string) (state.Entry, bool)) []state.Change) error {
	return c.stage.step("ledger list", func() error { return c.Claim.List(ctx, recordings, f) })
}

func (c stagedClaim) EditInbox(ctx context.Context, edit func(*state.Inbox)) error {
	return c.stage.step("ledger inbox", func() error { return c.Claim.EditInbox(ctx, edit) })
}

func (c stagedClaim) AddPass(ctx context.Context, p state.Pass, edit func(*state.Inbox)) error {
	return c.stage.step("ledger pass", func() error { return c.Claim.AddPass(ctx, p, edit) })
}

func (c stagedClaim) AddUpload(ctx context.Context, u state.UploadRef) error {
	return c.stage.step("ledger add upload", func() error { return c.Claim.AddUpload(ctx, u) })
}

func (c stagedClaim) RemoveUpload(ctx context.Context, key, id string) error {
	return c.stage.step("ledger remove upload", func() error { return c.Claim.RemoveUpload(ctx, key, id) })
}

func (c stagedClaim) MoveJournal(ctx context.Context, from, to state.JournalHead, has []state.Event) error {
	return c.stage.step("ledger journal", func() error { return c.Claim.MoveJournal(ctx, from, to, has) })
}
