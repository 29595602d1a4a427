// Command demo shows archiverd at its main job on one machine: it starts a
// simulated Genesys Cloud and an S3 server in this process, writes a configuration
// file, runs the real archiverd against them twice, and shows what is in the
// bucket, the ledger and a manifest. With -serve, it leaves running archiverd to
// you: it writes the configuration file and serves until it is interrupted.
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
	config := flag.String("serve", "", "only write this configuration `file`, and serve what it names until SIGINT or SIGTERM")
	flag.Parse()
	if err := demo(*binary, *config); err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

func demo(binary, config string) error {
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
	for n := range recordings {
		cloud.ClientInbox().Add(genesystest.Recording{
			ID:          fmt.Sprintf("5f9c1e2a-0000-4000-8000-%012d", n+1),
			Name:        fmt.Sprintf("Call with customer %d", n+1),
			DateCreated: time.Date(2026, 11, 1+n, 9, 30, 0, 0, time.UTC),
			Duration:    time.Duration(n+1) * time.Second,
		})
	}
	s3, err := storagetest.StartFake()
	if err != nil {
		return err
	}
	defer s3.Close()
	ctx := context.Background()
	if err := s3.CreateBucket(ctx, "recordings", false); err != nil {
		return err
	}
	if config != "" {
		return serve(config, cloud, s3)
	}
	d := &demonstration{binary: binary, config: filepath.Join(dir, "archiverd.yaml")}
	if err := writeConfig(d.config, filepath.Join(dir, "archiverd.db"), cloud, s3); err != nil {
		return err
	}
	return d.show(ctx, s3)
}

func serve(config string, cloud *genesystest.Cloud, s3 *storagetest.Server) error {
	if err := writeConfig(config, "/var/lib/archiverd/archiverd.db", cloud, s3); err != nil {
		return err
	}
	stop, release := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer release()
	<-stop.Done()
	return nil
}

type demonstration struct{ binary, config string }

// writeConfig writes a configuration as docs/configure.md explains it, for the services here.
func writeConfig(file, ledger string, cloud *genesystest.Cloud, s3 *storagetest.Server) error {
	text := fmt.Sprintf(`organizations:
  - name: acme
    api_url: %s
    login_url: %s
    client_id: client
    client_secret: secret
    grant: client_credentials
    format: WAV
storage:
  endpoint: %s
  region: %s
  bucket: recordings
  prefix: genesys
  path_style: %t
  access_key_id: %s
  secret_access_key: %s
state: {path: %s}
schedule: {cron: "*/15 * * * *", timezone: Europe/Dublin}
`, cloud.APIURL(), cloud.LoginURL(), s3.Endpoint, s3.Region, s3.PathStyle, s3.AccessKey, s3.SecretKey, ledger)
	fmt.Printf("# The configuration, %s\n\n%s", file, indent(text))
	return os.WriteFile(file, []byte(text), 0o600)
}

// show runs the commands that a newcomer would run.
func (d *demonstration) show(ctx context.Context, s3 *storagetest.Server) error {
	return errors.Join(
		d.step("A dry run says what there is to do", "run", "--once", "--dry-run"),
		d.step("The first run archives all of it", "run", "--once"),
		d.step("The second run finds nothing new", "run", "--once"),
		bucket(ctx, s3),
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
