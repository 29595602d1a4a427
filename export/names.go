package export

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/archiverd/archiverd/state"
)

// maxName bounds the length of an id's name, in bytes: three of them and a file's name stay
// below the 260 bytes that Windows allows a path by default.
const maxName = sha256.Size * 2

// reserved are names that Windows keeps for devices.
var reserved = regexp.MustCompile(`^(con|prn|aux|nul|com[0-9]|lpt[0-9])$`)

// fileName makes an id safe as the name of a file on every system: a-z, 0-9, '-' and '_'
// stay, and every other byte becomes %xx. A result longer than maxName is replaced by the
// SHA-256 of the id in hex.
func fileName(id string) string {
	var b strings.Builder
	for i := range len(id) {
		switch c := id[i]; {
		case 'a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '-' || c == '_':
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, "%%%02x", c)
		}
	}
	name := b.String()
	switch {
	case reserved.MatchString(name):
		return fmt.Sprintf("%%%02x%s", name[0], name[1:])
	case name == "" || len(name) > maxName:
		sum := sha256.Sum256([]byte(id))
		return hex.EncodeToString(sum[:])
	}
	return name
}

// Cell makes a text safe as a cell of a table that people open in a spreadsheet: a text
// that a spreadsheet would take for a formula gets an apostrophe in front. The signs that
// begin a formula also exist as wide ones, in East Asian text.
func Cell(s string) string {
	if first, _ := utf8.DecodeRuneInString(s); s != "" && strings.ContainsRune("=+-@\t\r\n＝＋－＠", first) {
		return "'" + s
	}
	return s
}

// People returns the participants as one cell of a table.
func People(all []state.Participant) string {
	var people []string
	for _, p := range all {
		people = append(people, strings.Join(slices.DeleteFunc([]string{p.Name, p.Address, p.UserID}, func(s string) bool { return s == "" }), " "))
	}
	return strings.Join(people, "; ")
}
