package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"syscall"
	"time"

	"github.com/archiverd/archiverd/storage/storagetest"
)

// profile is where archiverd's CPU went while it did some work. The profile itself
// is kept beside the results, under the name.
type profile struct {
	Name, Work string
	Shares     []share
}

// share is how much of the CPU went into a part and what it called. Parts overlap:
// nearly all of them allocate.
type share struct{ Part, Percent string }

// parts are told apart by the functions on the stack.
var parts = []struct{ name, functions string }{
	{"S3 client (AWS SDK), to the socket", `aws-sdk-go-v2|smithy-go`},
	{"ledger (state, bbolt)", `archiverd/state|bbolt`},
	{"Genesys client, to the parsed reply", `archiverd/genesys`},
	{"media: SHA-256 and CRC-32", `crypto/.*sha256|hash/crc32`},
	{"sockets, in the kernel", `syscall\.(read|write)$`},
	{"allocation", `runtime\.mallocgc`},
	{"garbage collection", `gcBgMarkWorker|gcAssist|bgsweep|bgscavenge`},
}

// profileSeconds is how much is looked at, from the service's beginning.
const profileSeconds = 10

func (b *bench) profiles(ctx context.Context) (all []profile, err error) {
	for _, of := range []struct {
		name string
		workload
	}{{"small", small()}, {"large", large()}} {
		p, err := b.profileTransfers(ctx, of.name, of.workload)
		if err != nil {
			return nil, err
		}
		all = append(all, p)
	}
	say("profile of known recordings")
	address, err := freeAddress()
	if err != nil {
		return nil, err
	}
	config, err := b.configureKnown(settings{pprof: address, cron: never}, knownRecordings)
	if err != nil {
		return nil, err
	}
	p, err := b.profile(ctx, "known", "a pass over 100,000 known recordings", config, address)
	return append(all, p), err
}

// profileTransfers has the service archive a workload to MinIO.
func (b *bench) profileTransfers(ctx context.Context, name string, w workload) (p profile, err error) {
	say("profile of %s", w.Name)
	s3, err := storagetest.StartMinIO()
	if err != nil {
		return p, err
	}
	defer func() { err = errors.Join(err, s3.Close()) }()
	if err := s3.CreateBucket(ctx, "profile", false); err != nil {
		return p, err
	}
	b.fill(w)
	address, err := freeAddress()
	if err != nil {
		return p, err
	}
	config, err := b.configure(settings{inboxes: w.Inboxes, workers: workers, memory: memory, cron: never, pprof: address}, s3, "profile")
	if err != nil {
		return p, err
	}
	return b.profile(ctx, name, w.Name, config, address)
}

// profile keeps the CPU profile of a service, and says what it shows.
func (b *bench) profile(ctx context.Context, name, work, config, address string) (p profile, err error) {
	p = profile{Name: name + ".pprof", Work: work}
	c := b.command(config, "run")
	if err := c.Start(); err != nil {
		return p, err
	}
	text, err := readProfile(ctx, "http://"+address)
	err = errors.Join(err, c.Process.Signal(syscall.SIGTERM), c.Wait())
	file := filepath.Join(b.docs, "performance", p.Name)
	if err = errors.Join(err, os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, text, 0o644)); err != nil {
		return p, err
	}
	for _, part := range parts {
		percent, err := shareOf(ctx, file, part.functions)
		if err != nil {
			return p, err
		}
		p.Shares = append(p.Shares, share{part.name, percent})
	}
	return p, nil
}

// accounted is what pprof says of the samples that a filter left.
var accounted = regexp.MustCompile(`accounting for \S+, (\S+%) of`)

// shareOf asks pprof for the samples with such functions on their stack.
func shareOf(ctx context.Context, file, functions string) (string, error) {
	out, err := exec.CommandContext(ctx, "go", "tool", "pprof", "-top", "-focus="+functions, file).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("go tool pprof: %w\n%s", err, out)
	}
	if m := accounted.FindSubmatch(out); m != nil {
		return string(m[1]), nil
	}
	return "0%", nil
}

// readProfile asks as soon as the service listens.
func readProfile(ctx context.Context, url string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("%s/debug/pprof/profile?seconds=%d", url, profileSeconds), nil)
		if err != nil {
			return nil, err
		}
		resp, err := http.DefaultClient.Do(req)
		if errors.Is(err, syscall.ECONNREFUSED) {
			time.Sleep(looks)
			continue
		}
		if err != nil {
			return nil, err
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return nil, fmt.Errorf("profile: %s", resp.Status)
		}
		return io.ReadAll(resp.Body)
	}
}

func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}
