package archivertest

import (
	"fmt"
	"os"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/archiverd/archiverd/storage/storagetest"
)

// Main runs the tests of a package. It stops the servers that they share before it looks
// for leaks.
func Main(m *testing.M) { goleak.VerifyTestMain(stopping{m}) }

type stopping struct{ *testing.M }

func (s stopping) Run() int {
	code := s.M.Run()
	for _, shared := range []*Server{Checking, Echoing} {
		if shared.server == nil {
			continue
		}
		if err := shared.server.Close(); err != nil {
			fmt.Fprintln(os.Stderr, "stop", shared.server.Name+":", err)
			code = max(code, 1)
		}
	}
	return code
}

// Checking compares and shows checksums and keeps locks and versions; Echoing is
// in this process and knows none of that, but shows the headers it was sent.
var (
	Checking = &Server{start: storagetest.StartVersitygw}
	Echoing  = &Server{start: func() (*storagetest.Server, error) { return storagetest.StartFake() }}
)

// Server is started by the first test that asks for it; each has a bucket of its own.
type Server struct {
	start  func() (*storagetest.Server, error)
	once   sync.Once
	server *storagetest.Server
	err    error
}

func (s *Server) get(t *testing.T) *storagetest.Server {
	t.Helper()
	s.once.Do(func() { s.server, s.err = s.start() })
	if s.err != nil {
		t.Fatal(s.err)
	}
	return s.server
}
