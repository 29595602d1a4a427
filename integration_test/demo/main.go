// Command demo shows archiverd at its main job on one machine: it starts a
// simulated Genesys Cloud and an S3 server in this process, writes a configuration
// file, runs the real archiverd against them twice, and shows what is in the
// bucket, the ledger and a manifest. With -workers, it shows three archiverd that
// share a ledger in PostgreSQL, one of which is killed. With -serve, it leaves running
// archiverd to you: it writes the configuration file and serves until it is interrupted.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/archiverd/archiverd/genesys/genesystest"
	"github.com/archiverd/archiverd/storage"
	"github.com/archiverd/archiverd/storage/storagetest"
)

const recordings = 12

func main() {
	binary := flag.String("archiverd", "bin/archiverd", "the `binary` to run")
	workers := flag.Bool("workers", false, "show three processes that share a ledger in PostgreSQL")
	config := flag.String("serve", "", "only write this configuration `file`, and serve what it names until SIGINT or SIGTERM")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := demo(ctx, *binary, *config, *workers); err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

func demo(ctx context.Context, binary, config string, workers bool) error {
	dir, err := os.MkdirTemp("", "archiverd-demo-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	cloud, err := genesystest.New(genesystest.Options{Queued: 1})
	if err != nil {
		return err
	}
	defer cloud.Close()
	s3, err := storagetest.StartFake()
	if err != nil {
		return err
	}
	defer s3.Close()
	if err := s3.CreateBucket(ctx, "recordings", false); err != nil {
		return err
	}
	d := &demonstration{binary: binary, config: filepath.Join(dir, "archiverd.yaml"), cloud: cloud, s3: s3}
	if workers {
		return d.showWorkers(ctx)
	}
	fill(cloud.ClientInbox(), 0)
	const client = "grant: client_credentials"
	if config != "" {
		d.config = config
		err := d.writeConfig(client, "state: {path: /var/lib/archiverd/archiverd.db}")
		if err == nil {
			<-ctx.Done()
		}
		return err
	}
	if err := d.writeConfig(client, "state: {path: "+filepath.Join(dir, "archiverd.db")+"}"); err != nil {
		return err
	}
	return d.show(ctx)
}

// fill puts recordings into the inbox of a user, by number. No two users have the same.
func fill(inbox *genesystest.Inbox, user int) {
	for n := range recordings {
		inbox.Add(genesystest.Recording{
			ID:          fmt.Sprintf("5f9c1e2a-%04d-4000-8000-%012d", user, n+1),
			Name:        fmt.Sprintf("Call with customer %d", n+1),
			DateCreated: time.Date(2026, 11, 1+n, 9, 30, 0, 0, time.UTC),
			Duration:    time.Duration(n+1) * time.Second,
		})
	}
}

type demonstration struct {
	binary, config string
	cloud          *genesystest.Cloud
	s3             *storagetest.Server
}

// writeConfig writes a configuration as docs/configure.md explains it, for the services
// here, with the given lines for the grant and for what follows the storage.
func (d *demonstration) writeConfig(grant, rest string) error {
	text := fmt.Sprintf(`organizations:
  - name: acme
    api_url: %s
    login_url: %s
    client_id: client
    client_secret: secret
    %s
    format: WAV
storage:
  endpoint: %s
  region: %s
  bucket: recordings
  prefix: genesys
  path_style: %t
  access_key_id: %s
  secret_access_key: %s
%s
schedule: {cron: "*/15 * * * *", timezone: Europe/Dublin}
`, d.cloud.APIURL(), d.cloud.LoginURL(), grant, d.s3.Endpoint, d.s3.Region, d.s3.PathStyle, d.s3.AccessKey, d.s3.SecretKey, rest)
	fmt.Printf("# The configuration, %s\n\n%s", d.config, indent(text))
	return os.WriteFile(d.config, []byte(text), 0o600)
}

// show runs the commands that a newcomer would run.
func (d *demonstration) show(ctx context.Context) error {
	return errors.Join(
		d.step("A dry run says what there is to do", "run", "--once", "--dry-run"),
		d.step("The first run archives all of it", "run", "--once"),
		d.step("The second run finds nothing new", "run", "--once"),
		bucket(ctx, d.s3),
		d.step("What the ledger knows", "ls"),
		d.step("What it knows of one recording", "show", "5f9c1e2a-0000-4000-8000-000000000001"),
		d.step("Where the inbox stands", "status"),
	)
}

func (d *demonstration) step(title string, args ...string) error {
	fmt.Printf("\n# %s\n\n    $ archiverd %s\n", title, strings.Join(args, " "))
	var out bytes.Buffer
	c := exec.Command(d.binary, append(args, "--config", d.config)...)
	c.Stdout = &out
	c.Stderr = &out
	err := c.Run()
	fmt.Print(indent(out.String()))
	if err != nil {
		return fmt.Errorf("archiverd %s: %w", strings.Join(args, " "), err)
	}
	return nil
}

// bucket lists the objects, and prints the first manifest.
func bucket(ctx context.Context, s3 *storagetest.Server) error {
	b, err := storage.Open(ctx, s3.Options("recordings"))
	if err != nil {
		return err
	}
	fmt.Printf("\n# What is in the bucket\n\n")
	manifest := ""
	for obj, err := range b.List(ctx, "") {
		if err != nil {
			return err
		}
		fmt.Printf("    %8d  %s\n", obj.Size, obj.Key)
		if manifest == "" && strings.Contains(obj.Key, "/manifests/") {
			manifest = obj.Key
		}
	}
	r, _, err := b.Get(ctx, manifest, "")
	if err != nil {
		return err
	}
	defer r.Close()
	text, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	var pretty bytes.Buffer
	if err := json.Indent(&pretty, text, "", "  "); err != nil {
		return err
	}
	fmt.Printf("\n# One manifest\n\n%s", indent(pretty.String()))
	return nil
}

func indent(s string) string {
	return "    " + strings.ReplaceAll(strings.TrimRight(s, "\n"), "\n", "\n    ") + "\n"
}
