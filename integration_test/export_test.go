package integration_test

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/google/go-cmp/cmp"

	"github.com/archiverd/archiverd/genesys/genesystest"
	"github.com/archiverd/archiverd/storage/storagetest"
)

// exported wants an export that sha256sum accepts, and returns its table without the
// header.
func (w *world) exported(dir string) [][]string {
	w.Helper()
	c := exec.Command("sha256sum", "-c", "--quiet", "--strict", "SHA256SUMS")
	c.Dir = dir
	if out, err := c.CombinedOutput(); err != nil {
		w.Fatalf("sha256sum: %v\n%s", err, out)
	}
	sums, err := os.ReadFile(filepath.Join(dir, "SHA256SUMS"))
	if err != nil {
		w.Fatal(err)
	}
	var named, there []string
	for line := range strings.Lines(string(sums)) {
		named = append(named, strings.TrimSpace(line[66:]))
	}
	err = filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if name, _ := filepath.Rel(dir, path); err == nil && !d.IsDir() && name != "SHA256SUMS" {
			there = append(there, filepath.ToSlash(name))
		}
		return err
	})
	slices.Sort(named)
	slices.Sort(there)
	if err != nil || !slices.Equal(named, there) {
		w.Fatalf("SHA256SUMS names %q, the folder has %q (%v)", named, there, err)
	}
	table, err := os.ReadFile(filepath.Join(dir, "index.csv"))
	if err != nil {
		w.Fatal(err)
	}
	lines, err := csv.NewReader(bytes.NewReader(bytes.TrimPrefix(table, []byte("\ufeff")))).ReadAll()
	if err != nil || len(lines) == 0 || lines[0][0] != "recording" {
		w.Fatalf("index.csv: %v, %v", lines, err)
	}
	return lines[1:]
}

func (w *world) fileText(path ...string) string {
	w.Helper()
	text, err := os.ReadFile(filepath.Join(path...))
	if err != nil {
		w.Fatal(err)
	}
	return string(text)
}

// wantPlays presses each play button of the page in a browser, and wants the sound that it
// names: loaded, of a duration, and its row marked.
func (w *world) wantPlays(dir string) {
	w.Helper()
	const press = `<script>(async () => {
  const player = document.getElementById("player"), heard = [];
  for (const b of document.querySelectorAll(".play")) {
    const end = new Promise((done) => ["loadeddata", "error"].forEach((e) => player.addEventListener(e, done, {once: true})));
    b.click();
    const e = await end;
    heard.push(e.type + " " + (player.duration > 0) + " " + b.closest("tr").matches(".playing") + " " + !player.closest("footer").hidden);
  }
  document.getElementById("shown").textContent = "heard " + heard.join(", ") + ".";
})();</script>`
	page := filepath.Join(dir, "press.html")
	if err := os.WriteFile(page, []byte(w.fileText(dir, "index.html")+press), 0o600); err != nil {
		w.Fatal(err)
	}
	defer os.Remove(page)
	dom, _ := w.look("file://"+page, 20_000, "--autoplay-policy=no-user-gesture-required")
	w.wantText(dom, "heard loadeddata true true true, loadeddata true true true, loadeddata true true true, loadeddata true true true.")
}

// TestExport wants every file of the selected recordings, and nothing of others: from the
// ledger, from a service's ledger, and from the archive alone, as a folder and as a zip
// file.
func TestExport(t *testing.T) {
	t.Parallel()
	for name, server := range map[string]func(testing.TB) *storagetest.Server{"versitygw": storagetest.Versitygw, "MinIO": storagetest.MinIO} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorldOn(t, server(t), genesystest.Options{})
			w.daily()
			inbox := w.cloud.ClientInbox()
			inbox.Add(genesystest.Recording{
				ID: "in", Name: "=1+1</td><script>alert(1)</script>", ConversationID: "case-1", Size: 9 << 20,
				Participants: []any{map[string]any{"userId": "u1", "name": "<b>Eve</b>", "address": "tel:+4989123"}},
			})
			inbox.Add(genesystest.Recording{ID: "con", ConversationID: "case-1"})
			inbox.Add(genesystest.Recording{ID: "../A b", ConversationID: "case-1"})
			inbox.Add(genesystest.Recording{ID: "other", ConversationID: "case-2"})
			w.once(0)
			first := w.expect(0, "get", "in", "-o", "-").stdout
			inbox.Change("in")
			w.once(0)

			dir := filepath.Join(w.dir, "export")
			w.expect(0, "export", "--conversation", "case-1", "--by", "Ann", dir)
			lines := w.exported(dir)
			var have []string
			for _, l := range lines {
				have = append(have, l[0]+" "+l[11]+" "+l[19])
				if media := w.fileText(dir, l[13]); l[0] == "in" && l[11] == "1" {
					if media != first {
						t.Error("the first version is not the one archived first")
					}
				} else {
					w.wantBytes([]byte(media), inbox, l[0])
				}
				if manifest := w.fileText(dir, l[16]); !strings.Contains(manifest, l[15]) {
					t.Errorf("the manifest does not name the media: %s", manifest)
				}
				if journal := w.fileText(dir, l[17]); !strings.Contains(journal, `"to":"archived"`) {
					t.Errorf("the journal does not tell of the archiving: %s", journal)
				}
			}
			if want := []string{"in 1 ", "in 2 ", "con 1 ", "../A b 1 "}; !slices.Equal(have, want) {
				t.Errorf("the table has %q, want %q", have, want)
			}
			if lines[0][7] != "'=1+1</td><script>alert(1)</script>" {
				t.Errorf("a spreadsheet would run %q", lines[0][7])
			}
			if page := w.fileText(dir, "index.html"); strings.Contains(page, "<script>alert") || !strings.Contains(page, "&lt;b&gt;Eve") {
				t.Errorf("the page does not escape names: %s", page)
			}
			if dom, _ := w.look("file://"+dir+"/index.html", 1000); !strings.Contains(read(dom), "3 of 3 recordings") {
				t.Errorf("the page does not count its recordings: %s", read(dom))
			}
			w.wantPlays(dir)
			for _, l := range lines {
				for _, part := range strings.Split(l[13], "/") {
					if strings.Trim(part, "abcdefghijklmnopqrstuvwxyz0123456789-_.%") != "" || part == "con" {
						t.Errorf("not a name for every file system: %q", l[13])
					}
				}
			}
			if said := w.fileText(dir, "statement.txt"); !strings.Contains(said, "By:       Ann") || !strings.Contains(said, "--conversation=case-1") || !strings.Contains(said, "  nothing\n") {
				t.Errorf("the statement says %s", said)
			}
			w.expect(2, "export", "--conversation", "case-1", dir) // complete
			w.expect(2, "export", dir)                             // nothing is selected
			none := filepath.Join(w.dir, "none")
			w.expect(2, "export", "unknown", none)
			w.expect(2, "export", "unknown", none+".zip")
			w.expect(2, "export", "--conversation", "unknown", "--from-archive", none)
			if found, err := filepath.Glob(none + "*"); err != nil || found != nil {
				t.Errorf("an export of nothing left %q, %v", found, err)
			}

			// The same from a zip file, of the archive alone.
			file := filepath.Join(w.dir, "export.zip")
			w.expect(0, "export", "--conversation", "case-1", "--from-archive", file)
			unzipped := filepath.Join(w.dir, "unzipped")
			if out, err := exec.Command("unzip", "-q", file, "-d", unzipped).CombinedOutput(); err != nil {
				t.Fatalf("unzip: %v\n%s", err, out)
			}
			if again := w.exported(unzipped); !cmp.Equal(again, lines) {
				t.Errorf("the archive alone gives another table: %s", cmp.Diff(lines, again))
			}

			// And while a service holds the ledger.
			p := w.start("run")
			w.awaitLog(p, "archiverd starts", 1)
			served := filepath.Join(w.dir, "served")
			w.expect(0, "export", "--conversation", "case-1", served)
			w.ends(p)
			if again := w.exported(served); !cmp.Equal(again, lines) {
				t.Errorf("the service's ledger gives another table: %s", cmp.Diff(lines, again))
			}
		})
	}
}

// TestExportTells wants what is missing, altered, or never was in the archive, told in the
// statement, and everything else exported. Its bucket has no versions, in which the
// archived bytes would survive.
func TestExportTells(t *testing.T) {
	t.Parallel()
	w := newWorldOn(t, storagetest.Versitygw(t), genesystest.Options{})
	w.bucket = w.s3.NewBucket(t, false)
	inbox := w.cloud.ClientInbox()
	fill(inbox, 4)
	w.cloud.Inject(genesystest.Fault{Op: opLink, Recording: "r003", Times: genesystest.Always, Effect: genesystest.HTML(200)})
	w.once(3)
	all := []string{"--all", filepath.Join(w.dir, "incomplete")}
	if r := w.expect(3, append([]string{"export"}, all...)...); !strings.Contains(r.stdout, "3 of 4 recordings") {
		t.Errorf("not said: %s", r)
	}
	w.exported(all[1])
	a := w.wantArchived(some(inbox, "r000", "r001", "r002"))
	altered, removed := a.of(inbox, "r000")[0].Media.Key, a.of(inbox, "r001")[0].Media.Key
	w.put(altered, []byte("something else"))
	if _, err := w.s3.Client().DeleteObject(w.Context(), &s3.DeleteObjectInput{Bucket: &w.bucket, Key: &removed}); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(w.dir, "export")
	var would struct{ Selected, Archived int }
	if err := json.Unmarshal([]byte(w.expect(0, "export", "--all", "--dry-run", "--json", dir).stdout), &would); err != nil || would.Selected != 4 || would.Archived != 3 {
		t.Errorf("would export %+v, %v", would, err)
	}
	if _, err := os.Stat(dir); err == nil {
		t.Error("--dry-run made a folder")
	}
	w.expect(6, "export", "--all", dir)
	lines := w.exported(dir)
	said := w.fileText(dir, "statement.txt")
	for _, want := range []string{"r000: " + altered + ": its bytes have the SHA-256", "r001: " + removed + " is missing", "r003: could not be archived yet", "1 are here whole, 3 lack something"} {
		if !strings.Contains(said, want) {
			t.Errorf("%q is not said: %s", want, said)
		}
	}
	for i, l := range lines {
		if there := l[13] != ""; there != (i == 2) {
			t.Errorf("media of %s: %q", l[0], l[13])
		}
	}
	if left, err := filepath.Glob(filepath.Join(dir, "recordings", "*", "*", "r000", "*wav*")); err != nil || len(left) > 0 {
		t.Errorf("altered media are in the export: %q, %v", left, err)
	}
}

// TestExportGoesOn wants an export that was killed to go on where it was: files that are
// right are not fetched again, half ones and those of recordings that are not exported any
// more are gone.
func TestExportGoesOn(t *testing.T) {
	t.Parallel()
	w := newWorldOn(t, storagetest.Versitygw(t), genesystest.Options{})
	inbox := w.cloud.ClientInbox()
	fill(inbox, 3)
	tap := w.tapped()
	w.once(0)
	dir := filepath.Join(w.dir, "export")
	w.expect(0, "export", "--all", dir)
	lines := w.exported(dir)
	tap.gets("/media/")

	// What a kill leaves: no sums, a half file, and perhaps files of an earlier selection.
	stray := filepath.Join(dir, "recordings", "acme", "gone")
	if err := errors.Join(
		os.Remove(filepath.Join(dir, "SHA256SUMS")), os.Remove(filepath.Join(dir, lines[0][13])), os.WriteFile(filepath.Join(dir, lines[1][13]), []byte("other"), 0o600),
		os.WriteFile(filepath.Join(dir, lines[0][13]+".part1"), []byte("half"), 0o600), os.WriteFile(filepath.Join(dir, "index.csv.part2"), []byte("half"), 0o600),
		os.Mkdir(stray, 0o700), os.WriteFile(filepath.Join(stray, "1.wav"), []byte("old"), 0o600),
	); err != nil {
		t.Fatal(err)
	}
	w.expect(2, "export", "r000", dir) // another selection
	w.expect(0, "export", "--all", dir)
	if again := w.exported(dir); !cmp.Equal(again, lines) {
		t.Errorf("it went on to another table: %s", cmp.Diff(lines, again))
	}
	if n := tap.gets("/media/"); n != 2 {
		t.Errorf("%d media were fetched, want the two that were not there", n)
	}
}
