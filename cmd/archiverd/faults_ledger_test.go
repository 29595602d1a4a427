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

func (l failingLedger) Move(ctx context.Context, k state.Key, from, to state.State, edit func(*state.Entry)) (e state.Entry, err error) {
	op := string(to)
	if from == to {
		op = "edit"
	}
	err = l.commit(op, func() (err error) {
		e, err = l.Ledger.Move(ctx, k, from, to, edit)
		return err
	})
	return e, err
}

func (l failingLedger) List(ctx context.Context, org, inbox string, f func(func(string) (state.Entry, bool)) []state.Change) error {
	return l.commit("List", func() error { return l.Ledger.List(ctx, org, inbox, f) })
}

func (l failingLedger) EditInbox(ctx context.Context, org, id string, edit func(*state.Inbox)) error {
	return l.commit("EditInbox", func() error { return l.Ledger.EditInbox(ctx, org, id, edit) })
}

func (l failingLedger) AddPass(ctx context.Context, org, inbox string, p state.Pass, edit func(*state.Inbox)) error {
	return l.commit("AddPass", func() error { return l.Ledger.AddPass(ctx, org, inbox, p, edit) })
}

func (l failingLedger) AddUpload(ctx context.Context, u state.UploadRef) error {
	return l.commit("AddUpload", func() error { return l.Ledger.AddUpload(ctx, u) })
}

func (l failingLedger) RemoveUpload(ctx context.Context, key, id string) error {
	return l.commit("RemoveUpload", func() error { return l.Ledger.RemoveUpload(ctx, key, id) })
}
