package postgres

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/archiverd/archiverd/state"
)

const readToken = "select token from tokens where inbox = " + thisInbox

// Token implements state.Inboxes.
func (l *Ledger) Token(ctx context.Context, org, inbox string) (state.Token, error) {
	ctx, cancel := limited(ctx)
	defer cancel()
	t, err := l.token(ctx, l.pool, place{org, inbox})
	if err != nil {
		return state.Token{}, fmt.Errorf("read token of %s/%s: %w", org, inbox, Classify(err))
	}
	return t, nil
}

// token reads an inbox's token; the zero Token if there is none.
func (l *Ledger) token(ctx context.Context, q querier, at place) (state.Token, error) {
	var data []byte
	err := q.QueryRow(ctx, readToken, at.org, []byte(at.inbox)).Scan(&data)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return state.Token{}, nil
	case err != nil:
		return state.Token{}, err
	}
	t, err := l.seal.DecodeToken(at.org, at.inbox, data)
	if err != nil && !errors.Is(err, state.ErrSealKey) {
		err = damaged(err)
	}
	return t, err
}

// SaveToken implements state.Inboxes.
func (l *Ledger) SaveToken(ctx context.Context, org, inbox string, from, to state.Token) error {
	return l.saveToken(ctx, nil, place{org, inbox}, from, to)
}

func (l *Ledger) saveToken(ctx context.Context, under *claim, at place, from, to state.Token) error {
	err := l.change(ctx, change{place: at, claim: under, f: func(p *page) error {
		have, err := p.token()
		if err == nil {
			err = p.inbox.MayRenew(have, from)
		}
		if err != nil {
			return err
		}
		return p.putToken(to)
	}})
	if err != nil {
		return fmt.Errorf("save token of %s/%s: %w", at.org, at.inbox, err)
	}
	return nil
}

// Login implements state.Inboxes.
func (l *Ledger) Login(ctx context.Context, org, inbox string, t state.Token, edit func(*state.Inbox)) error {
	err := l.change(ctx, change{place: place{org, inbox}, f: func(p *page) error {
		p.inbox.Edit(state.LoggedIn(edit))
		return p.putToken(t)
	}})
	if err != nil {
		return fmt.Errorf("log in %s/%s: %w", org, inbox, err)
	}
	return nil
}

// Logout implements state.Inboxes.
func (l *Ledger) Logout(ctx context.Context, org, inbox string) error {
	err := l.change(ctx, change{place: place{org, inbox}, f: func(p *page) error {
		p.inbox.Edit(func(i *state.Inbox) { i.LoggedOut = true })
		return p.putToken(state.Token{})
	}})
	if err != nil {
		return fmt.Errorf("log out %s/%s: %w", org, inbox, err)
	}
	return nil
}

// token returns the token as the calls before left it.
func (p *page) token() (state.Token, error) {
	if p.saved != nil {
		return *p.saved, nil
	}
	t, err := p.l.token(p.ctx, p.conn, place{p.org, p.inboxID})
	if err != nil && !errors.Is(err, state.ErrSealKey) && !errors.Is(err, state.ErrDamaged) {
		p.broken = err
	}
	return t, err
}

func (p *page) putToken(t state.Token) error {
	if err := p.sealing(); err != nil {
		return err
	}
	p.saved = &t
	if t == (state.Token{}) {
		p.add("delete from tokens where inbox = $1", p.row)
		return nil
	}
	data, err := p.l.seal.EncodeToken(p.org, p.inboxID, t)
	if err != nil {
		return err
	}
	p.add("insert into tokens (inbox, token) values ($1, $2) on conflict (inbox) do update set token = excluded.token", p.row, data)
	return nil
}

// sealing refuses to store a token in the clear once another process, whose configuration
// has a key, has sealed the tokens.
func (p *page) sealing() error {
	var sealed bool
	err := p.conn.QueryRow(p.ctx, "select seal is not null from ledger for share").Scan(&sealed)
	switch {
	case err != nil:
		p.broken = err
	case sealed != (p.l.seal != nil):
		err = fmt.Errorf("%w: another process has sealed them since this one started: start this one again, with the same state.key_file", state.ErrSealKey)
	}
	return err
}
