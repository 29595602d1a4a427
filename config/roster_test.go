package config

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestRoster(t *testing.T) {
	text := "\ufeff# who is covered\r\nanna-1, anna@example.com\r\n\r\n\"0c1e8f5a-6d0b-4a53-9a4e-2f1f4ad3a7b9\",ben@example.com"
	got, err := ReadRoster(filepath.Join(folder(t, map[string]string{"r.csv": text}), "r.csv"))
	if err != nil {
		t.Fatal(err)
	}
	want := []RosterUser{{"anna-1", "anna@example.com"}, {"0c1e8f5a-6d0b-4a53-9a4e-2f1f4ad3a7b9", "ben@example.com"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestRosterFaults(t *testing.T) {
	for name, tt := range map[string]struct{ text, want string }{
		"header": {"user_id,email\nanna,anna@example.com\n", `the roster is faulty: line 1: want an e-mail address, got "email" (the file has no header)`},
		"all at once": {"anna,anna@example.com\nben\n-rf,x@y\n# c\ncleo,cleo@\nanna,other@example.com\na b,c@d\n",
			`the roster is faulty: line 2: want user id, e-mail, got 1 fields; line 3: want a user id of at most 100 of A-Z a-z 0-9 _ and -, got "-rf"; ` +
				`line 5: want an e-mail address, got "cleo@" (the file has no header); line 6: the user of line 1 a second time; keep one; ` +
				`line 7: want a user id of at most 100 of A-Z a-z 0-9 _ and -, got text that is long or has spaces`},
		"semicolons":   {"anna;anna@example.com\n", "the roster is faulty: line 1: want user id, e-mail, got 1 fields"},
		"quotes":       {"anna,anna@example.com\n\"ben,ben@example.com\n", `the roster is faulty: line 2: extraneous or missing " in quoted-field`},
		"binary":       {"anna,\x00@example.com\n", `the roster is faulty: line 1: want an e-mail address, got "\x00@example.com" (the file has no header)`},
		"empty":        {"", "the roster names nobody; want a line of user id, e-mail for each user"},
		"only a note":  {"# nobody\n\n", "the roster names nobody; want a line of user id, e-mail for each user"},
		"endless rows": {strings.Repeat("x\n", 1000), "the roster is faulty" + repeated(20)},
		"too large":    {strings.Repeat("#", maxRoster+1), "cannot read the roster: larger than 16384 KiB; a relative path begins beside the configuration file"},
	} {
		t.Run(name, func(t *testing.T) {
			users, err := ReadRoster(filepath.Join(folder(t, map[string]string{"r.csv": tt.text}), "r.csv"))
			if users != nil || err == nil || err.Error() != tt.want {
				t.Errorf("got  %v, %v\nwant %s", users, err, tt.want)
			}
		})
	}
}

func repeated(n int) string {
	var lines []string
	for i := range n {
		lines = append(lines, "line "+string(rune('0'+(i+1)/10))+string(rune('0'+(i+1)%10))+": want user id, e-mail, got 1 fields")
	}
	return ": " + strings.ReplaceAll(strings.Join(lines, "; "), "line 0", "line ")
}
