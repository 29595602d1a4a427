package integration_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/archiverd/archiverd/genesys/genesystest"
	"github.com/archiverd/archiverd/storage/storagetest"
)

// policy is one of S3's, as far as the documentation's uses the language.
type policy struct {
	Statement []struct {
		Action    oneOrMore
		Resource  string
		Condition struct {
			StringLike map[string]string
		}
	}
}

// oneOrMore is a string or a list of strings.
type oneOrMore []string

func (o *oneOrMore) UnmarshalJSON(b []byte) error {
	*o = oneOrMore{""}
	if b[0] == '"' {
		return json.Unmarshal(b, &(*o)[0])
	}
	return json.Unmarshal(b, (*[]string)(o))
}

// documentedPolicy is the one that docs/install.md says to give archiverd, for the
// bucket recordings and the prefix genesys.
func documentedPolicy(t *testing.T) policy { t.Helper(); return policyIn(t, "../docs/install.md") }

// policyIn is the first policy on a page.
func policyIn(t *testing.T, page string) (p policy) {
	t.Helper()
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	before, _, found := strings.Cut(string(text), `"Version": "2012-10-17"`)
	if !found {
		t.Fatalf("%s has no policy", page)
	}
	if err := json.NewDecoder(strings.NewReader(string(text)[strings.LastIndex(before, "{"):])).Decode(&p); err != nil {
		t.Fatalf("the policy in %s: %v", page, err)
	}
	return p
}

// allows judges one request. s3:prefix is a listing's alone.
func (p policy) allows(action, resource, prefix string) bool {
	for _, s := range p.Statement {
		for _, a := range s.Action {
			if a == action && like(s.Resource, resource) && (s.Condition.StringLike == nil || like(s.Condition.StringLike["s3:prefix"], prefix)) {
				return true
			}
		}
	}
	return false
}

func like(pattern, s string) bool {
	if start, ok := strings.CutSuffix(pattern, "*"); ok {
		return strings.HasPrefix(s, start)
	}
	return s == pattern
}

// actions are what S3 asks to be allowed for a request.
func actions(r *http.Request, key string) []string {
	q := r.URL.Query()
	switch {
	case key == "" && q.Has("versioning"):
		return []string{"s3:GetBucketVersioning"}
	case key == "" && q.Has("lifecycle"):
		return []string{"s3:GetLifecycleConfiguration"}
	case key == "" && q.Has("object-lock"):
		return []string{"s3:GetBucketObjectLockConfiguration"}
	case key == "" && q.Has("uploads"):
		return []string{"s3:ListBucketMultipartUploads"}
	case key == "" && q.Has("versions"):
		return []string{"s3:ListBucketVersions"}
	case key == "":
		return []string{"s3:ListBucket"}
	case q.Has("legal-hold"):
		return []string{map[string]string{http.MethodGet: "s3:GetObjectLegalHold", http.MethodPut: "s3:PutObjectLegalHold"}[r.Method]}
	case q.Has("retention"):
		return []string{map[string]string{http.MethodGet: "s3:GetObjectRetention", http.MethodPut: "s3:PutObjectRetention"}[r.Method]}
	case r.Method == http.MethodDelete && q.Has("uploadId"):
		return []string{"s3:AbortMultipartUpload"}
	case r.Method == http.MethodDelete && r.Header.Get("X-Amz-Bypass-Governance-Retention") != "":
		return []string{"s3:DeleteObjectVersion", "s3:BypassGovernanceRetention"}
	case r.Method == http.MethodDelete && q.Has("versionId"):
		return []string{"s3:DeleteObjectVersion"}
	case r.Method == http.MethodDelete:
		return []string{"s3:DeleteObject"}
	case r.Method == http.MethodGet || r.Method == http.MethodHead:
		if q.Has("versionId") {
			return []string{"s3:GetObjectVersion"}
		}
		return []string{"s3:GetObject"}
	case r.Header.Get("X-Amz-Object-Lock-Mode") != "":
		return []string{"s3:PutObject", "s3:PutObjectRetention"}
	}
	return []string{"s3:PutObject"}
}

// under puts a policy before the world's store. refused are the actions that it did not
// allow.
func (w *world) under(p policy) (refused *sync.Map) {
	refused = &sync.Map{}
	w.between(func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			_, key, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
			resource := strings.TrimSuffix("arn:aws:s3:::recordings/"+key, "/")
			for _, a := range actions(r, key) {
				if !p.allows(a, resource, r.URL.Query().Get("prefix")) {
					refused.Store(a, true)
					deny(rw, r)
					return
				}
			}
			if r.Method != http.MethodGet && r.Method != http.MethodHead || key == "" {
				next.ServeHTTP(rw, r)
				return
			}
			reply := httptest.NewRecorder()
			next.ServeHTTP(reply, r)
			if reply.Code == http.StatusNotFound && !p.allows("s3:ListBucket", "arn:aws:s3:::recordings", "") {
				deny(rw, r) // nobody learns what is not there who may not list all that is
				return
			}
			for k, v := range reply.Header() {
				rw.Header()[k] = v
			}
			rw.WriteHeader(reply.Code)
			_, _ = rw.Write(reply.Body.Bytes())
		})
	})
	return refused
}

func deny(rw http.ResponseWriter, r *http.Request) {
	rw.Header().Set("Content-Type", "application/xml")
	rw.WriteHeader(http.StatusForbidden)
	if r.Method != http.MethodHead {
		_, _ = io.WriteString(rw, denied)
	}
}

// TestDocumentedPolicy lets archiverd do all its work with the rights that the
// documentation tells to give it, and nothing else.
func TestDocumentedPolicy(t *testing.T) {
	t.Parallel()
	w := newWorldOn(t, storagetest.Versitygw(t), genesystest.Options{})
	refused := w.under(documentedPolicy(t))
	w.deleting()
	w.lockedAs("governance")
	inbox := w.cloud.ClientInbox()
	fill(inbox, 3)
	inbox.Add(genesystest.Recording{ID: "large", Size: 12 << 20})
	ids := recordings{inbox, inbox.IDs()}
	w.once(0)
	w.cloud.Settle()
	w.once(0)
	w.wantArchived(ids)
	if left := inbox.IDs(); len(left) > 0 {
		t.Errorf("not deleted: %q", left)
	}
	w.expect(0, ordered("hold", "set", "a case", "--all")...)
	w.expect(0, ordered("hold", "release", "a case", "r000")...)
	w.expect(0, ordered("retain", "--all", "--until", "2050-01-01")...)
	w.expect(0, "export", "--all", filepath.Join(w.dir, "export"))
	w.expect(0, "verify", "--read")
	w.expect(0, "reconcile")
	w.removeLedger()
	w.expect(0, "rebuild")
	w.expect(0, "reconcile")
	refused.Range(func(action, _ any) bool { t.Errorf("was not allowed to %v", action); return true })

	w.spared(inbox)
	found := w.doctor(0)
	for name, want := range map[string]string{"store.bucket": "pass", "store.read": "pass", "store.create_only": "pass", "store.versioning": "pass", "store.hold": "pass", "store.delete_right": "pass"} {
		if found[name].Result != want {
			t.Errorf("%s: want %s, got %+v", name, want, found[name])
		}
	}
	if want := "of its manifests, journal, owners"; !strings.Contains(found["store.read"].Found, want) {
		t.Errorf("want %q: %+v", want, found["store.read"])
	}
}

// TestDoctorShowsPolicies wants doctor to print the policies of the documentation.
func TestDoctorShowsPolicies(t *testing.T) {
	t.Parallel()
	w := newWorld(t, genesystest.Options{})
	w.bucket = "recordings"
	var printed struct{ Own, Removal policy }
	if err := json.Unmarshal([]byte(w.expect(0, "doctor", "--policy", "--json").stdout), &printed); err != nil {
		t.Fatal(err)
	}
	for page, p := range map[string]policy{"../docs/install.md": printed.Own, "../docs/records.md": printed.Removal} {
		if diff := cmp.Diff(policyIn(t, page), p); diff != "" {
			t.Errorf("%s has another policy: %s", page, diff)
		}
	}
	if text := w.expect(0, "doctor", "--policy").stdout; !strings.Contains(text, "s3:DeleteObjectVersion") || !strings.Contains(text, "s3:BypassGovernanceRetention") {
		t.Errorf("printed: %s", text)
	}
}

// TestDoctorMissesRights takes one right after the other away.
func TestDoctorMissesRights(t *testing.T) {
	t.Parallel()
	server := storagetest.Versitygw(t)
	before := newWorldOn(t, server, genesystest.Options{})
	fill(before.cloud.ClientInbox(), 1)
	before.once(0)
	for action, c := range map[string]struct {
		check, result string
		code          int
	}{
		"s3:ListBucket":                 {"store.bucket", "fail", 2},
		"s3:GetObject":                  {"store.read", "fail", 2},
		"s3:PutObjectLegalHold":         {"store.hold", "warn", 0},
		"s3:ListBucketMultipartUploads": {"store.unfinished_uploads", "warn", 0},
	} {
		t.Run(action, func(t *testing.T) {
			t.Parallel()
			w := newWorldOn(t, server, genesystest.Options{})
			w.bucket = before.bucket
			p := documentedPolicy(t)
			for i, s := range p.Statement {
				p.Statement[i].Action = slices.DeleteFunc(s.Action, func(a string) bool { return a == action })
			}
			w.under(p)
			if f := w.doctor(c.code)[c.check]; f.Result != c.result || !strings.Contains(f.Remedy, action) {
				t.Errorf("want %s to %s for want of %s: %+v", c.check, c.result, action, f)
			}
		})
	}
}

// TestRemovalPolicy lets erase do its work with the rights of the two documented policies,
// and shows that archiverd's own do not suffice.
func TestRemovalPolicy(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		page string
		code int
	}{"archiverd's": {"../docs/install.md", 2}, "the removal's": {"../docs/records.md", 0}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorldOn(t, storagetest.Versitygw(t), genesystest.Options{})
			p := documentedPolicy(t)
			p.Statement = append(p.Statement, policyIn(t, c.page).Statement...)
			refused := w.under(p)
			fill(w.cloud.ClientInbox(), 1)
			w.once(0)
			w.expect(c.code, append(ordered("erase", "r000"), "--authority", "x", "--credentials", w.removalFile())...)
			if c.code == 0 {
				refused.Range(func(action, _ any) bool { t.Errorf("was not allowed to %v", action); return true })
			}
		})
	}
}
