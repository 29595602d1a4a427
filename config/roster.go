package config

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"unicode"
)

// RosterUser is one user who should be covered.
type RosterUser struct{ ID, Email string }

const (
	maxRoster       = 16 << 20 // bytes: some 200,000 users
	maxRosterFaults = 20       // in one error
)

// userID matches Genesys' ids. A dash at the beginning is refused: the token command would take the id for an option.
var userID = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_-]{0,99}$`)

// ReadRoster reads a CSV file of user ids and e-mail addresses, one user a line, as spreadsheets write it: separated by
// commas, semicolons or tabs, perhaps with a line of headings, a byte order mark and empty rows. Lines that begin with # are
// comments. Its error lists the faulty lines, up to a limit. A file without users is an error too, because it was probably
// cut off.
func ReadRoster(path string) ([]RosterUser, error) {
	data, err := readFile(path, maxRoster)
	if err != nil {
		return nil, fmt.Errorf("cannot read the roster: %w; a relative path begins beside the configuration file", err)
	}
	return parseRoster(data)
}

func parseRoster(data []byte) ([]RosterUser, error) {
	data, err := utf8Text(data)
	if err != nil {
		return nil, fmt.Errorf("the roster is faulty: %w", err)
	}
	if !bytes.ContainsRune(data, '\n') { // old Macs ended lines with \r, and some programs still do
		data = bytes.ReplaceAll(data, []byte("\r"), []byte("\n"))
	}
	r := csv.NewReader(bytes.NewReader(data))
	r.Comma, r.Comment, r.FieldsPerRecord, r.ReuseRecord = separator(data), '#', -1, true
	r.TrimLeadingSpace = r.Comma != '\t'
	begun := false
	var users []RosterUser
	var faults []string
	lines := map[string]int{}
	for len(faults) < maxRosterFaults {
		fields, err := r.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil { // the following lines cannot be separated
			faults = append(faults, rosterSyntax(err))
			break
		}
		line, _ := r.FieldPos(0)
		if fields = filled(fields); len(fields) == 0 {
			continue
		}
		if !begun {
			begun = true
			if headings(fields) {
				continue
			}
		}
		user, fault := rosterUser(fields)
		if first := lines[user.ID]; fault == "" && first > 0 {
			fault = fmt.Sprintf("this user is already on line %d; keep one of the two lines", first)
		}
		if fault != "" {
			faults = append(faults, fmt.Sprintf("line %d: %s", line, fault))
			continue
		}
		lines[user.ID] = line
		users = append(users, user)
	}
	switch {
	case len(faults) > 0:
		return nil, fmt.Errorf("the roster is faulty: %s", strings.Join(faults, "; "))
	case len(users) == 0:
		return nil, errors.New("the roster has no users; want a line of user id, e-mail for each user")
	}
	return users, nil
}

// separator returns the separator of columns: the first comma, semicolon or tab outside comments.
func separator(data []byte) rune {
	for line := range bytes.Lines(data) {
		if line[0] == '#' {
			continue
		}
		if i := bytes.IndexAny(line, ",;\t"); i >= 0 {
			return rune(line[i])
		}
	}
	return ','
}

// filled returns a row without space around its fields, and without the empty fields that spreadsheets add at its end.
func filled(fields []string) []string {
	for i := range fields {
		fields[i] = strings.TrimSpace(fields[i])
	}
	for len(fields) > 0 && fields[len(fields)-1] == "" {
		fields = fields[:len(fields)-1]
	}
	return fields
}

// emailHeading matches the letters of a heading for e-mail addresses. It matches no e-mail address, so a user is never taken
// for a heading.
var emailHeading = regexp.MustCompile(`^(user|adresse?)?e?mail(s|adres|adresse|address|addresses)?$|^courriel$`)

// headings reports whether a row holds headings.
func headings(fields []string) bool {
	letters := func(r rune) rune {
		if !unicode.IsLetter(r) {
			return -1
		}
		return unicode.ToLower(r)
	}
	return len(fields) == 2 && !strings.Contains(fields[1], "@") && emailHeading.MatchString(strings.Map(letters, fields[1]))
}

func rosterUser(fields []string) (u RosterUser, fault string) {
	if len(fields) != 2 {
		return u, fmt.Sprintf("want user id, e-mail, got %d fields", len(fields))
	}
	u.ID, u.Email = fields[0], fields[1]
	at := strings.LastIndexByte(u.Email, '@')
	switch {
	case !userID.MatchString(u.ID):
		return u, "want a user id of at most 100 of A-Z a-z 0-9 _ and -, got " + shown(u.ID)
	case at < 1 || at == len(u.Email)-1 || strings.ContainsFunc(u.Email, func(r rune) bool { return !unicode.IsPrint(r) || r == ' ' }):
		return u, "want an e-mail address, got " + shown(u.Email)
	}
	return u, ""
}

// rosterSyntax returns the message of encoding/csv without the text of the line.
func rosterSyntax(err error) string {
	if e, ok := errors.AsType[*csv.ParseError](err); ok {
		return fmt.Sprintf("line %d: %v", e.Line, e.Err)
	}
	return err.Error()
}
