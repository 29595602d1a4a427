package archiver

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"hash"
	"hash/crc32"
	"io"

	"github.com/archiverd/archiverd/genesys"
	"github.com/archiverd/archiverd/media"
	"github.com/archiverd/archiverd/storage"
)

// digest hashes and counts bytes as they stream by.
type digest struct {
	sha  hash.Hash
	crc  hash.Hash32
	size int64
}

func newDigest() *digest { return &digest{sha: sha256.New(), crc: crc32.NewIEEE()} }

// Write takes the next bytes; it never fails.
func (d *digest) Write(p []byte) (int, error) {
	d.sha.Write(p)
	d.crc.Write(p)
	d.size += int64(len(p))
	return len(p), nil
}

func (d *digest) sum() (s [sha256.Size]byte) {
	d.sha.Sum(s[:0])
	return s
}

func (d *digest) hex() string { return hex.EncodeToString(d.sha.Sum(nil)) }

// matches compares a checksum that a store shows with the bytes that went by, if
// its algorithm is one of those followed.
func (d *digest) matches(c storage.Checksum) (equal, comparable bool) {
	switch c.Algorithm {
	case "SHA256":
		return c.Value == base64.StdEncoding.EncodeToString(d.sha.Sum(nil)), true
	case "CRC32":
		return c.Value == base64.StdEncoding.EncodeToString(d.crc.Sum(nil)), true
	}
	return false, false
}

// mediaDigest is the digest of media, which are checked as they stream by.
type mediaDigest struct {
	*digest
	check *media.Check
}

func newMediaDigest(f genesys.Format) mediaDigest { return mediaDigest{newDigest(), media.New(f)} }

func (d mediaDigest) Write(p []byte) (int, error) {
	d.digest.Write(p)
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
