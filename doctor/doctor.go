// Package doctor tests, on the configured services, what archiverd's promises depend on: the
// store's create-only writes, checksums and locks, the rights of the credentials, the
// ledger's place and content, and the token of each inbox. It writes only below
// {prefix}/doctor/.
package doctor

import (
	"fmt"

	"github.com/archiverd/archiverd/failure"
	"github.com/archiverd/archiverd/proof"
	"github.com/archiverd/archiverd/storage"
)

// Result is the result of a check.
type Result string

// The results. A check that could not be made is never a Pass.
const (
	Pass      Result = "pass"
	Warn      Result = "warn"      // archiverd works, but something should be changed
	Fail      Result = "fail"      // archiverd can't keep a promise here, or can't work at all
	Unchecked Result = "unchecked" // there is nothing to check, or archiverd has no means to check it
)

// Check is one thing that the doctor checked, and what it found.
type Check struct {
	Name   string       `json:"name"`            // stable, such as "store.lock"
	About  string       `json:"about,omitempty"` // the inbox, as org/id, or the key of the configuration
	Result Result       `json:"result"`
	Found  string       `json:"found"`
	Remedy string       `json:"remedy,omitempty"` // what to do; set in every Warn and Fail
	Kind   failure.Kind `json:"-"`                // who has to act; set in a Fail
}

// Doctor tests the configured services. Its methods may be called at the same time.
type Doctor struct {
	Bucket     *storage.Bucket
	Probe      *storage.Probe
	Prefix     string // configured, of all keys in the bucket
	Retention  proof.Retention
	Encryption string // that the configuration asks for: "none", "AES256" or "aws:kms"
	Deleting   bool   // the configuration has originals deleted
}

// findings collects checks.
type findings struct {
	about string
	list  []Check
}

func (f *findings) pass(name, found string, args ...any) {
	f.list = append(f.list, Check{Name: name, About: f.about, Result: Pass, Found: fmt.Sprintf(found, args...)})
}

func (f *findings) warn(name, remedy, found string, args ...any) {
	f.list = append(f.list, Check{Name: name, About: f.about, Result: Warn, Found: fmt.Sprintf(found, args...), Remedy: remedy})
}

func (f *findings) fail(name string, kind failure.Kind, remedy, found string, args ...any) {
	f.list = append(f.list, Check{Name: name, About: f.about, Result: Fail, Found: fmt.Sprintf(found, args...), Remedy: remedy, Kind: kind})
}

func (f *findings) unchecked(name, found string, args ...any) {
	f.list = append(f.list, Check{Name: name, About: f.about, Result: Unchecked, Found: fmt.Sprintf(found, args...)})
}
