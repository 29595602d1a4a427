package integration_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/archiverd/archiverd/genesys/genesystest"
	"github.com/archiverd/archiverd/storage/storagetest"
)

// TestReportsAtOnce has a Pushgateway and a monitor that answer only once both were
// asked.
func TestReportsAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, genesystest.Options{})
	fill(w.cloud.ClientInbox(), 1)
	var both sync.WaitGroup
	both.Add(2)
	watcher := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		both.Done()
		both.Wait()
	}))
	t.Cleanup(watcher.Close)
	w.config["metrics"] = map[string]any{"push_url": watcher.URL}
	w.config["heartbeat_url"] = watcher.URL + "/ping"
	w.config["report_timeout"] = "1m"
	if r := w.once(0); strings.Contains(r.stderr, "no metrics are pushed") || strings.Contains(r.stderr, "no heartbeat is sent") {
		t.Errorf("one waited for the other: %s", r)
	}
}

// hung is a server that takes requests and answers none.
func (w *world) hung() string {
	w.Helper()
	end := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-end }))
	w.Cleanup(func() {
		close(end)
		s.Close()
	})
	return s.URL
}

// TestHungWatchers wants a run to leave a Pushgateway and a monitor that do not answer,
// and the doctor to find them, without a secret in their addresses.
func TestHungWatchers(t *testing.T) {
	t.Parallel()
	w := newWorldOn(t, storagetest.Versitygw(t), genesystest.Options{})
	fill(w.cloud.ClientInbox(), 1)
	w.config["metrics"] = map[string]any{"push_url": strings.Replace(w.hung(), "//", "//user:hunter2@", 1)}
	w.config["heartbeat_url"] = w.hung() + "/ping/hunter2"
	w.config["report_timeout"] = "1s"
	r := w.once(0)
	for _, sending := range []string{"no metrics are pushed", "no heartbeat is sent"} {
		if !strings.Contains(r.stderr, sending) {
			t.Errorf("%q is not said: %s", sending, r)
		}
	}
	const why = "no answer within 1s (report_timeout)"
	if strings.Count(r.stderr, why) != 2 || strings.Contains(r.stderr, "hunter2") {
		t.Errorf("%q is not said twice, or a secret is: %s", why, r)
	}
	found := w.doctor(0)
	for _, name := range []string{"metrics.push", "heartbeat"} {
		if f := found[name]; f.Result != "warn" || !strings.Contains(f.Found, why) || strings.Contains(f.Found+f.Remedy, "hunter2") {
			t.Errorf("%s: %+v", name, f)
		}
	}
}

// TestDoctorAsksWatchers wants each answer told apart, and neither a heartbeat nor
// metrics sent by the doctor.
func TestDoctorAsksWatchers(t *testing.T) {
	t.Parallel()
	server := storagetest.Versitygw(t)
	for status, want := range map[int]string{200: "pass", 401: "warn", 404: "unchecked", 503: "warn"} {
		w := newWorldOn(t, server, genesystest.Options{})
		watcher := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			user, password, _ := r.BasicAuth()
			switch asked := r.Method + " " + r.URL.Path + " " + user + ":" + password; asked {
			case "GET /base/-/ready user:hunter2":
				rw.WriteHeader(status)
			case "GET / :":
			default:
				t.Errorf("the doctor asks %s", asked)
			}
		}))
		t.Cleanup(watcher.Close)
		w.config["metrics"] = map[string]any{"push_url": strings.Replace(watcher.URL, "//", "//user:hunter2@", 1) + "/base", "textfile": filepath.Join(w.dir, "archiverd.prom")}
		w.config["heartbeat_url"] = watcher.URL + "/ping/me?secret=1"
		found := w.doctor(0)
		if found["metrics.push"].Result != want || found["heartbeat"].Result != "pass" || found["metrics.textfile"].Result != "pass" {
			t.Errorf("%d: %+v %+v %+v", status, found["metrics.push"], found["heartbeat"], found["metrics.textfile"])
		}
	}
}

// TestMetricsFileRefused wants a file that can't be written to be named with what to do,
// by the run, which it does not change, and by the doctor before it.
func TestMetricsFileRefused(t *testing.T) {
	t.Parallel()
	server := storagetest.Versitygw(t)
	folder := func(w *world, mode os.FileMode) string {
		dir := filepath.Join(w.dir, "metrics")
		if err := errors.Join(os.Mkdir(dir, 0o755), os.Chmod(dir, mode)); err != nil {
			t.Fatal(err)
		}
		return filepath.Join(dir, "archiverd.prom")
	}
	type refused struct {
		file func(*world) string
		want string
	}
	cases := map[string]refused{
		"no folder":        {func(w *world) string { return filepath.Join(w.dir, "no", "such", "archiverd.prom") }, "its folder does not exist"},
		"another's folder": {func(w *world) string { return folder(w, 0o555) }, "belongs to another user"},
		"a folder": {func(w *world) string {
			file := folder(w, 0o777)
			if err := os.Mkdir(file, 0o777); err != nil {
				t.Fatal(err)
			}
			return file
		}, "the path is a folder"},
	}
	if os.Getuid() == 0 { // only root can make a file for another user
		cases["another's file in a folder for all"] = refused{func(w *world) string {
			file := folder(w, 0o777|os.ModeSticky)
			if err := os.WriteFile(file, nil, 0o644); err != nil {
				t.Fatal(err)
			}
			return file
		}, "belongs to another user"}
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorldOn(t, server, genesystest.Options{})
			fill(w.cloud.ClientInbox(), 1)
			file := c.file(w)
			w.config["metrics"] = map[string]any{"textfile": file}
			w.asNobody()
			if f := w.doctor(0)["metrics.textfile"]; f.Result != "warn" || !strings.HasPrefix(f.Found, "could not write the metrics file "+file+": ") || !strings.Contains(f.Found, c.want) {
				t.Errorf("the doctor finds %+v", f)
			}
			if r := w.once(0); strings.Count(r.stderr, "could not write the metrics file") != 1 || !strings.Contains(r.stderr, file+": ") || !strings.Contains(r.stderr, c.want) {
				t.Errorf("want %q: %s", c.want, r)
			}
		})
	}
}

// asNobody has archiverd run as somebody to whom modes and owners count.
func (w *world) asNobody() {
	w.Helper()
	if os.Getuid() != 0 {
		return
	}
	const nobody = 65534
	w.writeConfig()
	err := errors.Join(os.Chown(w.dir, nobody, nobody), os.Chown(w.configPath(), nobody, nobody), os.Chmod(filepath.Dir(w.dir), 0o755))
	if err != nil {
		w.Fatal(err)
	}
	w.as = &syscall.Credential{Uid: nobody, Gid: nobody}
}
