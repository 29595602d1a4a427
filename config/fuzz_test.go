package config

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"
)

const corpus = "testdata/fuzz/FuzzLoad"

// FuzzLoad calls Load with any bytes. Load must not panic or take long, must return a complete
// Config or sorted, printable faults, and must never show a variable.
func FuzzLoad(f *testing.F) {
	f.Add([]byte(full))
	text, err := os.ReadFile(example)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	path := filepath.Join(folder(f, map[string]string{"acme.secret": "hunter2"}), "archiverd.yaml")
	const canary = "canary-5b1f"
	f.Fuzz(func(t *testing.T, data []byte) {
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		c, err := Load(path, func(string) (string, bool) { return canary, true })
		if took := time.Since(start); took > 10*time.Second {
			t.Errorf("took %v", took)
		}
		if err == nil {
			checkComplete(t, c)
			return
		}
		e, ok := errors.AsType[*Error](err)
		if !ok || len(e.Faults) == 0 || c != nil {
			t.Fatalf("Load gave %v and %v", c, err)
		}
		if !slices.IsSortedFunc(e.Faults, func(a, b Fault) int { return a.Line - b.Line }) {
			t.Errorf("not sorted: %v", e.Faults)
		}
		lines := strings.Count(string(data), "\n") + strings.Count(string(data), "\r") + 1
		for _, fault := range e.Faults {
			text := fault.String()
			if fault.Message == "" || strings.ContainsFunc(text, unicode.IsControl) || len(text) > 600 {
				t.Errorf("not printable: %q", text)
			}
			if strings.Contains(text, canary) && !strings.Contains(string(data), canary) {
				t.Errorf("shows a variable: %s", text)
			}
			if fault.Line < 1 || fault.Line > lines+1 || fault.Column < 1 {
				t.Errorf("is nowhere in the %d lines: %s", lines, text)
			}
		}
	})
}

func checkComplete(t *testing.T, c *Config) {
	t.Helper()
	for _, o := range c.Organizations {
		if o.Name == "" || o.APIURL == "" || o.LoginURL == "" || o.ClientID == "" || o.ClientSecret.Reveal() == "" || o.Format == "" || o.PageSize < 1 || o.RequestsPerMinute < 1 {
			t.Errorf("incomplete: %+v", o)
		}
	}
	if len(c.Organizations) == 0 || c.Storage.Bucket == "" || c.Storage.Region == "" || !filepath.IsAbs(c.State.Path) ||
		c.Schedule.Timezone == nil || c.Transfer.Workers < 1 || c.Transfer.Memory < 8<<20 || c.Transfer.Bandwidth < 0 ||
		c.DeleteOriginals.MaxPerPass < 1 || c.Storage.ObjectLock.RetainFor == (Period{}) {
		t.Errorf("incomplete: %+v", c)
	}
	if c.Schedule.Parsed.Next(time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC)).IsZero() {
		t.Errorf("never runs: %q", c.Schedule.Cron)
	}
}

// TestCorpus fails if the committed corpus is missing or not in the fuzzer's format.
func TestCorpus(t *testing.T) {
	entries, err := os.ReadDir(corpus)
	if err != nil || len(entries) < 10 {
		t.Fatalf("%s has %d inputs, %v; want 10 or more", corpus, len(entries), err)
	}
	for _, entry := range entries {
		text, err := os.ReadFile(filepath.Join(corpus, entry.Name()))
		if err != nil || !strings.HasPrefix(string(text), "go test fuzz v1\n[]byte(") {
			t.Errorf("%s is not a fuzzer input: %v", entry.Name(), err)
		}
	}
}
