package integration_test

import (
	"encoding/json"
	"strings"

	"github.com/google/go-cmp/cmp"
)

// reconciled is what reconcile --json prints.
type reconciled struct {
	recordings map[string]string // class by recording
	details    map[string]string
	objects    map[string]string // kind by key
	inboxes    map[string]inboxTotals
	code       int
}

type inboxTotals struct {
	Inbox   string
	Owner   string
	Genesys struct {
		NotAsked        string `json:"not_asked"`
		Complete        bool
		Summary, Listed int
	}
	Journal struct {
		Objects          int
		Faults, Accepted []struct{ Fault, Key string }
	}
	Classes []struct {
		Class                               string
		Recordings, Genesys, Ledger, Bucket int
	}
	Objects []struct {
		Kind    string
		Objects int
	}
	Checks []struct {
		What       string
		Sum, Count int
	}
}

// reconciled runs reconcile, and insists on what holds of every result: each recording
// in one class, and rows that are sums of what was told one by one.
func (w *world) reconciled(code int, args ...string) reconciled {
	w.Helper()
	r := w.expect(code, append([]string{"reconcile", "--json"}, args...)...)
	out := reconciled{map[string]string{}, map[string]string{}, map[string]string{}, map[string]inboxTotals{}, -1}
	for line := range strings.Lines(r.stdout) {
		var l struct {
			Type string
			Of   json.RawMessage
			Code int `json:"exit_code"`
		}
		var rec struct{ Class, Inbox, Recording, Detail string }
		var obj struct{ Kind, Key string }
		var in inboxTotals
		err := json.Unmarshal([]byte(line), &l)
		switch l.Type {
		case "recording":
			err = json.Unmarshal(l.Of, &rec)
			if out.recordings[rec.Recording] != "" {
				w.Errorf("recording %s is in two classes: %s", rec.Recording, line)
			}
			out.recordings[rec.Recording], out.details[rec.Recording] = rec.Class, rec.Detail
		case "object":
			err = json.Unmarshal(l.Of, &obj)
			out.objects[obj.Key] = obj.Kind
		case "inbox":
			err = json.Unmarshal(l.Of, &in)
			out.inboxes[in.Inbox] = in
		case "result":
			out.code = l.Code
		default:
			w.Errorf("odd line: %s", line)
		}
		if err != nil {
			w.Fatalf("%v: %s", err, line)
		}
	}
	out.check(w)
	if out.code != code {
		w.Errorf("the result names the exit code %d of %d", out.code, code)
	}
	return out
}

func (r reconciled) check(w *world) {
	w.Helper()
	told := map[string]int{}
	for _, class := range r.recordings {
		told[class]++
	}
	rows := map[string]int{}
	for _, in := range r.inboxes {
		for _, c := range in.Classes {
			if c.Recordings > 0 {
				rows[c.Class] += c.Recordings
			}
			if c.Recordings < max(c.Genesys, c.Ledger, c.Bucket) {
				w.Errorf("more on one side than in all: %+v", c)
			}
		}
		for _, c := range in.Checks {
			if c.Sum != c.Count {
				w.Errorf("does not add up: %+v", c)
			}
		}
		if len(in.Checks) == 0 {
			w.Error("nothing was checked")
		}
	}
	if d := cmp.Diff(told, rows); d != "" {
		w.Errorf("the rows are not what was told one by one: -told +rows\n%s", d)
	}
}
