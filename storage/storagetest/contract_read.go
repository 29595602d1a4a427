package storagetest

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/archiverd/archiverd/storage"
)

func (c contract) missing(t *testing.T) {
	b, _ := c.bucket(t)
	wantAbsent(t, b, "none")
	_, _, err := b.Get(t.Context(), "none", "")
	wantErr(t, err, storage.ErrNotFound)

	none := c.open(t, "archiverd-no-such-bucket")
	wantErr(t, none.Check(t.Context()), storage.ErrNoBucket)
	_, err = none.Put(t.Context(), storage.New{Key: "k"}, nil, sha256.Sum256(nil))
	wantErr(t, err, storage.ErrNoBucket)
	_, err = none.Create(t.Context(), storage.New{Key: "k"})
	wantErr(t, err, storage.ErrNoBucket)
	_, _, err = none.Get(t.Context(), "k", "")
	wantErr(t, err, storage.ErrNoBucket)
	for _, err := range none.List(t.Context(), "") {
		wantErr(t, err, storage.ErrNoBucket)
	}
}

func (c contract) list(t *testing.T) {
	b, _ := c.bucket(t)
	const n = 1005
	var wg sync.WaitGroup
	for worker := range 8 {
		wg.Go(func() {
			for i := worker; i < n; i += 8 {
				body := []byte(fmt.Sprint(i))
				if _, err := b.Put(t.Context(), storage.New{Key: fmt.Sprintf("p/%04d", i)}, body, sha256.Sum256(body)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	create(t, b, storage.New{Key: "q/other"}, nil)
	got := listed(t, b, "p/")
	if len(got) != n {
		t.Fatalf("listed %d of %d", len(got), n)
	}
	for i, key := range got {
		if key != fmt.Sprintf("p/%04d", i) {
			t.Fatalf("element %d is %q", i, key)
		}
	}
	var rest []string
	for o, err := range b.ListAfter(t.Context(), "p/", "p/0002") {
		if err != nil {
			t.Fatal(err)
		}
		rest = append(rest, o.Key)
	}
	if !slices.Equal(rest, got[3:]) {
		t.Errorf("after the third of %d come %d, the first %q", n, len(rest), rest[:min(1, len(rest))])
	}
	for o, err := range b.List(t.Context(), "p/1004") {
		if err != nil || o.Size != 4 || o.ETag == "" || time.Since(o.Modified).Abs() > 10*time.Minute {
			t.Errorf("%+v, %v", o, err)
		}
	}
	if got := listed(t, b, "none/"); got != nil {
		t.Errorf("listed %q", got)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, err := range b.List(ctx, "p/") {
		wantErr(t, err, context.Canceled)
	}
}

func (c contract) access(t *testing.T) {
	_, name := c.bucket(t)
	const secret = "wrong-secret-of-the-archive"
	b := c.open(t, name, func(o *storage.Options) { o.SecretAccessKey = secret })
	_, putErr := b.Put(t.Context(), storage.New{Key: "k"}, nil, sha256.Sum256(nil))
	unknown := c.open(t, name, func(o *storage.Options) { o.AccessKeyID = "AKIAUNKNOWN" })
	for _, err := range []error{b.Check(t.Context()), putErr, unknown.Check(t.Context())} {
		if !c.s.Capabilities.Authentication {
			if err != nil {
				t.Errorf("%v: does it authenticate now?", err)
			}
			continue
		}
		wantErr(t, err, storage.ErrAccess)
		if temporary(err) {
			t.Errorf("temporary: %v", err)
		}
		for _, s := range []string{secret, c.s.SecretKey} {
			if strings.Contains(fmt.Sprintf("%v %+v", err, err), s) {
				t.Errorf("shows a secret: %v", err)
			}
		}
	}
}

func (c contract) unreachable(t *testing.T) {
	address, err := FreeAddress()
	if err != nil {
		t.Fatal(err)
	}
	b := c.open(t, "bucket", func(o *storage.Options) { o.Endpoint = "http://" + address })
	if err := b.Check(t.Context()); !temporary(err) || errors.Is(err, storage.ErrAccess) {
		t.Error(err)
	}
}

func (c contract) skew(t *testing.T) {
	b, _ := c.bucket(t)
	if d, ok := b.Skew(); ok {
		t.Errorf("skew %v before a reply", d)
	}
	wantAbsent(t, b, "k")
	if d, ok := b.Skew(); !ok || d.Abs() > 10*time.Second {
		t.Errorf("skew %v, %v", d, ok)
	}
}
