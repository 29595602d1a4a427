package config

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestRoster reads one roster as different programs write it.
func TestRoster(t *testing.T) {
	want := []RosterUser{{"anna-1", "anna@example.com"}, {"0c1e8f5a-6d0b-4a53-9a4e-2f1f4ad3a7b9", "ben@example.com"}}
	for name, text := range map[string]string{
		"by hand":          "# who is covered\r\nanna-1, anna@example.com\r\n\r\n\"0c1e8f5a-6d0b-4a53-9a4e-2f1f4ad3a7b9\",ben@example.com",
		"byte order mark":  "\ufeffanna-1,anna@example.com\n0c1e8f5a-6d0b-4a53-9a4e-2f1f4ad3a7b9,ben@example.com\n",
		"headings":         "User ID,E-mail\nanna-1,anna@example.com\n0c1e8f5a-6d0b-4a53-9a4e-2f1f4ad3a7b9,ben@example.com\n",
		"semicolons":       "\ufeffBenutzer;E-Mail-Adresse\r\nanna-1;anna@example.com\r\n0c1e8f5a-6d0b-4a53-9a4e-2f1f4ad3a7b9;ben@example.com\r\n",
		"semicolons alone": "anna-1;\"anna@example.com\"\n0c1e8f5a-6d0b-4a53-9a4e-2f1f4ad3a7b9;ben@example.com\n",
		"tabs":             "id\temail\nanna-1\tanna@example.com\n0c1e8f5a-6d0b-4a53-9a4e-2f1f4ad3a7b9\tben@example.com\n",
		"filled up":        "# all, of us;\n;;;\nuser_id;mail;;\nanna-1;anna@example.com;;\n;;;\n0c1e8f5a-6d0b-4a53-9a4e-2f1f4ad3a7b9;ben@example.com ; ;\n;;;\n",
		"old Macs":         "id,adresse e-mail\ranna-1,anna@example.com\r0c1e8f5a-6d0b-4a53-9a4e-2f1f4ad3a7b9,ben@example.com\r",
	} {
		t.Run(name, func(t *testing.T) {
			got, err := ReadRoster(filepath.Join(folder(t, map[string]string{"r.csv": text}), "r.csv"))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestRosterFaults(t *testing.T) {
	for name, tt := range map[string]struct{ text, want string }{
		"other headings":  {"user_id,whereabouts\nanna,anna@example.com\n", `the roster is faulty: line 1: want an e-mail address, got "whereabouts"`},
		"headings later":  {"anna,anna@example.com\nuser_id,email\n", `the roster is faulty: line 2: want an e-mail address, got "email"`},
		"a first mistake": {"anna,anna.example.com\nben,ben@example.com\n", `the roster is faulty: line 1: want an e-mail address, got "anna.example.com"`},
		"other way round": {"anna@example.com;anna\n", `the roster is faulty: line 1: want a user id of at most 100 of A-Z a-z 0-9 _ and -, got "anna@example.com"`},
		"headings alone":  {"user_id,email\n", "the roster has no users; want a line of user id, e-mail for each user"},
		"UTF-16":          {"\xff\xfea\x00,\x00", "the roster is faulty: the file is UTF-16: save it as UTF-8"},
		"UTF-16, big":     {"\xfe\xff\x00a\x00,", "the roster is faulty: the file is UTF-16: save it as UTF-8"},
		"Latin-1":         {"anna,ann\xe9@example.com\n", "the roster is faulty: the file is not UTF-8 text: save it as UTF-8"},
		"both separators": {"anna;anna@example.com\nben,ben@example.com\n", "the roster is faulty: line 2: want user id, e-mail, got 1 fields"},
		"three columns":   {"id;email;name\nanna;anna@example.com;Anna\n", "the roster is faulty: line 1: want user id, e-mail, got 3 fields; line 2: want user id, e-mail, got 3 fields"},
		"all at once": {"anna,anna@example.com\nben\n-rf,x@y\n# c\ncleo,cleo@\nanna,other@example.com\na b,c@d\n",
			`the roster is faulty: line 2: want user id, e-mail, got 1 fields; line 3: want a user id of at most 100 of A-Z a-z 0-9 _ and -, got "-rf"; ` +
				`line 5: want an e-mail address, got "cleo@"; line 6: this user is already on line 1; keep one of the two lines; ` +
				`line 7: want a user id of at most 100 of A-Z a-z 0-9 _ and -, got text that is long or has spaces`},
		"quotes":       {"anna,anna@example.com\n\"ben,ben@example.com\n", `the roster is faulty: line 2: extraneous or missing " in quoted-field`},
		"binary":       {"anna,\x00@example.com\n", `the roster is faulty: line 1: want an e-mail address, got "\x00@example.com"`},
		"empty":        {"", "the roster has no users; want a line of user id, e-mail for each user"},
		"only a note":  {"# nobody\n\n", "the roster has no users; want a line of user id, e-mail for each user"},
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
