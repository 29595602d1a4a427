package record

import (
	"fmt"
	"time"

	"github.com/archiverd/archiverd/state"
	"github.com/archiverd/archiverd/storage"
)

// Holds reports whether a lock is at least as strong and as long as another. Governance
// may have been changed to compliance, and any lock may have been extended.
func Holds(have, want storage.Retention) bool {
	return (have.Mode == want.Mode || have.Mode == "COMPLIANCE") && !have.Until.Before(want.Until.Truncate(time.Second))
}

// ShortLock returns how a lock is shorter or weaker than the lock recorded of the object.
// It returns "" if the lock is not, or if the recorded lock has ended or there is none.
func ShortLock(have, recorded storage.Retention) string {
	if !recorded.Until.After(time.Now()) || Holds(have, recorded) {
		return ""
	}
	shown := "no lock (s3:GetObjectRetention is needed to see it)"
	if have.Mode != "" {
		shown = have.Mode + " until " + have.Until.UTC().Format(time.RFC3339)
	}
	return fmt.Sprintf("the store shows %s, but %s until %s was recorded", shown, recorded.Mode, recorded.Until.UTC().Format(time.RFC3339))
}

// Retained returns the longest lock that a person ordered for a recording, and so for every
// object of the journal that tells of it; the zero Retention if nobody did. The mode is for
// objects that had no lock.
func Retained(e *state.Entry) (longest storage.Retention) {
	for _, a := range e.Acts {
		if a.Kind == state.ActRetain && a.Until.After(longest.Until) {
			longest = storage.Retention{Mode: a.Mode, Until: a.Until}
		}
	}
	return longest
}
