package bolt

import (
	"errors"
	"fmt"
	"os"
	"strconv"

	"github.com/archiverd/archiverd/durable"
	"github.com/archiverd/archiverd/state"
	"go.etcd.io/bbolt"
)

// schemaIndexed is the first schema with the bucket search.
const schemaIndexed = 3

// migrate copies a file of an older schema beside it, makes the index that it lacks, and
// then brings it to the present schema in one transaction. A file opened with ReadOnly is
// not changed: fields that its schema lacks read as zero, and Search reads every entry.
//
// Schema 2 added Fingerprint and Whole of versions, which an archiverd of schema 1 takes
// for damage, and the counters Suspect and Unproved. Schema 3 added acts, what Search looks
// for, and its index.
func (l *Ledger) migrate(path string) error {
	was, err := l.schema()
	if err != nil || was == schema {
		return err
	}
	if err := l.copyBeside(fmt.Sprintf("%s.schema%d", path, was)); err != nil {
		return fmt.Errorf("copy the ledger before its schema changes: %w", err)
	}
	if err := l.reindex(); err != nil {
		return fmt.Errorf("index the ledger: %w", err)
	}
	return l.write(func(tx *bbolt.Tx) error {
		if err := l.recountDoubt(tx); err != nil {
			return err
		}
		return tx.Bucket([]byte("meta")).Put([]byte("schema"), []byte(strconv.Itoa(schema)))
	})
}

// copyBeside makes a durable copy of the file. The copy appears whole or not at all.
func (l *Ledger) copyBeside(name string) error {
	f, err := os.OpenFile(name+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	if err := errors.Join(l.Copy(f), f.Close(), giveAway(f.Name())); err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return durable.Replace(f.Name(), name)
}

func (l *Ledger) schema() (version int, err error) {
	err = l.read(func(tx *bbolt.Tx) error {
		version, err = schemaOf(tx)
		return err
	})
	return version, err
}

func schemaOf(tx *bbolt.Tx) (int, error) {
	return strconv.Atoi(string(tx.Bucket([]byte("meta")).Get([]byte("schema"))))
}

// recountDoubt counts the suspect and the unproved recordings of every inbox.
func (l *Ledger) recountDoubt(tx *bbolt.Tx) error {
	counts := map[string]*state.Inbox{}
	for _, top := range []string{"live", "past"} {
		err := tx.Bucket([]byte(top)).ForEachBucket(func(key []byte) error {
			in := counts[string(key)]
			if in == nil {
				in = &state.Inbox{}
				counts[string(key)] = in
			}
			return tx.Bucket([]byte(top)).Bucket(key).ForEach(func(_, data []byte) error {
				e, err := l.entries.Decode(data)
				if err == nil {
					in.Account(nil, e)
				}
				return err
			})
		})
		if err != nil {
			return err
		}
	}
	for key, count := range counts {
		if count.Suspect == 0 && count.Unproved == 0 {
			continue
		}
		in, err := getInbox(tx, key)
		if err != nil || in == nil {
			return fmt.Errorf("inbox %q of entries can't be read: %w", key, err)
		}
		in.Suspect, in.Unproved = count.Suspect, count.Unproved
		if err := putInbox(tx, key, in); err != nil {
			return err
		}
	}
	return nil
}
