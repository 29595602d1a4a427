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

func (l stagedLedger) Move(ctx context.Context, k state.Key, from, to state.State, edit func(*state.Entry)) (e state.Entry, err error) {
	err = l.stage.step(fmt.Sprintf("ledger %s→%s", from, to), func() (err error) {
		e, err = l.Ledger.Move(ctx, k, from, to, edit)
		return err
	})
	return e, err
}

func (l stagedLedger) List(ctx context.Context, org, inbox string, f func(func(string) (state.Entry, bool)) []state.Change) error {
	return l.stage.step("ledger list", func() error { return l.Ledger.List(ctx, org, inbox, f) })
}

func (l stagedLedger) EditInbox(ctx context.Context, org, id string, edit func(*state.Inbox)) error {
	return l.stage.step("ledger inbox", func() error { return l.Ledger.EditInbox(ctx, org, id, edit) })
}

func (l stagedLedger) AddPass(ctx context.Context, org, inbox string, p state.Pass, edit func(*state.Inbox)) error {
	return l.stage.step("ledger pass", func() error { return l.Ledger.AddPass(ctx, org, inbox, p, edit) })
}

func (l stagedLedger) AddUpload(ctx context.Context, u state.UploadRef) error {
	return l.stage.step("ledger add upload", func() error { return l.Ledger.AddUpload(ctx, u) })
}

func (l stagedLedger) RemoveUpload(ctx context.Context, key, id string) error {
	return l.stage.step("ledger remove upload", func() error { return l.Ledger.RemoveUpload(ctx, key, id) })
}

func (l stagedLedger) MoveJournal(ctx context.Context, org, inbox string, from, to state.JournalHead, has []state.Event) error {
	return l.stage.step("ledger journal", func() error { return l.Ledger.MoveJournal(ctx, org, inbox, from, to, has) })
}
