package storage_test

import (
	"testing"

	"github.com/archiverd/archiverd/storage/storagetest"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestFake(t *testing.T)      { storagetest.Run(t, storagetest.Fake(t)) }
func TestVersitygw(t *testing.T) { storagetest.Run(t, storagetest.Versitygw(t)) }
func TestMinIO(t *testing.T)     { storagetest.Run(t, storagetest.MinIO(t)) }
