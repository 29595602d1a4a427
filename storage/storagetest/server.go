// Package storagetest starts S3 servers and tests them against one contract.
//
// [Run] is the contract suite: it tests the promises of package storage on a real
// server. [Capabilities] names what a server cannot do, and the suite asserts that
// the server really cannot, so that the list stays true.
//
// [Fake], [Versitygw], [MinIO], [CephRGW] and [SeaweedFS] start a server for a test;
// StartFake and its siblings start one for any other program. A server has a free loopback
// port, random credentials and fresh directories. It is ready when the function returns,
// and Close removes everything.
package storagetest

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/archiverd/archiverd/storage"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go/logging"
)

// Capabilities says which parts of the contract a server fulfils.
type Capabilities struct {
	Authentication      bool // refuses wrong credentials
	Checksums           bool // compares, keeps and shows x-amz-checksum-*
	ConditionalComplete bool // heeds If-None-Match on CompleteMultipartUpload
	ConditionalVersions bool // heeds If-None-Match on PutObject also where the bucket keeps versions
	AbortedUploads      bool // answers the completion of an aborted upload with NoSuchUpload
	Locks               bool // keeps, shows and enforces retention
	LockedParts         bool // does so also for the retention that an upload began with
	VersionedHead       bool // heeds the version id of a HEAD
	VersionPages        bool // gives a listing of versions in pages that can be put together
	UploadsListed       bool // shows the uploads under way below a prefix
	Lifecycle           bool // keeps lifecycle rules and shows them
	Echoes              bool // shows the x-amz headers of a write as they came, even those that it ignores
}

// Server is a running S3 server. It is safe for concurrent use.
type Server struct {
	Name         string
	Endpoint     string // http://127.0.0.1:port
	Region       string
	AccessKey    string
	SecretKey    string
	PathStyle    bool
	Dir          string // where a server of its own process keeps its files; "" for one in this process
	Capabilities Capabilities

	transport *http.Transport
	close     func() error
}

func newServer(name, address string, c Capabilities) *Server {
	return &Server{
		Name: name, Endpoint: "http://" + address, Region: "us-east-1",
		AccessKey: rand.Text()[:20], SecretKey: rand.Text() + rand.Text(), PathStyle: true, Capabilities: c,
		transport: &http.Transport{MaxIdleConnsPerHost: 32},
	}
}

// Close stops the server and removes its data.
func (s *Server) Close() error {
	s.transport.CloseIdleConnections()
	return s.close()
}

// Options returns the options with which package storage opens a bucket of this server.
func (s *Server) Options(bucket string) storage.Options {
	return storage.Options{
		Endpoint: s.Endpoint, Region: s.Region, Bucket: bucket, PathStyle: s.PathStyle,
		AccessKeyID: s.AccessKey, SecretAccessKey: s.SecretKey, Transport: s.transport,
	}
}

// Client returns a client of the plain SDK, for operations that package storage
// lacks. It does not repeat failed requests.
func (s *Server) Client() *s3.Client {
	return s3.New(s3.Options{
		BaseEndpoint: &s.Endpoint, Region: s.Region, UsePathStyle: s.PathStyle,
		Credentials: credentials.NewStaticCredentialsProvider(s.AccessKey, s.SecretKey, ""),
		HTTPClient:  &http.Client{Transport: s.transport},
		Retryer:     aws.NopRetryer{}, Logger: logging.Nop{},
	})
}

// CreateBucket creates a bucket, with Object Lock (and so versioning) if lock is
// set. On a server without locks, lock only enables versioning.
func (s *Server) CreateBucket(ctx context.Context, name string, lock bool) error {
	in := &s3.CreateBucketInput{Bucket: &name}
	if lock && s.Capabilities.Locks {
		in.ObjectLockEnabledForBucket = aws.Bool(true)
	}
	if _, err := s.Client().CreateBucket(ctx, in); err != nil {
		return fmt.Errorf("create bucket %s: %w", name, err)
	}
	if !lock || s.Capabilities.Locks {
		return nil
	}
	_, err := s.Client().PutBucketVersioning(ctx, &s3.PutBucketVersioningInput{
		Bucket:                  &name,
		VersioningConfiguration: &types.VersioningConfiguration{Status: types.BucketVersioningStatusEnabled},
	})
	if err != nil {
		return fmt.Errorf("version bucket %s: %w", name, err)
	}
	return nil
}

// NewBucket creates a bucket with a new name, as [Server.CreateBucket] does.
func (s *Server) NewBucket(t testing.TB, lock bool) string {
	t.Helper()
	name := "test-" + strings.ToLower(rand.Text())
	if err := s.CreateBucket(t.Context(), name, lock); err != nil {
		t.Fatal(err)
	}
	return name
}

// Named starts the named server, in a process of its own, for a test.
func Named(t testing.TB, name string) *Server {
	t.Helper()
	start := map[string]func(testing.TB) *Server{"versitygw": Versitygw, "minio": MinIO, "ceph-rgw": CephRGW, "seaweedfs": SeaweedFS}[name]
	if start == nil {
		t.Fatalf("no server is named %q", name)
	}
	return start(t)
}

// run starts a server for a test and stops it at the test's end.
func run(t testing.TB, start func() (*Server, error)) *Server {
	t.Helper()
	s, err := start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("stop %s: %v", s.Name, err)
		}
	})
	return s
}
