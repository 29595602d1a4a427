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

// ReadRoster reads a CSV file of user ids and e-mail addresses, one user a line and without a header; lines that begin
// with # are comments. Its error names every faulty line, as far as they are not too many. A file that names nobody is
// faulty too: it is more likely cut off than meant.
func ReadRoster(path string) ([]RosterUser, error) {
	data, err := readFile(path, maxRoster)
	if err != nil {
		return nil, fmt.Errorf("cannot read the roster: %w; a relative path begins beside the configuration file", err)
	}
	return parseRoster(data)
}

func parseRoster(data []byte) ([]RosterUser, error) {
	r := csv.NewReader(bytes.NewReader(bytes.TrimPrefix(data, []byte("\ufeff")))) // as spreadsheets write it
	r.Comment, r.FieldsPerRecord, r.TrimLeadingSpace, r.ReuseRecord = '#', -1, true, true
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

func rosterUser(fields []string) (u RosterUser, fault string) {
	if len(fields) != 2 {
		return u, fmt.Sprintf("want user id, e-mail, got %d fields", len(fields))
	}
	u.ID, u.Email = strings.TrimSpace(fields[0]), strings.TrimSpace(fields[1])
	at := strings.LastIndexByte(u.Email, '@')
	switch {
	case !userID.MatchString(u.ID):
		return u, "want a user id of at most 100 of A-Z a-z 0-9 _ and -, got " + shown(u.ID)
	case at < 1 || at == len(u.Email)-1 || strings.ContainsFunc(u.Email, func(r rune) bool { return !unicode.IsPrint(r) || r == ' ' }):
		return u, "want an e-mail address, got " + shown(u.Email) + " (the file has no header)"
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
