package config

import (
	"strings"
	"testing"
	"testing/quick"
)

// TestRules checks which texts each rule accepts and refuses.
func TestRules(t *testing.T) {
	for _, tt := range []struct {
		name         string
		rule         rule[string]
		good, faulty string // separated by |
	}{
		{"prefix", prefix(), "genesys|a/b/c|A.b_c=d-e|..a|" + strings.Repeat("x", 200), "|/a|a/|a//b|a b|é|a/../b|.|a/.|" + strings.Repeat("x", 201)},
		{"address", address("a URL"), "|http://x|https://x.example:8443/base/|http://127.0.0.1|http://[::1]:1", "x|//x|ftp://x|http://|http://u@x|http://x?q|http://x?|http://x#f|http://x:0|http://x:65536|http://x:|http://:80|http://a b|http://x/%zz|https://é"},
		{"link target", linkTarget(), "a|A.example|a_b-c.example|10.0.0.1|::1|10.0.0.0/8|fd00::/8", "|.|a.|.a|-a|a-|*.a|a:1|10.0.0|1.2.3.4.5|10.0.0.0/|[::1]|" + strings.Repeat("a", 64)},
		{"domain", domain(), "|mypurecloud.ie|usw2.pure.cloud|MyPureCloud.com", "mypurecloud|https://mypurecloud.ie|login.mypurecloud.ie|apps.mypurecloud.ie|mypurecloud.ie/"},
		{"cron", cronText(), "*/15 * * * *|0 3 * * 1-5|@hourly|@every 15m|0 0 29 2 *", "|* * * *|* * * * * *|@never|TZ=UTC * * * * *|CRON_TZ=UTC * * * * *|TZ=|0 0 31 2 *|*/0 * * * *|@every"},
		{"time zone", timezone(), "UTC|Local|America/New_York", "|Mars/Olympus|../UTC|europe/nowhere"},
	} {
		for _, s := range strings.Split(tt.good, "|") {
			if _, ok := tt.rule.parse(s); !ok {
				t.Errorf("%s: %q was refused", tt.name, s)
			}
		}
		for _, s := range strings.Split(tt.faulty, "|") {
			if got, ok := tt.rule.parse(s); ok {
				t.Errorf("%s: %q was taken as %q", tt.name, s, got)
			}
		}
	}
}

func TestSizes(t *testing.T) {
	for text, want := range map[string]int64{"0": 0, "1": 1, "1KiB": 1024, "2 MiB": 2 << 20, "1GiB": 1 << 30, "3KB": 3000, "3MB": 3e6, "3GB": 3e9, "1024GiB": 1 << 40} {
		if got, ok := size(0, "0").parse(text); got != want || !ok {
			t.Errorf("%q is %d, %v", text, got, ok)
		}
	}
	for _, text := range []string{"", "KiB", "1.5GiB", "-1", "1kb", "1TB", "1K", "1025GiB", "999999999999999GiB", "1  MB", " 1"} {
		if got, ok := size(0, "0").parse(text); ok {
			t.Errorf("%q is %d", text, got)
		}
	}
}

func TestExpand(t *testing.T) {
	variables := environment(map[string]string{"A": "1", "_b2": "two", "EMPTY": "", "NESTED": "${A}"})
	for raw, want := range map[string]string{
		"": "", "$": "$", "$A": "$A", "${A}": "1", "x${A}${_b2}y": "x1twoy", "${EMPTY}": "", "$${A}": "${A}", "$$${A}": "$${A}",
		"$$A": "$$A", "${NESTED}": "${A}", "$${": "${", "a}": "a}",
	} {
		v := value{decoder: &decoder{lookupEnv: variables}}
		if got, ok := v.expand(raw); got != want || !ok || len(v.faults) > 0 {
			t.Errorf("%q became %q, %v", raw, got, v.faults)
		}
	}
	for _, raw := range []string{"${", "${}", "${A", "${A-B}", "${ A }", "${A:-x}", "${Z}", "${é}"} {
		v := value{decoder: &decoder{lookupEnv: variables}}
		if got, ok := v.expand(raw); ok || len(v.faults) != 1 {
			t.Errorf("%q became %q, %v", raw, got, v.faults)
		}
	}
}

// TestDistance compares distance with its recursive definition.
func TestDistance(t *testing.T) {
	var slow func(a, b string) int
	slow = func(a, b string) int {
		if a == "" || b == "" {
			return len(a) + len(b)
		}
		change := slow(a[1:], b[1:])
		if a[0] != b[0] {
			change++
		}
		return min(change, slow(a[1:], b)+1, slow(a, b[1:])+1)
	}
	letters := func(bits []bool) string {
		var s strings.Builder
		for _, bit := range bits[:min(len(bits), 6)] {
			s.WriteByte(map[bool]byte{false: 'a', true: 'b'}[bit])
		}
		return s.String()
	}
	same := func(a, b []bool) bool { return distance(letters(a), letters(b)) == slow(letters(a), letters(b)) }
	if err := quick.Check(same, nil); err != nil {
		t.Error(err)
	}
}
