package main

import (
	"os"
	"path/filepath"
	"testing"
)

// The pages in docs are those that the results beside them make.
func TestPagesAreOfTheirResults(t *testing.T) {
	const docs = "../../docs"
	pages, err := (&bench{docs: docs}).pages()
	if err != nil {
		t.Fatal(err)
	}
	for name, page := range pages {
		if have, err := os.ReadFile(filepath.Join(docs, name)); err != nil || string(have) != string(page) {
			t.Errorf("docs/%s is not what the results make (%v): it is written by make bench, bench-long, bench-latency and bench-workers", name, err)
		}
	}
}
