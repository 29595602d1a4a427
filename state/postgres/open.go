package postgres

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/archiverd/archiverd/state"
	"github.com/archiverd/archiverd/state/codec"
)

// Open opens the ledger in the database at address, and makes one if the database has the
// tables and no ledger.
//
// With a new seal key, Open seals the present tokens and writes their table anew, so that its
// pages do not keep tokens in the clear. That takes the right to truncate the table. The
// database's log and its backups still have the tokens in the clear.
//
// Errors, all with the remedy: ErrNoSchema, ErrOlder, state.ErrNewer;
// *state.BindingError; state.ErrSealKey, for a missing or wrong seal key; state.ErrNoLedger,
// with ReadOnly; ErrFilling; ErrNotEmpty, with Filling; state.ErrUnavailable.
func Open(ctx context.Context, address string, o Options) (*Ledger, error) {
	config, err := parse(address, o)
	if err != nil {
		return nil, err
	}
	return openWith(ctx, config, o)
}

func openWith(ctx context.Context, config *pgxpool.Config, o Options) (*Ledger, error) {
	s, err := codec.NewSealer(o.SealKey)
	if err != nil {
		return nil, fmt.Errorf("open ledger: %w", err)
	}
	l := &Ledger{name: name(config), claim: o.Claim, gather: o.Gather, readOnly: o.ReadOnly, seal: s, now: o.Now, holder: holderName(rand.Text()), lines: make(map[place]*line)}
	if l.claim == 0 {
		l.claim = time.Minute
	}
	if l.now == nil {
		l.now = time.Now
	}
	if l.pool, err = pgxpool.NewWithConfig(context.WithoutCancel(ctx), config); err != nil {
		return nil, fmt.Errorf("open ledger in %s: %w", l.name, err)
	}
	var binding *state.BindingError
	switch err := l.open(ctx, o); {
	case errors.As(err, &binding):
		return nil, errors.Join(err, l.Close())
	case err != nil:
		return nil, errors.Join(fmt.Errorf("open ledger in %s: %w", l.name, Classify(err)), l.Close())
	}
	return l, nil
}

// connections is how many a process uses at most, unless the address says so with
// pool_max_conns. Calls for one inbox share one.
const connections = 10

// Connect makes the connections to a database, whatever its tables are.
func Connect(ctx context.Context, address string, o Options) (*pgxpool.Pool, error) {
	c, err := parse(address, o)
	if err != nil {
		return nil, err
	}
	pool, err := pgxpool.NewWithConfig(context.WithoutCancel(ctx), c)
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", name(c), err)
	}
	return pool, nil
}

// parse reads an address, which is a URL or a list of keywords as for psql.
func parse(address string, o Options) (*pgxpool.Config, error) {
	c, err := pgxpool.ParseConfig(address)
	if err != nil {
		return nil, fmt.Errorf("read state.url: %w", err) // whose text has no password
	}
	if c.ConnConfig.Password == "" {
		c.ConnConfig.Password = o.Password
	}
	if c.ConnConfig.ConnectTimeout == 0 {
		c.ConnConfig.ConnectTimeout = 10 * time.Second
	}
	c.ConnConfig.DialFunc = dialer().DialContext
	if !strings.Contains(address, "pool_max_conns") {
		c.MaxConns = connections
	}
	defaults := map[string]string{
		"application_name": "archiverd",
		// A process that stands still must not keep others from its inbox for longer
		// than its claim would.
		"idle_in_transaction_session_timeout": "30s",
		"lock_timeout":                        "45s",
	}
	for k, v := range defaults {
		if _, set := c.ConnConfig.RuntimeParams[k]; !set {
			c.ConnConfig.RuntimeParams[k] = v
		}
	}
	// The locks of this package rely on it, whatever the default of the database is.
	c.ConnConfig.RuntimeParams["default_transaction_isolation"] = "read committed"
	if o.ReadOnly {
		c.ConnConfig.RuntimeParams["default_transaction_read_only"] = "on"
	}
	return c, nil
}

// name names the database in messages.
func name(c *pgxpool.Config) string {
	cc := c.ConnConfig
	return fmt.Sprintf("database %s at %s", cc.Database, net.JoinHostPort(cc.Host, strconv.Itoa(int(cc.Port))))
}

// content is the row of the table ledger.
type content struct {
	id      string
	binding state.Binding
	seal    []byte
	filling string
}

func (l *Ledger) open(ctx context.Context, o Options) error {
	ctx, cancel := limited(ctx)
	defer cancel()
	if err := l.checkSchema(ctx); err != nil {
		return err
	}
	have, err := readContent(ctx, l.pool)
	switch {
	case errors.Is(err, pgx.ErrNoRows) && o.ReadOnly:
		return fmt.Errorf("%w: the first run makes it", state.ErrNoLedger)
	case errors.Is(err, pgx.ErrNoRows):
		have, err = l.create(ctx, o)
	case err == nil && o.Filling != "":
		err = ErrNotEmpty
	}
	if err != nil {
		return err
	}
	l.id = have.id
	if have.filling != o.Filling {
		return fmt.Errorf("%w: %s is filling it, or was interrupted. If it was interrupted, drop the database, make it again, run archiverd migrate, and begin anew", ErrFilling, have.filling)
	}
	both, diffs := have.binding.Join(o.Binding)
	if len(diffs) > 0 {
		return &state.BindingError{Path: "in " + l.name, Differences: diffs}
	}
	if have.seal != nil {
		if err := l.seal.Fits(have.seal, l.id); err != nil {
			return err
		}
	}
	if o.ReadOnly {
		if have.seal == nil {
			l.seal = nil // the next writer will seal the tokens
		}
		return nil
	}
	if !maps.Equal(have.binding.Organizations, both.Organizations) {
		if err := l.bind(ctx, o.Binding); err != nil {
			return err
		}
	}
	if have.seal == nil && l.seal != nil {
		return l.sealTokens(ctx)
	}
	return nil
}

// querier is a pool, a connection or a transaction.
type querier interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

func readContent(ctx context.Context, q querier) (c content, err error) {
	var binding []byte
	err = q.QueryRow(ctx, "select id, binding, seal, coalesce(filling, '') from ledger").Scan(&c.id, &binding, &c.seal, &c.filling)
	if err != nil {
		return c, err
	}
	if err := codec.Unmarshal(binding, &c.binding); err != nil {
		return c, damaged(fmt.Errorf("its binding: %w", err))
	}
	return c, nil
}

// create makes the ledger, unless another process does at the same time.
func (l *Ledger) create(ctx context.Context, o Options) (content, error) {
	id := o.ID
	if id == "" {
		id = rand.Text()
	}
	binding, err := codec.Marshal(o.Binding)
	if err != nil {
		return content{}, err
	}
	var mark []byte
	if l.seal != nil {
		mark = l.seal.Mark(id)
	}
	made, err := l.pool.Exec(ctx, "insert into ledger (id, binding, seal, filling) values ($1, $2, $3, nullif($4, '')) on conflict do nothing", id, binding, mark, o.Filling)
	if err == nil && made.RowsAffected() == 0 && o.Filling != "" {
		err = ErrNotEmpty
	}
	if err != nil {
		return content{}, err
	}
	return readContent(ctx, l.pool)
}

// bind adds new organizations to the ledger's binding.
func (l *Ledger) bind(ctx context.Context, config state.Binding) error {
	return pgx.BeginFunc(ctx, l.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "select from ledger for update"); err != nil {
			return err
		}
		have, err := readContent(ctx, tx)
		if err != nil {
			return err
		}
		both, diffs := have.binding.Join(config)
		if len(diffs) > 0 {
			return &state.BindingError{Path: "in " + l.name, Differences: diffs}
		}
		data, err := codec.Marshal(both)
		if err != nil {
			return err
		}
		_, err = tx.Exec(ctx, "update ledger set binding = $1", data)
		return err
	})
}

// sealTokens seals all tokens.
func (l *Ledger) sealTokens(ctx context.Context) error {
	return pgx.BeginFunc(ctx, l.pool, func(tx pgx.Tx) error {
		// Whoever changes a token reads this row: see page.sealing.
		if _, err := tx.Exec(ctx, "select from ledger for update"); err != nil {
			return err
		}
		have, err := readContent(ctx, tx)
		if err != nil || have.seal != nil {
			return err
		}
		return l.sealAll(ctx, tx)
	})
}

// sealAll replaces the file of the table, which keeps the tokens in the clear also where rows
// of it were changed or deleted.
func (l *Ledger) sealAll(ctx context.Context, tx pgx.Tx) error {
	rows, err := tx.Query(ctx, "select t.inbox, i.org, i.id, t.token from tokens t join inboxes i using (inbox)")
	if err != nil {
		return err
	}
	var inbox int64
	var org string
	var id, data []byte
	var clear *codec.Sealer
	sealed := map[int64][]byte{}
	_, err = pgx.ForEachRow(rows, []any{&inbox, &org, &id, &data}, func() error {
		t, err := clear.DecodeToken(org, string(id), data)
		if err != nil {
			return damaged(fmt.Errorf("token of %s/%s: %w", org, id, err))
		}
		sealed[inbox], err = l.seal.EncodeToken(org, string(id), t)
		return err
	})
	if err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, "truncate tokens"); err != nil {
		return fmt.Errorf("seal the tokens: their table is written anew, and the database's user needs the right to truncate it: %w", err)
	}
	for inbox, data := range sealed {
		if _, err := tx.Exec(ctx, "insert into tokens (inbox, token) values ($1, $2)", inbox, data); err != nil {
			return err
		}
	}
	_, err = tx.Exec(ctx, "update ledger set seal = $1", l.seal.Mark(l.id))
	return err
}

// Filled lets others open a ledger that was opened with Filling.
func (l *Ledger) Filled(ctx context.Context) error {
	ctx, cancel := limited(ctx)
	defer cancel()
	if _, err := l.pool.Exec(ctx, "update ledger set filling = null"); err != nil {
		return fmt.Errorf("finish the ledger in %s: %w", l.name, Classify(err))
	}
	return nil
}
