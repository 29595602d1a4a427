package doctor

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/archiverd/archiverd/state"
	"github.com/archiverd/archiverd/state/postgres"
)

func wellDatabase() postgres.Facts {
	return postgres.Facts{
		Version: 150018, Server: "15.18", Encoding: "UTF8", Encrypted: true, Used: 3, Most: 97, Schema: postgres.Schema,
		Settings: map[string]string{"fsync": "on", "full_page_writes": "on", "synchronous_commit": "on", "synchronous_standby_names": "", "autovacuum": "on"},
	}
}

// TestDatabase judges what a test can't easily bring about.
func TestDatabase(t *testing.T) {
	for name, c := range map[string]struct {
		edit func(*postgres.Facts)
		err  error
		want string
	}{
		"well":                 {func(*postgres.Facts) {}, nil, "ledger.failover unchecked"},
		"old":                  {func(d *postgres.Facts) { d.Version = 140010 }, nil, "ledger.database fail"},
		"LATIN1":               {func(d *postgres.Facts) { d.Encoding = "LATIN1" }, nil, "ledger.database fail"},
		"standby":              {func(d *postgres.Facts) { d.Standby = true }, nil, "ledger.database fail"},
		"in the clear":         {func(d *postgres.Facts) { d.Encrypted = false }, nil, "ledger.tls warn"},
		"same machine":         {func(d *postgres.Facts) { d.Encrypted, d.Local = false, true }, nil, "ledger.tls pass"},
		"full":                 {func(d *postgres.Facts) { d.Used = 90 }, nil, "ledger.connections warn"},
		"no fsync":             {func(d *postgres.Facts) { d.Settings["fsync"] = "off" }, nil, "ledger.commits fail"},
		"asynchronous standby": {func(d *postgres.Facts) { d.Standbys = 1 }, nil, "ledger.failover warn"},
		"synchronous standby": {func(d *postgres.Facts) {
			d.Standbys, d.Settings["synchronous_standby_names"] = 1, "ANY 1 (a, b)"
		}, nil, "ledger.failover pass"},
		"not waited for": {func(d *postgres.Facts) {
			d.Standbys, d.Settings["synchronous_standby_names"], d.Settings["synchronous_commit"] = 1, "a", "local"
		}, nil, "ledger.failover warn"},
		"clock":            {func(d *postgres.Facts) { d.Ahead = -6 * time.Minute }, nil, "ledger.clock warn"},
		"older tables":     {func(d *postgres.Facts) { d.Schema-- }, nil, "ledger.schema fail"},
		"newer tables":     {func(d *postgres.Facts) { d.Schema++ }, nil, "ledger.schema fail"},
		"long transaction": {func(d *postgres.Facts) { d.Oldest = 2 * time.Hour }, nil, "ledger.transactions warn"},
		"bloat":            {func(d *postgres.Facts) { d.Bloated = []string{"entries_3"} }, nil, "ledger.bloat warn"},
		"away":             {func(*postgres.Facts) {}, fmt.Errorf("reach: %w", state.ErrUnavailable), "ledger.database fail"},
		"wrong password":   {func(*postgres.Facts) {}, errors.New("password authentication failed"), "ledger.database fail"},
	} {
		t.Run(name, func(t *testing.T) {
			d := wellDatabase()
			c.edit(&d)
			var all []string
			for _, check := range Database(d, c.err) {
				all = append(all, check.Name+" "+string(check.Result))
				if bad := check.Result == Fail || check.Result == Warn; bad != (check.Remedy != "") || check.Found == "" {
					t.Errorf("%+v", check)
				}
				if (check.Result == Fail || check.Result == Warn) && check.Name+" "+string(check.Result) != c.want {
					t.Errorf("not expected: %+v", check)
				}
			}
			if !strings.Contains(strings.Join(all, ", ")+",", c.want) {
				t.Errorf("want %s among %s", c.want, all)
			}
		})
	}
}
