package proof

import (
	"fmt"
	"slices"
	"strings"

	"github.com/archiverd/archiverd/failure"
	"github.com/archiverd/archiverd/state"
)

// Fault is what is wrong with one stored object. An object counts under one fault: of
// several, the first in the order of Faults.
type Fault string

// The faults of objects that the ledger names.
const (
	FaultMissing     Fault = "missing"     // the store does not have the recorded version
	FaultForeign     Fault = "foreign"     // its place holds an object that archiverd did not write
	FaultReturned    Fault = "returned"    // it was erased or disposed of, and is in the store again
	FaultUnfinished  Fault = "unfinished"  // its removal from the archive began and did not end
	FaultAltered     Fault = "altered"     // size, checksum or bytes are not the recorded ones
	FaultManifest    Fault = "manifest"    // the manifest can't be read, or describes something else than the ledger
	FaultHidden      Fault = "hidden"      // the recorded version is there, below a delete marker
	FaultOverwritten Fault = "overwritten" // the recorded version is there, below another one
	FaultLock        Fault = "lock"        // its retention is shorter or weaker than recorded
	FaultExpires     Fault = "expires"     // a lifecycle rule will remove it before its retention ends
	FaultUnreadable  Fault = "unreadable"  // the store works, but can't give this object
	FaultJournal     Fault = "journal"     // an inbox's journal is not the chain that was written
	KnownBad         Fault = "known bad"   // the ledger itself records the key as bad: no alarm
)

// Faults are all that count as findings, worst first.
var Faults = [...]Fault{FaultMissing, FaultForeign, FaultReturned, FaultUnfinished, FaultAltered, FaultManifest, FaultHidden, FaultOverwritten, FaultLock, FaultExpires, FaultUnreadable}

// Worse orders faults as Faults does, worst first.
func Worse(x, y Fault) int { return slices.Index(Faults[:], x) - slices.Index(Faults[:], y) }

// Finding is one object that is not what the ledger, or the rest of the archive, says.
type Finding struct {
	Fault     Fault  `json:"fault"`
	Org       string `json:"org"`
	Inbox     string `json:"inbox"`
	Recording string `json:"recording"`
	Key       string `json:"key"`
	VersionID string `json:"version,omitempty"`
	Detail    string `json:"detail"`
}

// Flaw is one thing that is wrong with an object.
type Flaw struct {
	Fault  Fault
	Detail string
}

// Flawf returns a flaw with a formatted detail.
func Flawf(f Fault, format string, args ...any) Flaw { return Flaw{f, fmt.Sprintf(format, args...)} }

// Flaws are all that is wrong with one object.
type Flaws []Flaw

// Finding sums up the flaws of an object under the worst of them. There must be one.
func (fs Flaws) Finding(k state.Key, key, versionID string) Finding {
	worst, details := fs.sum()
	return Finding{Fault: worst, Org: k.Org, Inbox: k.Inbox, Recording: k.Recording, Key: key, VersionID: versionID, Detail: details}
}

// Err returns the flaws of the object at key as an error, or nil if there are none. It
// wraps failure.ErrNotLocked if nothing is worse than a short lock, and failure.ErrCorrupt
// if something is.
func (fs Flaws) Err(key string) error {
	if len(fs) == 0 {
		return nil
	}
	worst, details := fs.sum()
	err := fmt.Errorf("%s: %s", key, details)
	switch worst {
	case FaultLock:
		return fmt.Errorf("%w: %w", err, failure.ErrNotLocked)
	case FaultExpires, FaultUnreadable:
		return err
	}
	return fmt.Errorf("%w: %w", err, failure.ErrCorrupt)
}

func (fs Flaws) sum() (worst Fault, details string) {
	sorted := slices.SortedStableFunc(slices.Values(fs), func(x, y Flaw) int { return Worse(x.Fault, y.Fault) })
	texts := make([]string, len(sorted))
	for i, f := range sorted {
		texts[i] = f.Detail
	}
	return sorted[0].Fault, strings.Join(texts, "; ")
}
