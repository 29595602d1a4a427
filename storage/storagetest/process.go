package storagetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// Limits on starting and stopping a server.
const (
	startTimeout = time.Minute
	stopTimeout  = 10 * time.Second
	startTries   = 3 // another process may take the free port before the server does
)

// Versitygw starts versitygw for a test: see [StartVersitygw].
func Versitygw(t testing.TB) *Server { t.Helper(); return run(t, StartVersitygw) }

// MinIO starts MinIO for a test: see [StartMinIO].
func MinIO(t testing.TB) *Server { t.Helper(); return run(t, StartMinIO) }

// everything is the capabilities of a server that does all that S3 does.
func everything() Capabilities {
	return Capabilities{
		Authentication: true, Checksums: true, ConditionalComplete: true, ConditionalVersions: true, AbortedUploads: true,
		Locks: true, LockedParts: true, VersionedHead: true, VersionPages: true, UploadsListed: true, Lifecycle: true,
	}
}

// StartVersitygw starts .tools/versitygw on directories of its own.
func StartVersitygw() (*Server, error) {
	can := everything()
	can.Lifecycle = false
	return start("versitygw", can, func(s *Server, address, dir string) (args, env []string, err error) {
		meta, versions, data := filepath.Join(dir, "meta"), filepath.Join(dir, "versions"), filepath.Join(dir, "data")
		for _, d := range []string{meta, versions, data} {
			if err := os.Mkdir(d, 0o700); err != nil {
				return nil, nil, err
			}
		}
		args = []string{"--quiet", "--keep-alive", "--port", address, "--region", s.Region, "posix", "--sidecar", meta, "--versioning-dir", versions, data}
		return args, []string{"ROOT_ACCESS_KEY=" + s.AccessKey, "ROOT_SECRET_KEY=" + s.SecretKey}, nil
	})
}

// StartMinIO starts .tools/minio on a directory of its own.
func StartMinIO() (*Server, error) {
	can := everything()
	can.UploadsListed = false // MinIO lists only the uploads of one whole key
	return start("minio", can, func(s *Server, address, dir string) (args, env []string, err error) {
		args = []string{"server", "--quiet", "--address", address, "--certs-dir", filepath.Join(dir, "certs"), filepath.Join(dir, "data")}
		return args, []string{"MINIO_ROOT_USER=" + s.AccessKey, "MINIO_ROOT_PASSWORD=" + s.SecretKey,
			"MINIO_BROWSER=off", "MINIO_UPDATE=off", "HOME=" + dir}, nil
	})
}

type command func(s *Server, address, dir string) (args, env []string, err error)

// start runs a server from .tools and waits until it answers.
func start(name string, c Capabilities, cmd command) (*Server, error) {
	path, err := tool(name)
	if err != nil {
		return nil, err
	}
	return startProgram(name, path, c, cmd)
}

// startProgram runs a server and waits until it answers. If it does not, another port is tried.
func startProgram(name, path string, c Capabilities, cmd command) (s *Server, err error) {
	for range startTries {
		if s, err = startOnce(name, path, c, cmd); err == nil {
			return s, nil
		}
	}
	return nil, fmt.Errorf("start %s: %w", name, err)
}

func startOnce(name, path string, c Capabilities, cmd command) (*Server, error) {
	dir, err := os.MkdirTemp("", name)
	if err != nil {
		return nil, err
	}
	address, err := FreeAddress()
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	s := newServer(name, address, c)
	s.Dir = dir
	args, env, err := cmd(s, address, dir)
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	p := exec.Command(path, args...)
	output := new(bytes.Buffer) // read only after the process has ended
	p.Env, p.Dir, p.Stdout, p.Stderr = append(os.Environ(), env...), dir, output, output
	if err := p.Start(); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	exited := make(chan struct{})
	go func() { _ = p.Wait(); close(exited) }()
	s.close = func() error {
		stop(p.Process, exited)
		return os.RemoveAll(dir)
	}
	if err := s.ready(exited); err != nil {
		return nil, fmt.Errorf("%w\n%s", errors.Join(err, s.Close()), output)
	}
	return s, nil
}

// ready waits until the server accepts our credentials, which shows that no other
// server holds the port.
func (s *Server) ready(exited <-chan struct{}) error {
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		_, err := s.Client().ListBuckets(ctx, &s3.ListBucketsInput{})
		if err == nil {
			return nil
		}
		select {
		case <-exited:
			return errors.New("it ended")
		case <-ctx.Done():
			return fmt.Errorf("not ready within %v: %w", startTimeout, err)
		case <-tick.C:
		}
	}
}

func stop(p *os.Process, exited <-chan struct{}) {
	_ = p.Signal(syscall.SIGTERM)
	select {
	case <-exited:
	case <-time.After(stopTimeout):
		_ = p.Kill()
		<-exited
	}
}

// FreeAddress returns an address on loopback that nothing listens on. The system gives its port to
// nobody who asks for any free port, so no server of a test gets requests that are meant for
// whoever is told to listen there.
func FreeAddress() (string, error) {
	for range 100 {
		address := fmt.Sprintf("127.0.0.1:%d", 10_000+rand.IntN(20_000)) // Linux gives 32768 and above
		if l, err := net.Listen("tcp", address); err == nil {
			return address, l.Close()
		}
	}
	return "", errors.New("no free port between 10000 and 29999")
}

// tool returns the path of a binary in .tools, beside the go.mod above the working directory.
func tool(name string) (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for !exists(filepath.Join(dir, "go.mod")) {
		if dir == filepath.Dir(dir) {
			return "", errors.New("no go.mod above the working directory")
		}
		dir = filepath.Dir(dir)
	}
	path := filepath.Join(dir, ".tools", name)
	if !exists(path) {
		return "", fmt.Errorf("%s is missing: run make .tools/%s", path, name)
	}
	return path, nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
