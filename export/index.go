package export

import (
	"embed"
	"encoding/csv"
	"errors"
	"fmt"
	"html/template"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/archiverd/archiverd/proof"
	"github.com/archiverd/archiverd/record"
)

//go:embed page
var pages embed.FS

// index writes the files that tell of all recordings, while the recordings are exported.
type index struct {
	page, table, statement, sums *summed
	rows                         *csv.Writer
	html                         *template.Template
	lacking                      bool
}

// summed is an open file with the hash of what was written.
type summed struct {
	file
	name string
	sum  *proof.Digest
}

func (s *summed) Write(p []byte) (int, error) {
	_, _ = s.sum.Write(p) // never fails
	return s.file.Write(p)
}

// about is what page and statement say of the export itself.
type about struct {
	*Options
	Result *Result
}

var columns = []string{
	"recording", "organization", "inbox", "user", "state", "created", "duration_ms", "name", "conversation", "participants", "cases",
	"version", "archived_at", "media_file", "media_bytes", "media_sha256", "manifest_file", "journal_file", "media_in_doubt", "not_in_the_export",
}

func newIndex(to Destination, o *Options) (*index, error) {
	x := &index{html: template.Must(template.New("").Funcs(template.FuncMap{
		"bytes": people,
		"stamp": stamp,
		"next":  func(i int) int { return i + 1 },
		"url":   func(name string) string { return strings.ReplaceAll(name, "%", "%25") }, // the name has no other character that a URL escapes
	}).ParseFS(pages, "page/*"))}
	for name, f := range map[string]**summed{pageName: &x.page, tableName: &x.table, statementName: &x.statement, sumsName: &x.sums} {
		made, err := to.create(name)
		if err != nil {
			return nil, errors.Join(&writeError{err}, x.drop())
		}
		*f = &summed{made, name, proof.NewDigest()}
	}
	_, err := io.WriteString(x.table, "\ufeff") // spreadsheets take a table without it for one of their own character set
	x.rows = csv.NewWriter(x.table)
	err = errors.Join(err, x.rows.Write(columns), x.html.ExecuteTemplate(x.page, "head.html", about{o, nil}), x.said("%s", header(o)))
	if err != nil {
		return nil, errors.Join(&writeError{err}, x.drop())
	}
	selection := proof.NewDigest()
	_, _ = io.WriteString(selection, o.Selection+"\n") // never fails
	return x, x.line(fileRef{Name: selectionName, SHA256: selection.Hex()})
}

// header begins the statement.
func header(o *Options) string {
	return fmt.Sprintf(`This is an export of recordings from an archive.

Selected: %s
By:       %s
At:       %s
From:     %s
With:     archiverd %s

Every file was compared with its SHA-256 while it was copied. To compare again, run
sha256sum -c SHA256SUMS in this folder. index.html shows the recordings; index.csv is the
same as a table.

Not in this export:
`, flat(o.Selection), flat(o.By), o.At.UTC().Format(time.RFC3339), flat(o.Source), o.Version)
}

// flat makes a text fit for one line.
func flat(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, s)
}

func (x *index) said(format string, args ...any) error {
	_, err := fmt.Fprintf(x.statement, format, args...)
	return err
}

// lack tells in the statement what is not in the export.
func (x *index) lack(what, why string) error {
	x.lacking = true
	return x.said("  %s: %s\n", flat(what), flat(why))
}

func (x *index) line(f fileRef) error {
	if f.Name == "" {
		return nil
	}
	_, err := fmt.Fprintf(x.sums, "%s  %s\n", f.SHA256, f.Name)
	return err
}

// add writes a recording into all files of the index.
func (x *index) add(r *row) error {
	err := x.line(r.Journal)
	for _, v := range r.Versions {
		if !v.shared {
			err = errors.Join(err, x.line(v.Media))
		}
		err = errors.Join(err, x.line(v.Manifest))
	}
	if r.Lacks != "" {
		err = errors.Join(err, x.lack(r.Org+"/"+r.Inbox+"/"+r.Recording, r.Lacks))
	}
	err = errors.Join(err, x.html.ExecuteTemplate(x.page, "row.html", r), x.tabulate(r))
	if err != nil {
		return &writeError{err}
	}
	return nil
}

// tabulate writes a line for each version into the table; one for a recording without any.
func (x *index) tabulate(r *row) error {
	versions := r.Versions
	if len(versions) == 0 {
		versions = []version{{}}
	}
	for i, v := range versions {
		number, archived, size := "", "", ""
		if len(r.Versions) > 0 {
			number, archived = strconv.Itoa(i+1), v.ArchivedAt.UTC().Format(time.RFC3339)
		}
		if v.Media.Name != "" {
			size = strconv.FormatInt(v.Media.Size, 10)
		}
		line := []string{
			r.Recording, r.Org, r.Inbox, r.User, string(r.State), r.Created, strconv.FormatInt(r.Duration.Milliseconds(), 10), r.Name, r.Conversation,
			People(r.Participants), strings.Join(r.Cases, "; "),
			number, archived, v.Media.Name, size, v.Media.SHA256, v.Manifest.Name, r.Journal.Name, v.Doubt, r.Lacks,
		}
		for i := range line {
			line[i] = Cell(line[i])
		}
		if err := x.rows.Write(line); err != nil {
			return err
		}
	}
	return nil
}

// journalFaults tells what is wrong with an inbox's journal.
func (x *index) journalFaults(org, inbox string, faults []record.JournalFault, r *Result) error {
	r.Journals += int64(len(faults))
	for _, f := range faults {
		if err := x.lack("the journal of "+org+"/"+inbox, fmt.Sprintf("%s is %s: %s", f.Key, f.Kind, f.Detail)); err != nil {
			return &writeError{err}
		}
	}
	return nil
}

// end completes the files; the sums come last.
func (x *index) end(r *Result) error {
	x.rows.Flush()
	err := errors.Join(x.rows.Error(), x.html.ExecuteTemplate(x.page, "tail.html", about{nil, r}))
	if !x.lacking {
		err = errors.Join(err, x.said("  nothing\n"))
	}
	err = errors.Join(err, x.said("\n%d recordings were selected. %d are here whole, %d lack something.\nFiles of media: %d, of %d bytes in all.\n", r.Selected, r.Exported, r.Lacking, r.Files, r.Bytes))
	for _, f := range []*summed{x.page, x.table, x.statement} {
		err = errors.Join(err, x.line(fileRef{Name: f.name, SHA256: f.sum.Hex()}))
	}
	if err != nil {
		return errors.Join(&writeError{err}, x.drop())
	}
	for i, f := range []*summed{x.page, x.table, x.statement, x.sums} {
		if err := f.Keep(); err != nil {
			for _, rest := range []*summed{x.page, x.table, x.statement, x.sums}[i+1:] {
				err = errors.Join(err, rest.Drop())
			}
			return &writeError{err}
		}
	}
	return nil
}

// drop removes the unfinished files.
func (x *index) drop() (err error) {
	for _, f := range []*summed{x.page, x.table, x.statement, x.sums} {
		if f != nil {
			err = errors.Join(err, f.Drop())
		}
	}
	return err
}

// stamp prints a time of Genesys' to the second, in UTC. One that can't be read stays.
func stamp(s string) string {
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return s
	}
	return t.UTC().Format(time.DateTime)
}

// people prints a size for people.
func people(n int64) string {
	const unit = 1024
	value, prefix := float64(n), -1
	for ; value >= unit && prefix < len("KMGTP")-1; prefix++ {
		value /= unit
	}
	if prefix < 0 {
		return fmt.Sprintf("%d B", n)
	}
	return fmt.Sprintf("%.1f %ciB", value, "KMGTP"[prefix])
}
