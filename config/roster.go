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
	maxRosterFaults = 20       // shown at once
)

// userID is what Genesys' ids are made of. A dash at the front would make it an option of the token command.
var userID = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_-]{0,99}$`)

// ReadRoster reads a CSV file of user ids and e-mail addresses, one user a line, as spreadsheets write it: between commas,
// semicolons or tabs, perhaps with a line of headings, a byte order mark and empty rows. Lines that begin with # are
// comments. Its error names every faulty line, as far as they are not too many. A file that names nobody is faulty too:
// it is more likely cut off than meant.
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
	if !bytes.ContainsRune(data, '\n') { // lines of old Macs, which some programs still write
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
		if err != nil { // what follows can't be told apart
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
			fault = fmt.Sprintf("the user of line %d a second time; keep one", first)
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
		return nil, errors.New("the roster names nobody; want a line of user id, e-mail for each user")
	}
	return users, nil
}

// separator is what stands between the columns: the first of the three on the first line that is no comment.
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

// filled is a row without space around its fields, and without empty fields at its end: spreadsheets fill rows up.
func filled(fields []string) []string {
	for i := range fields {
		fields[i] = strings.TrimSpace(fields[i])
	}
	for len(fields) > 0 && fields[len(fields)-1] == "" {
		fields = fields[:len(fields)-1]
	}
	return fields
}

// emailHeading is how people call a column of e-mail addresses, letters alone. No address has such a form, so that no
// user is taken for headings.
var emailHeading = regexp.MustCompile(`^(user|adresse?)?e?mail(s|adres|adresse|address|addresses)?$|^courriel$`)

// headings tells the first row of a table with headings.
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

// rosterSyntax is encoding/csv's complaint without the text.
func rosterSyntax(err error) string {
	var e *csv.ParseError
	if errors.As(err, &e) {
		return fmt.Sprintf("line %d: %v", e.Line, e.Err)
	}
	return err.Error()
}
