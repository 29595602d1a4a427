package proof

import (
	"fmt"
	"slices"
	"strings"

	"github.com/archiverd/archiverd/failure"
	"github.com/archiverd/archiverd/record"
	"github.com/archiverd/archiverd/state"
)

// Worse orders faults as record.Faults does, worst first.
func Worse(x, y record.Fault) int {
	return slices.Index(record.Faults[:], x) - slices.Index(record.Faults[:], y)
}

// Finding is one object that is not what the ledger, or the rest of the archive, says.
type Finding struct {
	Fault     record.Fault `json:"fault"`
	Org       string       `json:"org"`
	Inbox     string       `json:"inbox"`
	Recording string       `json:"recording"`
	Key       string       `json:"key"`
	VersionID string       `json:"version,omitempty"`
	Detail    string       `json:"detail"`
}

// Flaw is one thing that is wrong with an object.
type Flaw struct {
	Fault  record.Fault
	Detail string
}

// Flawf returns a flaw with a formatted detail.
func Flawf(f record.Fault, format string, args ...any) Flaw {
	return Flaw{f, fmt.Sprintf(format, args...)}
}

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
	case record.FaultLock:
		return fmt.Errorf("%w: %w", err, failure.ErrNotLocked)
	case record.FaultExpires, record.FaultUnreadable:
		return err
	}
	return fmt.Errorf("%w: %w", err, failure.ErrCorrupt)
}

func (fs Flaws) sum() (worst record.Fault, details string) {
	sorted := slices.SortedStableFunc(slices.Values(fs), func(x, y Flaw) int { return Worse(x.Fault, y.Fault) })
	texts := make([]string, len(sorted))
	for i, f := range sorted {
		texts[i] = f.Detail
	}
	return sorted[0].Fault, strings.Join(texts, "; ")
}
