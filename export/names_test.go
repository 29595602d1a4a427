package export

import (
	"regexp"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// On Windows a path has 259 characters by default; this leaves some for the folder.
const maxPath = 230

var plain = regexp.MustCompile(`^[a-z0-9_%-]+$`)

// Any id has a name that every file system takes, and no other id has it, whatever case a
// file system folds.
func TestFileNames(t *testing.T) {
	t.Parallel()
	id := rapid.OneOf(rapid.String(), rapid.StringMatching(`(?i)(con|nul|aux|com1|lpt9|\.\.|a|A| |%|%63on)(\.| |/|\\)?`), rapid.StringN(50, 300, -1))
	names := map[string]string{}
	rapid.Check(t, func(t *rapid.T) {
		id := id.Draw(t, "id")
		name := fileName(id)
		if !plain.MatchString(name) || reserved.MatchString(name) {
			t.Fatalf("%q becomes %q", id, name)
		}
		if path := strings.Join([]string{"recordings", name, name, name, "journal.jsonl"}, "/"); len(path) > maxPath {
			t.Fatalf("%q: a path of %d bytes", id, len(path))
		}
		if other, taken := names[name]; taken && other != id {
			t.Fatalf("%q and %q become %q", id, other, name)
		}
		names[name] = id
	})
}

func TestCells(t *testing.T) {
	t.Parallel()
	for _, formula := range []string{"=1+1", "+1", "-1", "@SUM(1)", "\t=1", "\r=1", "\n=1", "＝1", "＋1", "－1", "＠1"} {
		if got := Cell(formula); got != "'"+formula {
			t.Errorf("%q becomes %q", formula, got)
		}
	}
	for _, text := range []string{"", "a=1", "5", "Zoë", "'=1", "\xff="} {
		if got := Cell(text); got != text {
			t.Errorf("%q becomes %q", text, got)
		}
	}
}
