package main

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/archiverd/archiverd/genesys/genesystest"
	"github.com/archiverd/archiverd/state/postgres/postgrestest"
	"github.com/archiverd/archiverd/storage"
)

const (
	crewSize = 3
	// killed is the number of the worker that is killed, and stored how many recordings of
	// each inbox are in the bucket by then.
	killed = 2
	stored = 4
	// workersTimeout ends a demonstration that hangs.
	workersTimeout = 2 * time.Minute
)

// showWorkers lets three processes share six inboxes, kills one of them, and checks what
// the others make of it.
func (d *demonstration) showWorkers(ctx context.Context) error {
	server, err := postgrestest.Start()
	if err != nil {
		return err
	}
	defer server.Close()
	if err := server.Exec(ctx, "postgres", "create database archiverd"); err != nil {
		return err
	}
	fmt.Printf(`Three archiverd share one ledger and the work. The ledger is in PostgreSQL, in
%s, a folder that is removed at the end.
Six users have %d recordings each.

`, server.Dir, recordings)
	c := &crew{demonstration: d, told: make(chan line), at: map[string]int{}, took: map[string][]string{}}
	if err := c.prepare(server.URL("archiverd")); err != nil {
		return err
	}
	if err := d.step("The tables of the ledger", "migrate"); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, workersTimeout)
	defer c.running.Wait()
	defer cancel()
	if err := c.work(ctx); err != nil {
		return err
	}
	return c.check(ctx)
}

// crew are the processes at work. One goroutine uses it.
type crew struct {
	*demonstration
	inboxes []*genesystest.Inbox
	began   time.Time
	workers []*exec.Cmd
	running sync.WaitGroup      // the workers, until the context ends that they were started with
	told    chan line           // of the workers' logs
	at      map[string]int      // who works on an inbox at the moment
	took    map[string][]string // who has worked on an inbox, in order
	ended   bool                // the run
	died    time.Time           // when a worker was killed
	gone    int                 // workers that have ended
}

// line is a line of a worker's log.
type line struct {
	worker     int
	Msg, Inbox string
	Archived   int
	ExitCode   int `json:"exit_code"`
}

// processEnded is the last line of a worker. It is not in the log.
const processEnded = "process ended"

// prepare makes the users and the configuration. The users' tokens come from a command,
// which finds them in files.
func (c *crew) prepare(database string) error {
	c.cloud.Configure(func(o *genesystest.Options) { o.Queued = 0 })
	dir := filepath.Dir(c.config)
	var roster strings.Builder
	for n, name := range []string{"anna", "ben", "cleo", "dora", "emil", "finn"} {
		in := c.cloud.AddUser(name, strings.ToUpper(name[:1])+name[1:], name+"@example.com")
		fill(in, n)
		// The media of an inbox stop at some point, so that the kill comes in the middle.
		c.cloud.Inject(genesystest.Fault{Op: "media_link", Inbox: name, Skip: stored, Times: genesystest.Always, Effect: c.cloud.Stall()})
		c.inboxes = append(c.inboxes, in)
		fmt.Fprintf(&roster, "%s,%s\n", in.ID, in.Email)
		token := fmt.Sprintf(`{"access_token": %q, "expires_in": 3600}`, in.IssueAccessToken(time.Hour))
		if err := os.WriteFile(filepath.Join(dir, name+".token"), []byte(token), 0o600); err != nil {
			return err
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "roster.csv"), []byte(roster.String()), 0o600); err != nil {
		return err
	}
	return c.writeConfig(fmt.Sprintf(`grant: command
    token_command: [/bin/sh, -c, "cat %s/$0.token"]
    roster_file: roster.csv`, dir), fmt.Sprintf(`state:
  url: %s
  claim: 10s         # how long a worker that died keeps its inboxes
passes: 2            # inboxes that a worker takes at a time
http: {listen: ""}   # workers on one machine can't share a port
log: {format: json, level: debug}`, database))
}

// work starts the workers, kills one, and waits until the others have ended the run.
func (c *crew) work(ctx context.Context) error {
	fmt.Printf("\n# Three times archiverd run; seconds since the start\n\n")
	c.began = time.Now()
	for range crewSize {
		if err := c.start(ctx); err != nil {
			return err
		}
	}
	err := c.until(ctx, fmt.Sprintf("all inboxes have %d recordings in the bucket", stored), func() (bool, error) {
		n, err := c.manifests(ctx)
		return n == stored*len(c.inboxes) && len(c.at) == len(c.inboxes), err
	})
	if err != nil {
		return err
	}
	c.say("each worker has two inboxes; of each, %d of %d recordings are archived", stored, recordings)
	if err := c.kill(); err != nil {
		return err
	}
	c.cloud.Release()
	if err := c.until(ctx, "the run has ended", func() (bool, error) { return c.ended, nil }); err != nil {
		return err
	}
	c.say("the run has ended: every inbox was worked on to its end")
	return c.dismiss(ctx)
}

// start starts a worker. Its log is told line by line.
func (c *crew) start(ctx context.Context) error {
	n := len(c.workers) + 1
	w := exec.CommandContext(ctx, c.binary, "run", "--config", c.config)
	log, err := w.StderrPipe()
	if err != nil {
		return err
	}
	if err := w.Start(); err != nil {
		return err
	}
	c.workers = append(c.workers, w)
	c.say("worker %d starts: process %d", n, w.Process.Pid)
	tell := func(l line) {
		l.worker = n
		select {
		case c.told <- l:
		case <-ctx.Done():
		}
	}
	c.running.Go(func() {
		for lines := bufio.NewScanner(log); lines.Scan(); {
			var l line
			if json.Unmarshal(lines.Bytes(), &l) == nil { // a killed worker may leave half a line
				tell(l)
			}
		}
		_ = w.Wait() // how it ended is in ProcessState
		tell(line{Msg: processEnded})
	})
	return nil
}

// until shows what the workers do until the condition holds.
func (c *crew) until(ctx context.Context, what string, holds func() (bool, error)) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		if ok, err := holds(); ok || err != nil {
			return err
		}
		select {
		case l := <-c.told:
			if err := c.show(l); err != nil {
				return err
			}
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("wait until %s: %w", what, ctx.Err())
		}
	}
}

// show shows a line of a worker's log, if it is one of those that matter here.
func (c *crew) show(l line) error {
	name := fmt.Sprint("worker ", l.worker)
	switch l.Msg {
	case "works on the inbox":
		if c.at[l.Inbox] == killed && !c.died.IsZero() {
			c.say("%s takes %s over, %.1f s after the kill", name, l.Inbox, time.Since(c.died).Seconds())
		} else {
			c.say("%s takes %s", name, l.Inbox)
		}
		c.at[l.Inbox] = l.worker
		c.took[l.Inbox] = append(c.took[l.Inbox], fmt.Sprint(l.worker))
	case "pass done":
		c.say("%s has finished %s: %d archived", name, l.Inbox, l.Archived)
	case "run done":
		c.ended = true
		if l.ExitCode != 0 {
			return fmt.Errorf("the run ended with exit code %d", l.ExitCode)
		}
	case processEnded:
		c.gone++
		if code := c.workers[l.worker-1].ProcessState.ExitCode(); code != 0 && l.worker != killed {
			return fmt.Errorf("%s ended with exit code %d", name, code)
		}
	}
	return nil
}

func (c *crew) say(format string, args ...any) {
	fmt.Printf("  %5.1f s  %s\n", time.Since(c.began).Seconds(), fmt.Sprintf(format, args...))
}

// kill kills a worker as a power failure would.
func (c *crew) kill() error {
	var left []string
	for _, in := range c.inboxes {
		if c.at[in.ID] == killed {
			left = append(left, in.ID)
		}
	}
	if len(left) == 0 {
		return fmt.Errorf("worker %d has no inbox", killed)
	}
	if err := c.workers[killed-1].Process.Kill(); err != nil {
		return err
	}
	c.died = time.Now()
	names := strings.Join(left, " and ")
	c.say("worker %d is killed (signal 9), in the middle of %s", killed, names)
	c.say("until its claims run out, nobody else may touch %s", names)
	return nil
}

// dismiss tells the workers that are left to stop.
func (c *crew) dismiss(ctx context.Context) error {
	for i, w := range c.workers {
		if i == killed-1 {
			continue
		}
		if err := w.Process.Signal(syscall.SIGTERM); err != nil {
			return err
		}
	}
	return c.until(ctx, "the workers have ended", func() (bool, error) { return c.gone == crewSize, nil })
}

// manifests counts those in the bucket.
func (c *crew) manifests(ctx context.Context) (n int, err error) {
	b, err := storage.Open(ctx, c.s3.Options("recordings"))
	if err != nil {
		return 0, err
	}
	for _, err := range b.List(ctx, "genesys/manifests/") {
		if err != nil {
			return 0, err
		}
		n++
	}
	return n, nil
}

// check compares the bucket with what Genesys served.
func (c *crew) check(ctx context.Context) error {
	fmt.Printf("\n# Is every recording in the bucket, once and exact?\n\n")
	b, err := storage.Open(ctx, c.s3.Options("recordings"))
	if err != nil {
		return err
	}
	out := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(out, "    INBOX\tRECORDINGS\tMEDIA\tEXACT\tMANIFESTS\tWORKED ON BY")
	wrong := 0
	for _, in := range c.inboxes {
		f, err := c.look(ctx, b, in)
		if err != nil {
			return err
		}
		if f != (found{recordings, recordings, recordings}) {
			wrong++
		}
		fmt.Fprintf(out, "    %s\t%d\t%d\t%d\t%d\tworker %s\n", in.ID, len(in.IDs()), f.media, f.exact, f.manifests, strings.Join(c.took[in.ID], ", then "))
	}
	if err := out.Flush(); err != nil {
		return err
	}
	if wrong > 0 || len(c.cloud.Violations()) > 0 {
		return fmt.Errorf("inboxes that are not archived as they should be: %d; rules of Genesys that were broken: %q", wrong, c.cloud.Violations())
	}
	fmt.Printf("\nYes: all %d of them, although worker %d died.\n", recordings*len(c.inboxes), killed)
	return nil
}

// found is what the bucket has of an inbox: objects, recordings whose only media are
// byte for byte those that Genesys served, and manifests.
type found struct{ media, exact, manifests int }

func (c *crew) look(ctx context.Context, b *storage.Bucket, in *genesystest.Inbox) (f found, err error) {
	media := map[string][]string{} // keys by recording
	for o, err := range b.List(ctx, "genesys/media/org=acme/inbox="+in.ID+"/") {
		if err != nil {
			return f, err
		}
		id := strings.TrimSuffix(path.Base(o.Key), ".wav")
		media[id] = append(media[id], o.Key)
		f.media++
	}
	for o, err := range b.List(ctx, "genesys/manifests/org=acme/inbox="+in.ID+"/") {
		if err != nil {
			return f, err
		}
		if id := strings.TrimSuffix(path.Base(o.Key), ".json"); len(media[id]) > 0 {
			f.manifests++
		}
	}
	for _, id := range in.IDs() {
		want, err := in.Media(id, "WAV")
		if err != nil || len(media[id]) != 1 {
			return f, err
		}
		body, _, err := b.Get(ctx, media[id][0], "")
		if err != nil {
			return f, err
		}
		sum := sha256.New()
		_, err = io.Copy(sum, body)
		if err = errors.Join(err, body.Close()); err != nil {
			return f, err
		}
		if [sha256.Size]byte(sum.Sum(nil)) == want.SHA256 {
			f.exact++
		}
	}
	return f, nil
}
