package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"syscall"

	"github.com/archiverd/archiverd/integration_test/faults"
	"github.com/archiverd/archiverd/state"
	"github.com/archiverd/archiverd/state/bolt"
)

// ledgerFault injects a fault into a method of the ledger, or into moves into a state.
type ledgerFault struct {
	op   string
	as   faults.Commit
	mu   sync.Mutex
	left int // so many more; negative: all
	met  bool
}

// failingLedger fails as a full or broken disk makes it. In a process a ledger that could
// not write down something stays what it was, and so is read.
type failingLedger struct {
	*bolt.Ledger
	*ledgerFault
}

// commit runs a change of the ledger under the fault.
func (f *ledgerFault) commit(op string, change func() error) error {
	f.mu.Lock()
	hit := op == f.op && f.left != 0
	if hit {
		f.left--
		f.met = true
	}
	f.mu.Unlock()
	switch {
	case !hit:
		return change()
	case f.as == faults.DiskFull:
		return fmt.Errorf("write the ledger: %w", syscall.ENOSPC)
	}
	return errors.Join(change(), fmt.Errorf("sync the ledger: %w", syscall.EIO))
}

// Claim returns a claim whose changes fail: a pass changes the ledger only through it.
func (l failingLedger) Claim(ctx context.Context, org, inbox string) (state.Claim, error) {
	c, err := l.Ledger.Claim(ctx, org, inbox)
	return failingClaim{c, l.ledgerFault}, err
}

type failingClaim struct {
	state.Claim
	*ledgerFault
}

func (c failingClaim) Move(ctx context.Context, recording string, from, to state.State, edit func(*state.Entry)) (e state.Entry, err error) {
	op := string(to)
	if from == to {
		op = "edit"
	}
	err = c.commit(op, func() (err error) {
		e, err = c.Claim.Move(ctx, recording, from, to, edit)
		return err
	})
	return e, err
}

func (c failingClaim) List(ctx context.Context, recordings []string, f func(func(string) (state.Entry, bool)) []state.Change) error {
	return c.commit("List", func() error { return c.Claim.List(ctx, recordings, f) })
}

func (c failingClaim) EditInbox(ctx context.Context, edit func(*state.Inbox)) error {
	return c.commit("EditInbox", func() error { return c.Claim.EditInbox(ctx, edit) })
}

func (c failingClaim) AddPass(ctx context.Context, p state.Pass, edit func(*state.Inbox)) error {
	return c.commit("AddPass", func() error { return c.Claim.AddPass(ctx, p, edit) })
}

func (c failingClaim) AddUpload(ctx context.Context, u state.UploadRef) error {
	return c.commit("AddUpload", func() error { return c.Claim.AddUpload(ctx, u) })
}

func (c failingClaim) RemoveUpload(ctx context.Context, key, id string) error {
	return c.commit("RemoveUpload", func() error { return c.Claim.RemoveUpload(ctx, key, id) })
}
