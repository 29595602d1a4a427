package main

import (
	"os"
	"testing"
)

// The page in docs is the one that the results beside it make.
func TestPageIsOfItsResults(t *testing.T) {
	want, err := os.ReadFile("../../docs/performance.md")
	if err != nil {
		t.Fatal(err)
	}
	page, err := (&bench{docs: "../../docs"}).render()
	if err != nil || string(page) != string(want) {
		t.Errorf("docs/performance.md is not what its results make (%v): it is written by make bench and make bench-long", err)
	}
}
