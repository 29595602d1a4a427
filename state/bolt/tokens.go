package bolt

import (
	"context"
	"errors"
	"fmt"

	"github.com/archiverd/archiverd/state"
	"go.etcd.io/bbolt"
)

// Token implements state.Inboxes.
func (l *Ledger) Token(ctx context.Context, org, inbox string) (state.Token, error) {
	key, err := inboxKey(org, inbox)
	if err != nil {
		return state.Token{}, fmt.Errorf("read token: %w", err)
	}
	var t state.Token
	err = l.view(ctx, func(tx *bbolt.Tx) (err error) {
		t, err = (&page{tx: tx, l: l, key: key}).token()
		return err
	})
	if err != nil {
		return state.Token{}, fmt.Errorf("read token of %s: %w", key, err)
	}
	return t, nil
}

// SaveToken implements state.Inboxes.
func (l *Ledger) SaveToken(ctx context.Context, org, inbox string, from, to state.Token) error {
	err := l.changeInbox(ctx, l.update, org, inbox, func(p *page) error {
		have, err := p.token()
		if err == nil {
			err = p.inbox.MayRenew(have, from)
		}
		if err != nil {
			return err
		}
		return p.putToken(to)
	})
	if err != nil {
		return fmt.Errorf("save token of %s/%s: %w", org, inbox, err)
	}
	return nil
}

// Login implements state.Inboxes.
func (l *Ledger) Login(ctx context.Context, org, inbox string, t state.Token, edit func(*state.Inbox)) error {
	err := l.changeInbox(ctx, l.update, org, inbox, func(p *page) error {
		return errors.Join(p.edit(state.LoggedIn(edit)), p.putToken(t))
	})
	if err != nil {
		return fmt.Errorf("log in %s/%s: %w", org, inbox, err)
	}
	return nil
}

// Logout implements state.Inboxes.
func (l *Ledger) Logout(ctx context.Context, org, inbox string) error {
	err := l.changeInbox(ctx, l.update, org, inbox, func(p *page) error {
		err := p.edit(func(i *state.Inbox) { i.LoggedOut = true })
		return errors.Join(err, p.putToken(state.Token{}))
	})
	if err != nil {
		return fmt.Errorf("log out %s/%s: %w", org, inbox, err)
	}
	return nil
}

// token decodes the token of an inbox.
func (l *Ledger) token(key string, data []byte) (state.Token, error) {
	org, inbox := splitKey([]byte(key))
	t, err := l.seal.DecodeToken(org, inbox, data)
	if err != nil && !errors.Is(err, state.ErrSealKey) {
		err = damaged(err)
	}
	return t, err
}

// token reads the inbox's token; the zero Token if there is none.
func (p *page) token() (state.Token, error) {
	data := p.tx.Bucket([]byte("tokens")).Get([]byte(p.key))
	if data == nil {
		return state.Token{}, nil
	}
	return p.l.token(p.key, data)
}

func (p *page) putToken(t state.Token) error {
	b := p.tx.Bucket([]byte("tokens"))
	if t == (state.Token{}) {
		return b.Delete([]byte(p.key))
	}
	org, inbox := splitKey([]byte(p.key))
	data, err := p.l.seal.EncodeToken(org, inbox, t)
	if err != nil {
		return err
	}
	return b.Put([]byte(p.key), data)
}
