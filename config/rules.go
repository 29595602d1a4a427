package config

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	_ "time/tzdata" // for containers without a zone database
	"unicode"

	"github.com/goccy/go-yaml/ast"
	"github.com/robfig/cron/v3"
)

// rule says which scalars are valid: their YAML types, and the texts that parse accepts.
type rule[T any] struct {
	want    string // completes "want …"
	kinds   kind
	private bool // may hold a secret: faults don't show it
	parse   func(text string) (T, bool)
}

// kind is a set of YAML scalar types.
type kind int

const (
	text kind = 1 << iota
	number
	boolean
)

// read returns the value of a scalar; def if it is absent or faulty.
func read[T any](v value, def T, r rule[T]) T {
	if v.absent(r.want) {
		return def
	}
	raw, got := scalarOf(v.node)
	if got == 0 {
		v.mismatch(r.want, v.node)
		return def
	}
	expanded, ok := v.expand(raw)
	if !ok {
		return def
	}
	if expanded != raw { // text from a variable may be of any type
		got = r.kinds
	}
	if got&r.kinds == 0 && r.kinds == text {
		v.fault("want %s, got %s; put it in quotes", r.want, kindOf(v.node))
		return def
	}
	if got&r.kinds != 0 {
		if t, ok := r.parse(expanded); ok {
			return t
		}
	}
	if r.private {
		v.fault("want %s", r.want)
	} else {
		v.fault("want %s, got %s", r.want, shown(raw))
	}
	return def
}

// scalarOf returns a scalar as written, without quotes; kind 0: n is not a scalar.
func scalarOf(n ast.Node) (string, kind) {
	switch n := n.(type) {
	case *ast.StringNode:
		return n.Value, text
	case *ast.LiteralNode:
		return n.Value.Value, text
	case *ast.IntegerNode, *ast.FloatNode, *ast.InfinityNode, *ast.NanNode:
		return n.GetToken().Value, number
	case *ast.BoolNode:
		return n.GetToken().Value, boolean
	}
	return "", 0
}

var variable = regexp.MustCompile(`\$\$\{|\$\{([^}]*)\}?`)
var variableName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// expand replaces ${NAME} by the variable and $${ by ${. It records a fault if it cannot.
func (v value) expand(raw string) (string, bool) {
	ok := true
	expanded := variable.ReplaceAllStringFunc(raw, func(match string) string {
		name := strings.TrimSuffix(strings.TrimPrefix(match, "${"), "}")
		if match == "$${" {
			return "${"
		}
		if !variableName.MatchString(name) || !strings.HasSuffix(match, "}") {
			v.fault("want a variable such as ${NAME}; for a literal ${ write $${")
			ok = false
			return ""
		}
		text, found := v.lookupEnv(name)
		if !found {
			v.fault("the environment variable %s is not set; set it, or for a literal ${ write $${", name)
			ok = false
		}
		return text
	})
	if strings.ContainsFunc(expanded, unicode.IsControl) {
		v.fault("holds a line break or another control character; keep it to one line of text")
		ok = false
	}
	return expanded, ok
}

// matching accepts texts that match the whole of a pattern.
func matching(want, pattern string) rule[string] {
	re := regexp.MustCompile(`^(?:` + pattern + `)$`)
	return rule[string]{want: want, kinds: text, parse: func(s string) (string, bool) { return s, re.MatchString(s) }}
}

func anyText(want string) rule[string] { return matching(want, `.*`) }

func oneOf(choices ...string) rule[string] {
	named := slices.Clone(choices)
	if i := slices.Index(named, ""); i >= 0 {
		named[i] = `""`
	}
	return rule[string]{"one of " + strings.Join(named, ", "), text, false,
		func(s string) (string, bool) { return s, slices.Contains(choices, s) }}
}

func flag() rule[bool] {
	return rule[bool]{"true or false", boolean, false, func(s string) (bool, bool) {
		s = strings.ToLower(s)
		return s == "true", s == "true" || s == "false"
	}}
}

// between accepts decimal numbers without sign, leading zeros or underscores.
func between(least, most int) rule[int] {
	return rule[int]{fmt.Sprintf("a whole number from %d to %d", least, most), number, false, func(s string) (int, bool) {
		n, err := strconv.Atoi(s)
		return n, err == nil && strconv.Itoa(n) == s && least <= n && n <= most
	}}
}

func duration() rule[time.Duration] {
	return rule[time.Duration]{"a duration such as 10m, 7d, of at least 0", text | number, false, ParseDuration}
}

// durationOf accepts durations of at least shortest.
func durationOf(shortest time.Duration, atLeast string) rule[time.Duration] {
	return rule[time.Duration]{"a duration such as 10s, 1m, of at least " + atLeast, text | number, false, func(s string) (time.Duration, bool) {
		d, ok := ParseDuration(s)
		return d, ok && d >= shortest
	}}
}

func period() rule[Period] {
	return rule[Period]{"a period such as 7y, 90d, of more than 0 and at most 100y", text | number, false, func(s string) (Period, bool) {
		p, ok := ParsePeriod(s)
		return p, ok && p != Period{}
	}}
}

var sizePattern = regexp.MustCompile(`^(\d{1,15}) ?(|KiB|MiB|GiB|KB|MB|GB)$`)

// ParseSize reads a size of at most a tebibyte, such as 128MiB or 500KB, in bytes.
func ParseSize(s string) (bytes int64, ok bool) {
	units := map[string]int64{"": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "KB": 1e3, "MB": 1e6, "GB": 1e9}
	m := sizePattern.FindStringSubmatch(s)
	if m == nil {
		return 0, false
	}
	n, err := strconv.ParseInt(m[1], 10, 64)
	if err != nil || n > 1<<40/units[m[2]] {
		return 0, false
	}
	return n * units[m[2]], true
}

// size accepts sizes from least bytes up to a tebibyte.
func size(least int64, atLeast string) rule[int64] {
	return rule[int64]{"a size such as 128MiB, 500KB, of at least " + atLeast, text | number, false, func(s string) (int64, bool) {
		n, ok := ParseSize(s)
		return n, ok && n >= least
	}}
}

// address accepts an http or https URL, or "", and trims trailing slashes. Faults do not show the value, because it may hold
// a password by mistake.
func address(want string) rule[string] {
	return rule[string]{want + " such as https://host or http://host:9000/base, without user, query or fragment", text, true, parseAddress}
}

// databaseURL accepts the URL of a PostgreSQL database, or "". A password in it would not be kept like a secret.
func databaseURL() rule[string] {
	const want = "a URL such as postgres://user@host/database?sslmode=verify-full, without a password: that goes in password_file"
	return rule[string]{want, text, true, func(s string) (string, bool) {
		if s == "" {
			return s, true
		}
		u, err := url.Parse(s)
		if err != nil || u.Scheme != "postgres" && u.Scheme != "postgresql" || u.Fragment != "" {
			return "", false
		}
		query, err := url.ParseQuery(u.RawQuery) // Query leaves out what it can't read, such as a password with a ';'
		_, inside := u.User.Password()
		return s, err == nil && !inside && !query.Has("password") && !query.Has("sslpassword")
	}}
}

// redirect accepts the URL to which Genesys redirects after a login. It changes nothing in it, because Genesys compares it
// with the registered URL.
func redirect() rule[string] {
	r := address("a redirect URL")
	r.parse = func(s string) (string, bool) {
		_, ok := parseAddress(s)
		return s, ok && s != ""
	}
	return r
}

func parseAddress(s string) (string, bool) {
	if s == "" {
		return "", true
	}
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.User != nil || strings.ContainsAny(s, "?# ") {
		return "", false
	}
	if port := u.Port(); port != "" {
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			return "", false
		}
	} else if strings.HasSuffix(u.Host, ":") {
		return "", false
	}
	_, ok := parseHost(u.Hostname())
	return strings.TrimRight(s, "/"), ok
}

// listenAddress accepts an address to listen on, or "".
func listenAddress() rule[string] {
	return rule[string]{`an address such as 127.0.0.1:9817 or :9817, or "" for none`, text, false, func(s string) (string, bool) {
		host, port, err := net.SplitHostPort(s)
		if err != nil {
			return s, s == ""
		}
		if host != "" {
			if _, ok := parseHost(host); !ok {
				return s, false
			}
		}
		_, err = strconv.ParseUint(port, 10, 16)
		return s, err == nil
	}}
}

var hostPattern = regexp.MustCompile(`^(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.)*[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?$`)
var numericEnd = regexp.MustCompile(`(?:^|\.)[0-9]+$`)

// parseHost accepts a host name or an IP address, in lower case.
func parseHost(s string) (string, bool) {
	s = strings.ToLower(s)
	if addr, err := netip.ParseAddr(s); err == nil {
		return s, addr.Zone() == ""
	}
	return s, len(s) <= 253 && hostPattern.MatchString(s) && !numericEnd.MatchString(s)
}

// linkTarget accepts a CIDR or a host.
func linkTarget() rule[string] {
	return rule[string]{"a host or CIDR such as media.example.com, 10.20.0.0/16", text, false, func(s string) (string, bool) {
		if prefix, err := netip.ParsePrefix(s); err == nil {
			return prefix.Masked().String(), true
		}
		return parseHost(s)
	}}
}

// domain accepts the domain of a Genesys region, or "".
func domain() rule[string] {
	return rule[string]{"the bare domain of the region such as mypurecloud.ie, usw2.pure.cloud", text, false, func(s string) (string, bool) {
		s, ok := parseHost(s)
		first, _, dotted := strings.Cut(s, ".")
		return s, s == "" || ok && dotted && !slices.Contains([]string{"api", "login", "apps"}, first)
	}}
}

// prefix accepts the beginning of all object keys. It refuses "", which would make keys begin with a slash.
func prefix() rule[string] {
	r := matching("a prefix such as genesys or archive/genesys: at most 200 of A-Z a-z 0-9 . _ = - and single slashes within",
		`[A-Za-z0-9._=-]+(?:/[A-Za-z0-9._=-]+)*`)
	plain := r.parse
	r.parse = func(s string) (string, bool) {
		_, ok := plain(s)
		dots := slices.ContainsFunc(strings.Split(s, "/"), func(part string) bool { return part == "." || part == ".." })
		return s, ok && !dots && len(s) <= 200
	}
	return r
}

// timezone accepts the names of the IANA database, UTC and Local.
func timezone() rule[string] {
	return rule[string]{"a time zone such as Europe/Dublin, UTC", text, false, func(s string) (string, bool) {
		_, err := time.LoadLocation(s)
		return s, err == nil && s != ""
	}}
}

// cronText accepts five fields, or a descriptor such as @hourly. It refuses a time that never comes.
func cronText() rule[string] {
	return rule[string]{`a cron expression of five fields such as "*/15 * * * *", or "@hourly"`, text, false, func(s string) (string, bool) {
		_, ok := parseCron(s, time.UTC)
		return s, ok
	}}
}

// parseCron returns a schedule in loc. It refuses a zone in the expression: schedule.timezone sets it.
func parseCron(s string, loc *time.Location) (cron.Schedule, bool) {
	if strings.Contains(s, "TZ=") {
		return nil, false
	}
	schedule, err := cron.ParseStandard(s)
	if err != nil {
		return nil, false
	}
	if fields, ok := schedule.(*cron.SpecSchedule); ok {
		fields.Location = loc
	}
	reference := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC) // any time will do: Next searches five years
	return schedule, !schedule.Next(reference).IsZero()
}
