package bolt

import (
	"go/parser"
	"go/token"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/archiverd/archiverd/state"
	"github.com/archiverd/archiverd/state/statetest"
	"go.etcd.io/bbolt"
)

// drawn returns the tree in the package comment, each line as a path.
func drawn(t *testing.T) []string {
	f, err := parser.ParseFile(token.NewFileSet(), "ledger.go", nil, parser.ParseComments)
	statetest.Must(t, err)
	var out, path []string
	for line := range strings.Lines(f.Doc.Text()) {
		rest, ok := strings.CutPrefix(line, "\t")
		if !ok {
			continue
		}
		name := strings.TrimLeft(rest, " ")
		depth := (len(rest) - len(name)) / 4
		name, _, _ = strings.Cut(strings.TrimSpace(name), "  ")
		if strings.HasPrefix(name, "{") {
			name = name[:strings.Index(name, "}")+1]
		}
		path = append(path[:depth:depth], name)
		out = append(out, strings.Join(path, " > "))
	}
	return out
}

// walk returns the paths of a real file; names maps keys made of data to their names in the tree.
func walk(b *bbolt.Bucket, path string, names map[string]string, out *[]string) error {
	return b.ForEach(func(k, v []byte) error {
		name := string(k)
		if n, ok := names[name]; ok {
			name = n
		}
		*out = append(*out, path+name)
		if v != nil {
			return nil
		}
		return walk(b.Bucket(k), path+name+" > ", names, out)
	})
}

func TestSchemaIsAsDrawn(t *testing.T) {
	path := newPath(t)
	l := open(t, path, Options{SealKey: sealKey(1)})
	statetest.Bring(t, l, state.Key{Org: "acme", Inbox: "u1", Recording: "r1"}, state.StateListed)
	statetest.Bring(t, l, state.Key{Org: "acme", Inbox: "u1", Recording: "r2"}, state.StateGone)
	statetest.Must(t, l.Login(t.Context(), "acme", "u1", testToken, nil))
	statetest.Must(t, l.AddPass(t.Context(), "acme", "u1", state.Pass{Start: testTime}, noEdit))
	statetest.Must(t, l.AddRun(t.Context(), state.Run{ID: "run", Start: testTime}))
	statetest.Must(t, l.AddUpload(t.Context(), state.UploadRef{Key: "k", ID: "i"}))
	names := map[string]string{
		string(eventKey(1)): "{number}", string(eventKey(2)): "{number}",
		"acme/u1": "{org/inbox}", "r1": "{recording}", "r2": "{recording}",
		string(rowKey(time.Time{}.UnixMilli(), "r1")): "{date, recording}", string(rowKey(time.Time{}.UnixMilli(), "r2")): "{date, recording}",
		testTime.Format(startTime): "{start}", startKey(testTime, "run"): "{start id}", "k\x00i": "{key NUL id}",
	}
	var have []string
	statetest.Must(t, l.db.View(func(tx *bbolt.Tx) error {
		return tx.ForEach(func(name []byte, b *bbolt.Bucket) error {
			have = append(have, string(name))
			return walk(b, string(name)+" > ", names, &have)
		})
	}))
	want := drawn(t)
	slices.Sort(want)
	slices.Sort(have)
	if len(want) < 20 {
		t.Errorf("read only %d lines of the drawing", len(want))
	}
	statetest.Same(t, slices.Compact(have), want)
}
