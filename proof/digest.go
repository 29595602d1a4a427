package proof

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"hash"
	"hash/crc32"

	"github.com/archiverd/archiverd/storage"
)

// Digest hashes and counts the bytes written to it.
type Digest struct {
	Size int64 // bytes
	sha  hash.Hash
	crc  hash.Hash32
}

// NewDigest returns the Digest of no bytes.
func NewDigest() *Digest { return &Digest{sha: sha256.New(), crc: crc32.NewIEEE()} }

// Write takes the next bytes; it never fails.
func (d *Digest) Write(p []byte) (int, error) {
	d.sha.Write(p)
	d.crc.Write(p)
	d.Size += int64(len(p))
	return len(p), nil
}

// Sum returns the SHA-256.
func (d *Digest) Sum() (s [sha256.Size]byte) {
	d.sha.Sum(s[:0])
	return s
}

// Hex returns the SHA-256 in hex.
func (d *Digest) Hex() string { return hex.EncodeToString(d.sha.Sum(nil)) }

// CRC32 returns the CRC-32 with the IEEE polynomial.
func (d *Digest) CRC32() uint32 { return d.crc.Sum32() }

// Matches compares a checksum that a store shows. It is not comparable unless its algorithm
// is SHA256 or CRC32.
func (d *Digest) Matches(c storage.Checksum) (equal, comparable bool) {
	switch c.Algorithm {
	case "SHA256":
		return c.Value == base64.StdEncoding.EncodeToString(d.sha.Sum(nil)), true
	case "CRC32":
		return c.Value == base64.StdEncoding.EncodeToString(d.crc.Sum(nil)), true
	}
	return false, false
}
