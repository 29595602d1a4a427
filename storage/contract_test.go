package storage_test

import (
	"flag"
	"strings"
	"testing"

	"github.com/archiverd/archiverd/storage/storagetest"
	"go.uber.org/goleak"
)

// servers are the servers that the contract suite tests; make stores names others.
var servers = flag.String("servers", "versitygw,minio", "S3 servers, as storagetest names them")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestFake(t *testing.T) { storagetest.Run(t, storagetest.Fake(t)) }

func TestServers(t *testing.T) {
	for name := range strings.SplitSeq(*servers, ",") {
		t.Run(name, func(t *testing.T) { storagetest.Run(t, storagetest.Named(t, name)) })
	}
}
