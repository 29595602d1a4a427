package archiver

import (
	"io"

	"github.com/archiverd/archiverd/genesys"
	"github.com/archiverd/archiverd/media"
	"github.com/archiverd/archiverd/proof"
)

// mediaDigest is the digest of media, which are checked as they stream by.
type mediaDigest struct {
	*proof.Digest
	check *media.Check
}

func newMediaDigest(f genesys.Format) mediaDigest {
	return mediaDigest{proof.NewDigest(), media.New(f)}
}

func (d mediaDigest) Write(p []byte) (int, error) {
	d.Digest.Write(p)
	return d.check.Write(p)
}

// fill reads until the buffer is full or the body ends.
func (d mediaDigest) fill(r io.Reader, buf []byte) (n int, end bool, err error) {
	for n < len(buf) {
		m, err := r.Read(buf[n:])
		d.Write(buf[n : n+m])
		n += m
		if err == io.EOF {
			return n, true, nil
		}
		if err != nil {
			return n, false, err
		}
	}
	return n, false, nil
}
