package record

import (
	"fmt"
	"time"

	"github.com/archiverd/archiverd/storage"
)

// Holds tells whether a lock is as strong and as long as another. Governance can be
// turned into compliance, and any lock made longer.
func Holds(have, want storage.Retention) bool {
	return (have.Mode == want.Mode || have.Mode == "COMPLIANCE") && !have.Until.Before(want.Until.Truncate(time.Second))
}

// ShortLock says how a lock falls short of the one recorded of the object; "" where it
// does not, or where that has ended or is none.
func ShortLock(have, recorded storage.Retention) string {
	if !recorded.Until.After(time.Now()) || Holds(have, recorded) {
		return ""
	}
	shown := "no lock (s3:GetObjectRetention is needed to see it)"
	if have.Mode != "" {
		shown = have.Mode + " until " + have.Until.UTC().Format(time.RFC3339)
	}
	return fmt.Sprintf("the store shows %s, recorded is %s until %s", shown, recorded.Mode, recorded.Until.UTC().Format(time.RFC3339))
}
