// Package storagetest starts S3 servers and holds them to one contract.
//
// [Run] is the contract suite: what package storage promises, asked of a real
// server. What a server cannot do is said in its [Capabilities], and the suite
// asserts that it really cannot, so that the list does not rot.
//
// [Fake], [Versitygw], [MinIO], [CephRGW] and [SeaweedFS] start a server for a test,
// StartFake and its like for any other program: each on a free loopback port, with random
// credentials and fresh directories, ready when they return, gone when closed.
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

// Capabilities says what of the contract a server fulfils.
type Capabilities struct {
	Authentication      bool // refuses wrong credentials
	Checksums           bool // compares, keeps and shows x-amz-checksum-*
	ConditionalComplete bool // heeds If-None-Match on CompleteMultipartUpload
	ConditionalVersions bool // heeds If-None-Match on PutObject also where the bucket keeps versions
	AbortedUploads      bool // says NoSuchUpload to the completion of one
	Locks               bool // keeps, shows and enforces retention
	LockedParts         bool // also that which an upload began with
	VersionedHead       bool // heeds the version id of a HEAD
	UploadsListed       bool // shows the uploads under way below a prefix
	Lifecycle           bool // keeps lifecycle rules and shows them
	Echoes              bool // shows the x-amz headers of a write as they came, whether it heeds them or not
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

// Close stops the server and removes what it kept.
func (s *Server) Close() error {
	s.transport.CloseIdleConnections()
	return s.close()
}

// Options is what package storage needs to open a bucket of this server.
func (s *Server) Options(bucket string) storage.Options {
	return storage.Options{
		Endpoint: s.Endpoint, Region: s.Region, Bucket: bucket, PathStyle: s.PathStyle,
		AccessKeyID: s.AccessKey, SecretAccessKey: s.SecretKey, Transport: s.transport,
	}
}

// Client is the plain SDK, for what package storage does not do. It repeats
// nothing.
func (s *Server) Client() *s3.Client {
	return s3.New(s3.Options{
		BaseEndpoint: &s.Endpoint, Region: s.Region, UsePathStyle: s.PathStyle,
		Credentials: credentials.NewStaticCredentialsProvider(s.AccessKey, s.SecretKey, ""),
		HTTPClient:  &http.Client{Transport: s.transport},
		Retryer:     aws.NopRetryer{}, Logger: logging.Nop{},
	})
}

// CreateBucket creates a bucket, with Object Lock (and so versions) where
// asked. On a server that knows no locks, lock is versions alone.
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

// Named starts a server of its own process for a test.
func Named(t testing.TB, name string) *Server {
	t.Helper()
	start := map[string]func(testing.TB) *Server{"versitygw": Versitygw, "minio": MinIO, "ceph-rgw": CephRGW, "seaweedfs": SeaweedFS}[name]
	if start == nil {
		t.Fatalf("no server is named %q", name)
	}
	return start(t)
}

// run starts a server for a test and stops it at its end.
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
