package bolt

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/archiverd/archiverd/durable"
	"github.com/archiverd/archiverd/state"
	"github.com/archiverd/archiverd/state/codec"
	"go.etcd.io/bbolt"
)

// schema is the version of the drawing in the package comment.
const schema = 3

// Options say how to open a ledger.
type Options struct {
	Binding  state.Binding    // compared with the ledger's; a new ledger gets it
	ID       string           // of a new ledger that replaces a lost one; empty: a random id
	SealKey  []byte           // 32 bytes; nil: tokens are kept in the clear
	ReadOnly bool             // changes nothing; several processes may read at once, but not beside a writer
	Timeout  time.Duration    // how long to wait for another process to release the ledger; 0: 1 s
	Now      func() time.Time // nil: time.Now
}

// seal is kept in a ledger whose tokens are sealed.
type seal struct {
	Check []byte `json:"check"` // the ledger's id, sealed: it shows a wrong key at once
	// Copied: the file was rewritten after its tokens were sealed. Until then, free
	// pages may still hold the tokens in the clear.
	Copied bool `json:"copied"`
}

// errAgain: the file was replaced and must be opened again.
var errAgain = errors.New("open again")

// Open opens the ledger at path, and creates it if there is none, with its directory
// but not that directory's parents. The file gets mode 0600.
//
// With a new seal key, Open seals the present tokens in one transaction. Then it copies
// the file, so that its free pages don't keep the tokens in the clear.
//
// Errors, all naming the path and the remedy: ErrHeld; ErrNotLedger, for any other file;
// state.ErrDamaged; state.ErrNewer; *BindingError; state.ErrSealKey, for a missing or wrong seal key;
// state.ErrNoLedger, with ReadOnly. The file is not changed when one of them is returned.
func Open(path string, o Options) (*Ledger, error) {
	if o.Timeout == 0 {
		o.Timeout = time.Second
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	s, err := codec.NewSealer(o.SealKey)
	if err != nil {
		return nil, fmt.Errorf("open ledger %s: %w", path, err)
	}
	l := &Ledger{readOnly: o.ReadOnly, seal: s, now: o.Now}
	for err = errAgain; errors.Is(err, errAgain); {
		err = l.open(path, o)
	}
	if _, ok := errors.AsType[*state.BindingError](err); ok { // it names the path itself
		return nil, err
	}
	if err != nil {
		return nil, fmt.Errorf("open ledger %s: %w", path, remedy(err))
	}
	return l, nil
}

// remedy adds to an error of the file system what an operator should do.
func remedy(err error) error {
	switch {
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%w: let the user that archiverd runs as read and write the file and its directory, or set another state.path", err)
	case errors.Is(err, syscall.EROFS):
		return fmt.Errorf("%w: set state.path to a place that can be written", err)
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%w: make the directory, or set another state.path", err)
	}
	return err
}

// open does the work of Open. It writes nothing to a ledger before it has checked
// everything:
//
//  1. lock the file, creating it empty if it is missing;
//  2. if it is empty, build a ledger beside it and replace the file by it. A crash leaves
//     an empty file or a ledger, and a "….new" that the next Open removes;
//  3. otherwise, read its header, schema, binding and seal;
//  4. migrate an older schema, after a copy;
//  5. write what the options add: new organizations, and a seal.
func (l *Ledger) open(path string, o Options) (err error) {
	f, path, err := lockFile(path, o)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			// Closing isn't enough after a panic: bbolt's memory map keeps the lock.
			// If bbolt has closed the file already, both calls fail harmlessly.
			syscall.Flock(int(f.Fd()), syscall.LOCK_UN)
			f.Close()
		}
	}()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if info.Size() == 0 && o.ReadOnly {
		return fmt.Errorf("%w: the first run makes it", state.ErrNoLedger)
	}
	if info.Size() == 0 {
		return replace(path, func(db *bbolt.DB) error { return l.create(db, o) })
	}
	if err := checkHeader(f, info.Size()); err != nil {
		return err
	}
	l.file = f
	return l.guard(func() error { // guards also bbolt's own reads when it opens the file
		if err := l.load(f, path, o); err != nil || o.ReadOnly {
			return err
		}
		err := l.migrate(path)
		if err == nil {
			err = l.adopt(f, path, o)
		}
		if err != nil {
			l.Close()
		}
		return err
	})
}

// load opens the file in bbolt and checks that it is the configured ledger.
func (l *Ledger) load(f *os.File, path string, o Options) (err error) {
	l.db, err = openBolt(path, o.ReadOnly, func(string, int, os.FileMode) (*os.File, error) { return f, nil })
	if err != nil {
		return err
	}
	if err := l.read(func(tx *bbolt.Tx) error { return l.examine(tx, path, o) }); err != nil {
		l.Close()
		return err
	}
	l.db.NoFreelistSync = false
	return nil
}

func openBolt(path string, readOnly bool, open func(string, int, os.FileMode) (*os.File, error)) (*bbolt.DB, error) {
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{
		ReadOnly: readOnly,
		OpenFile: open,
		// bbolt reads the list of free pages from the file, because finding free
		// pages by a walk over all pages takes seconds with a million entries. So
		// every transaction writes the list (the caller sets NoFreelistSync to
		// false). Opening must not write it: the file may not be ours, and bbolt
		// would add a list to a file that has none. The list is kept as a map,
		// which finds room for large entries fast.
		NoFreelistSync: true,
		FreelistType:   bbolt.FreelistMapType,
		NoStatistics:   true,
	})
	if err != nil {
		return nil, err
	}
	// Long enough for concurrent transfers to share a transaction, and short against an fsync.
	db.MaxBatchDelay = 2 * time.Millisecond
	return db, nil
}

// examine reads meta, and refuses a file that is not the configured ledger.
func (l *Ledger) examine(tx *bbolt.Tx, path string, o Options) error {
	const foreign = "a bbolt file of another program: set another state.path, or move the file away"
	meta := tx.Bucket([]byte("meta"))
	if meta == nil || meta.Get([]byte("ledger")) == nil {
		return fmt.Errorf("%w: %s", ErrNotLedger, foreign)
	}
	version, err := strconv.Atoi(string(meta.Get([]byte("schema"))))
	switch {
	case err != nil || version < 1:
		return fmt.Errorf("%w: %s", ErrNotLedger, foreign)
	case version > schema:
		return fmt.Errorf("%w: it has schema %d and this one knows %d: run the newer archiverd", state.ErrNewer, version, schema)
	}
	for _, name := range buckets {
		if tx.Bucket([]byte(name)) == nil && (name != "search" || version >= schemaIndexed) {
			return damaged(fmt.Errorf("bucket %s is missing", name))
		}
	}
	l.id = string(meta.Get([]byte("ledger")))
	b, err := readBinding(tx)
	if err != nil {
		return err
	}
	if _, diffs := b.Join(o.Binding); len(diffs) > 0 {
		return &state.BindingError{Path: path, Differences: diffs}
	}
	return l.checkSeal(tx)
}

// checkSeal compares the key with the one that the tokens are sealed with.
func (l *Ledger) checkSeal(tx *bbolt.Tx) error {
	s, err := readSeal(tx)
	switch {
	case err != nil:
		return err
	case s == nil:
		if l.readOnly {
			l.seal = nil // the next writer will seal the tokens
		}
		return nil
	}
	return l.seal.Fits(s.Check, l.id)
}

// adopt writes what the options add to a ledger that passed all checks.
func (l *Ledger) adopt(f *os.File, path string, o Options) error {
	if err := f.Chmod(0o600); err != nil {
		return err
	}
	sealed := false
	err := l.read(func(tx *bbolt.Tx) error {
		s, err := readSeal(tx)
		sealed = s != nil && s.Copied
		return err
	})
	if err != nil {
		return err
	}
	if err := l.updateBinding(o.Binding); err != nil {
		return err
	}
	if l.seal == nil || sealed {
		return nil
	}
	if err := l.write(l.sealTokens); err != nil {
		return err
	}
	err = replace(path, func(db *bbolt.DB) error {
		if err := bbolt.Compact(db, l.db, 1<<20); err != nil {
			return err
		}
		return db.Update(func(tx *bbolt.Tx) error { return l.writeSeal(tx, true) })
	})
	return err
}

// updateBinding adds new organizations to the ledger's binding.
func (l *Ledger) updateBinding(config state.Binding) error {
	var have, both state.Binding
	err := l.read(func(tx *bbolt.Tx) (err error) {
		have, err = readBinding(tx)
		both, _ = have.Join(config)
		return err
	})
	if err != nil || maps.Equal(have.Organizations, both.Organizations) {
		return err
	}
	return l.write(func(tx *bbolt.Tx) error {
		return putJSON(tx.Bucket([]byte("meta")), "binding", both)
	})
}

// sealTokens seals all tokens. If they are sealed already and only the copy is missing,
// it does nothing.
func (l *Ledger) sealTokens(tx *bbolt.Tx) error {
	if s, err := readSeal(tx); s != nil || err != nil {
		return err
	}
	b := tx.Bucket([]byte("tokens"))
	sealed := make(map[string][]byte)
	err := b.ForEach(func(k, v []byte) error {
		org, inbox := splitKey(k)
		var clear *codec.Sealer
		t, err := clear.DecodeToken(org, inbox, v)
		if err == nil {
			sealed[string(k)], err = l.seal.EncodeToken(org, inbox, t)
		}
		return err
	})
	if err != nil {
		return err
	}
	for k, v := range sealed {
		if err := b.Put([]byte(k), v); err != nil {
			return err
		}
	}
	return l.writeSeal(tx, false)
}

func (l *Ledger) writeSeal(tx *bbolt.Tx, copied bool) error {
	return putJSON(tx.Bucket([]byte("meta")), "seal", seal{l.seal.Mark(l.id), copied})
}

// create fills a new file.
func (l *Ledger) create(db *bbolt.DB, o Options) error {
	return db.Update(func(tx *bbolt.Tx) error {
		for _, name := range buckets {
			if _, err := tx.CreateBucket([]byte(name)); err != nil {
				return err
			}
		}
		if l.id = o.ID; l.id == "" {
			l.id = rand.Text()
		}
		meta := tx.Bucket([]byte("meta"))
		for k, v := range map[string]string{
			"schema":  strconv.Itoa(schema),
			"ledger":  l.id,
			"created": o.Now().UTC().Format(time.RFC3339),
		} {
			if err := meta.Put([]byte(k), []byte(v)); err != nil {
				return err
			}
		}
		if err := putJSON(meta, "binding", o.Binding); err != nil {
			return err
		}
		if l.seal == nil {
			return nil
		}
		return l.writeSeal(tx, true)
	})
}

// replace builds a file beside path and replaces the file at path by it, durably. The
// caller holds the lock on path. On success replace returns errAgain, because the file
// at path is now another one.
func replace(path string, build func(*bbolt.DB) error) error {
	beside := path + ".new"
	if err := os.Remove(beside); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	db, err := openBolt(beside, false, nil)
	if err != nil {
		return err
	}
	db.NoFreelistSync = false
	if err := errors.Join(build(db), db.Close(), giveAway(beside)); err != nil {
		return errors.Join(err, os.Remove(beside))
	}
	if err := durable.Replace(beside, path); err != nil {
		return err
	}
	return errAgain
}

// giveAway gives a file that root made to the owner of its directory: a command run as
// root must not lock the service out of its ledger.
func giveAway(file string) error {
	if os.Geteuid() != 0 {
		return nil
	}
	info, err := os.Stat(filepath.Dir(file))
	if err != nil {
		return err
	}
	owner := info.Sys().(*syscall.Stat_t)
	return os.Chown(file, int(owner.Uid), int(owner.Gid))
}

func readBinding(tx *bbolt.Tx) (b state.Binding, err error) {
	if err := codec.Unmarshal(tx.Bucket([]byte("meta")).Get([]byte("binding")), &b); err != nil {
		return b, damaged(fmt.Errorf("its binding: %w", err))
	}
	return b, nil
}

func readSeal(tx *bbolt.Tx) (*seal, error) {
	data := tx.Bucket([]byte("meta")).Get([]byte("seal"))
	if data == nil {
		return nil, nil
	}
	var s seal
	if err := codec.Unmarshal(data, &s); err != nil {
		return nil, damaged(fmt.Errorf("its seal: %w", err))
	}
	return &s, nil
}
