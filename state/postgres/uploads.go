package postgres

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/archiverd/archiverd/state"
	"github.com/archiverd/archiverd/state/codec"
)

const (
	addUpload = `insert into uploads (key, id, org, inbox, upload) values ($1, $2, $3, $4, $5)
		on conflict (key, id) do update set org = excluded.org, inbox = excluded.inbox, upload = excluded.upload`
	removeUpload = "delete from uploads where key = $1 and id = $2"
)

// AddUpload implements state.Uploads.
func (l *Ledger) AddUpload(ctx context.Context, u state.UploadRef) error {
	args, err := uploadArgs(u)
	if err == nil {
		err = l.exec(ctx, addUpload, args...)
	}
	if err != nil {
		return fmt.Errorf("add upload of %q: %w", u.Key, err)
	}
	return nil
}

func uploadArgs(u state.UploadRef) ([]any, error) {
	if u.Key == "" || u.ID == "" || len(u.Key)+len(u.ID) >= state.MaxID || strings.Contains(u.Key+u.ID, "\x00") {
		return nil, fmt.Errorf("an upload with key %q and id %q", u.Key, u.ID)
	}
	data, err := codec.Marshal(u)
	return []any{[]byte(u.Key), []byte(u.ID), u.Org, []byte(u.Inbox), data}, err
}

// exec runs one statement that may be repeated without harm.
func (l *Ledger) exec(ctx context.Context, sql string, args ...any) error {
	ctx, cancel := limited(ctx)
	defer cancel()
	_, err := l.pool.Exec(ctx, sql, args...)
	return Classify(err)
}

// RemoveUpload implements state.Uploads.
func (l *Ledger) RemoveUpload(ctx context.Context, key, id string) error {
	if err := l.exec(ctx, removeUpload, []byte(key), []byte(id)); err != nil {
		return fmt.Errorf("remove upload of %q: %w", key, err)
	}
	return nil
}

// Uploads implements state.Uploads.
func (l *Ledger) Uploads(ctx context.Context, org, inbox string) (all []state.UploadRef, err error) {
	where, args := "org = $1 and inbox = $2", []any{org, []byte(inbox)}
	if inbox == "" {
		where = "not exists (select from inboxes i where i.org = u.org and i.id = u.inbox and claimed_until > clock_timestamp() and holder <> $1)"
		args = []any{l.holder}
	}
	err = l.query(ctx, func(rows pgx.Rows) error {
		var key, id, data []byte
		_, err := pgx.ForEachRow(rows, []any{&key, &id, &data}, func() error {
			var u state.UploadRef
			if err := codec.Unmarshal(data, &u); err != nil {
				return damaged(fmt.Errorf("upload of %q: %w", key, err))
			}
			u.Key, u.ID = string(key), string(id)
			all = append(all, u)
			return nil
		})
		return err
	}, "select key, id, upload from uploads u where "+where+" order by key, id", args...)
	if err != nil {
		return nil, fmt.Errorf("read uploads: %w", err)
	}
	return all, nil
}
