package audit

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"strings"

	"github.com/archiverd/archiverd/proof"
	"github.com/archiverd/archiverd/record"
	"github.com/archiverd/archiverd/state"
	"github.com/archiverd/archiverd/storage"
)

// lookHeld compares an object of a held recording with the ledger, and asks the store for its
// hold.
func (v *verifier) lookHeld(ctx context.Context, e *state.Entry, o proof.Recorded, read bool) (proof.Flaws, error) {
	flaws, err := v.look(ctx, o, read)
	if err != nil {
		return nil, err
	}
	held, err := v.Bucket.Hold(ctx, o.Key, o.VersionID)
	switch {
	case errors.Is(err, storage.ErrNotFound): // look found that
		return flaws, nil
	case err != nil && !errors.Is(err, storage.ErrNoLocks):
		return nil, err
	case !held:
		flaws = append(flaws, proof.Flawf(record.FaultHold, "the store shows no legal hold, and the recording is held by %s", strings.Join(e.Cases(), ", ")))
	}
	return flaws, nil
}

// maxCertificate bounds the bytes read of a certificate.
const maxCertificate = 1 << 30

// certificates compares the certificates that an entry names with those in the archive. It
// reads them, for they are few.
func (v *verifier) certificates(ctx context.Context, found []proof.Finding, k state.Key, e *state.Entry) (_ []proof.Finding, err error) {
	for _, act := range e.Acts {
		if act.Kind != state.ActCertify {
			continue
		}
		v.count(func(t *Verification) { t.Certificates++; t.Objects += 2 })
		c := act.Certificate
		for _, o := range []struct{ key, sum string }{{c.Key, c.SHA256}, {record.CertificatePage(c.Key), c.PageSHA256}} {
			look := func() (proof.Flaws, error) { return v.lookCertificate(ctx, o.key, o.sum) }
			if found, err = v.judge(ctx, found, k, o.key, "", look); err != nil {
				return found, err
			}
		}
	}
	return found, nil
}

func (v *verifier) lookCertificate(ctx context.Context, key, want string) (proof.Flaws, error) {
	text, _, err := record.ReadSmall(ctx, v.Bucket, key, maxCertificate)
	if errors.Is(err, storage.ErrNotFound) {
		return proof.Flaws{{Fault: record.FaultMissing, Detail: "no such object: a certificate of disposal"}}, nil
	}
	if err != nil {
		return nil, err
	}
	if sum := sha256.Sum256(text); hex.EncodeToString(sum[:]) != want {
		return proof.Flaws{proof.Flawf(record.FaultAltered, "a certificate of disposal with the SHA-256 %x, the journal has %s", sum, want)}, nil
	}
	return nil, nil
}
