package config

import (
	stdflag "flag"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const configurePage = "../docs/configure.md"

var update = stdflag.Bool("update", false, "write docs/configure.md anew")

// TestConfigurePage keeps docs/configure.md equal to the example file, which TestExample
// compares with the code.
func TestConfigurePage(t *testing.T) {
	text, err := os.ReadFile(example)
	if err != nil {
		t.Fatal(err)
	}
	page := pageOf(string(text))
	if *update {
		if err := os.WriteFile(configurePage, []byte(page), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(configurePage)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(page, string(got)); diff != "" {
		t.Errorf("go test ./config -run TestConfigurePage -update brings the page up to date:\n%s", diff)
	}
}

// pageOf makes a table for each section of the example file, whose comments are the text.
func pageOf(example string) string {
	var b strings.Builder
	b.WriteString("# Configuration\n\nMade from archiverd.example.yaml: `go test ./config -run TestConfigurePage -update` writes this page.\n\n")
	intro, keys, _ := strings.Cut(example, "\n\n")
	for line := range strings.Lines(intro + "\n") {
		b.WriteString(strings.TrimPrefix(strings.TrimPrefix(line, "#"), " "))
	}
	continued := regexp.MustCompile(`\n {20,}# `)
	for section := range strings.SplitSeq(strings.TrimSpace(continued.ReplaceAllString(keys, " ")), "\n\n") {
		b.WriteString(sectionOf(strings.Split(section, "\n")))
	}
	return b.String()
}

// exampleLine is a key of the example file, its value and its comment.
var exampleLine = regexp.MustCompile(`^( *(?:- )?)([a-z_]+):(?: +([^#]*?))?(?: +# (.*))?$`)

// sectionOf returns the page's part for a top-level key. lines are the key's lines in the
// example, indented by two for each mapping and list around them.
func sectionOf(lines []string) string {
	var b strings.Builder
	var path []string
	for i, line := range lines {
		m := exampleLine.FindStringSubmatch(line)
		if m == nil {
			return fmt.Sprintf("\nnot understood: %s\n", line)
		}
		depth, key, value, comment := len(m[1])/2, m[2], m[3], m[4]
		if i == 0 {
			fmt.Fprintf(&b, "\n## %s\n\n", key)
			if value == "" && comment != "" {
				fmt.Fprintf(&b, "%s\n\n", comment)
			}
			b.WriteString("| key | default | |\n|---|---|---|\n")
		}
		if strings.Contains(m[1], "-") {
			path = append(path[:1], "[]")
		}
		path = append(path[:depth], key)
		if value == "" {
			continue // a mapping or a list begins
		}
		fmt.Fprintf(&b, "| `%s` | %s |\n", strings.ReplaceAll(strings.Join(path, "."), ".[]", "[]"), cells(value, comment))
	}
	return b.String()
}

// cells returns a key's default and its meaning.
func cells(value, comment string) string {
	meaning, required := strings.CutPrefix(comment, "required")
	if !required {
		return fmt.Sprintf("`%s` | %s", value, comment)
	}
	meaning = strings.TrimLeft(meaning, ": ")
	if value != `""` && value != "[]" {
		meaning = strings.TrimPrefix(meaning+"; `"+value+"` is an example", "; ")
	}
	return "required | " + meaning
}
