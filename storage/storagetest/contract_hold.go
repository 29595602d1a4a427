package storagetest

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/archiverd/archiverd/storage"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// holds sets and releases holds: of the newest version, of an older one, and of one below a
// delete marker, with and without a lock.
func (c contract) holds(t *testing.T) {
	name := c.s.NewBucket(t, true)
	b := c.open(t, name)
	for _, r := range []storage.Retention{{}, {Mode: "GOVERNANCE", Until: time.Now().Add(time.Hour)}} {
		key := "k" + r.Mode
		o := create(t, b, storage.New{Key: key, Retention: r}, []byte("first"))
		if !c.s.Capabilities.Locks {
			if err := b.SetHold(t.Context(), key, o.VersionID, true); err == nil {
				t.Error("a hold was set: does it know holds now?")
			}
			wantBytes(t, b, key, "", []byte("first"))
			continue
		}
		c.holdsAndReleases(t, b, o)
		if err := storage.NewProbe(b).Overwrite(t.Context(), key, []byte("second")); err != nil {
			t.Fatal(err)
		}
		c.holdsAndReleases(t, b, o)
		if err := storage.NewProbe(b).Delete(t.Context(), key, "", false); err != nil {
			t.Fatal(err)
		}
		c.holdsAndReleases(t, b, o)
		if held, err := b.Hold(t.Context(), key, o.VersionID); err != nil || held {
			t.Errorf("held %v, %v after its release", held, err)
		}
	}
}

func (c contract) holdsAndReleases(t *testing.T, b *storage.Bucket, o storage.Object) {
	t.Helper()
	for range 2 { // the second time nothing changes
		if err := b.SetHold(t.Context(), o.Key, o.VersionID, true); err != nil {
			t.Fatal(err)
		}
	}
	if held, err := b.Hold(t.Context(), o.Key, o.VersionID); err != nil || !held {
		t.Errorf("held %v, %v", held, err)
	}
	if newest, err := b.Head(t.Context(), o.Key, ""); err == nil && newest.VersionID == o.VersionID && !newest.Held {
		t.Error("HEAD of the newest version does not show the hold")
	}
	v := storage.Version{Key: o.Key, ID: o.VersionID}
	for _, bypass := range []bool{false, true} {
		if err := storage.NewRemover(b).Remove(t.Context(), v, bypass); !errors.Is(err, storage.ErrHeld) {
			t.Errorf("remove, bypass %v, of a held version: %v", bypass, err)
		}
		if err := storage.NewProbe(b).Delete(t.Context(), o.Key, o.VersionID, bypass); err == nil {
			t.Errorf("a held version was deleted, bypass %v", bypass)
		}
	}
	for range 2 {
		if err := b.SetHold(t.Context(), o.Key, o.VersionID, false); err != nil {
			t.Fatal(err)
		}
	}
}

// holdsNowhere wants a bucket without Object Lock told from one in which nothing is held.
func (c contract) holdsNowhere(t *testing.T) {
	if !c.s.Capabilities.Locks {
		return // holds asserts that the server lacks them
	}
	b, _ := c.bucket(t)
	create(t, b, storage.New{Key: "k"}, []byte("first"))
	_, hold := b.Hold(t.Context(), "k", "")
	_, lock := b.Retention(t.Context(), "k", "")
	for _, err := range []error{hold, lock, b.SetHold(t.Context(), "k", "", true)} {
		wantErr(t, err, storage.ErrNoLocks)
	}
	wantBytes(t, b, "k", "", []byte("first"))
}

// lockExtended wants a lock made longer, never shorter, and its mode kept.
func (c contract) lockExtended(t *testing.T) {
	if !c.s.Capabilities.Locks {
		return // retentionLonger asserts that the server lacks them
	}
	b := c.open(t, c.s.NewBucket(t, true))
	hour := time.Now().Add(time.Hour).UTC().Truncate(time.Second)
	lock := func(mode string, hours int) storage.Retention {
		return storage.Retention{Mode: mode, Until: hour.Add(time.Duration(hours-1) * time.Hour)}
	}
	const governance, compliance = "GOVERNANCE", "COMPLIANCE"
	for i, tc := range []struct{ have, ask, want storage.Retention }{
		{storage.Retention{}, lock(governance, 1), lock(governance, 1)},
		{lock(governance, 1), lock(governance, 2), lock(governance, 2)},
		{lock(governance, 2), lock(governance, 1), lock(governance, 2)},
		{lock(governance, 2), lock(governance, 2), lock(governance, 2)},
		{lock(governance, 2), lock(compliance, 3), lock(governance, 3)},
		{lock(compliance, 2), lock(governance, 3), lock(compliance, 3)},
		{lock(compliance, 2), lock(governance, 1), lock(compliance, 2)},
	} {
		key := fmt.Sprint("k", i)
		o := create(t, b, storage.New{Key: key, Retention: tc.have}, nil)
		if err := storage.NewProbe(b).Overwrite(t.Context(), key, []byte("second")); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			got, err := b.Extend(t.Context(), key, o.VersionID, tc.ask)
			if err != nil || got.Mode != tc.want.Mode || !got.Until.Equal(tc.want.Until) {
				t.Errorf("%v extended by %v gives %v, %v, want %v", tc.have, tc.ask, got, err, tc.want)
			}
		}
		got, err := b.Retention(t.Context(), key, o.VersionID)
		if err != nil || got.Mode != tc.want.Mode || !got.Until.Equal(tc.want.Until) {
			t.Errorf("%v extended by %v: %v, %v read back", tc.have, tc.ask, got, err)
		}
	}
}

// versions wants all versions and markers below a prefix listed, and each removed.
func (c contract) versions(t *testing.T) {
	b := c.open(t, c.s.NewBucket(t, true))
	p := storage.NewProbe(b)
	const key = "genesys/a%2Fé b+~2.wav"
	create(t, b, storage.New{Key: key + ".json"}, []byte("four")) // begins with the key
	create(t, b, storage.New{Key: "genesys/b"}, nil)
	first := create(t, b, storage.New{Key: key}, []byte("first"))
	if err := p.Overwrite(t.Context(), key, []byte("the second")); err != nil {
		t.Fatal(err)
	}
	if err := p.Delete(t.Context(), key, "", false); err != nil { // last: what versitygw puts on a marker stays hidden
		t.Fatal(err)
	}
	all := c.versionsOf(t, b, key)
	seen := map[string]int{}
	for _, v := range all {
		seen[fmt.Sprint(v.Key, " ", v.Size, v.Marker)]++
	}
	want := map[string]int{key + " 5 false": 1, key + " 10 false": 1, key + " 0 true": 1, key + ".json 4 false": 1}
	if !maps.Equal(seen, want) || !slices.ContainsFunc(all, func(v storage.Version) bool { return v.ID == first.VersionID && v.Key == key }) {
		t.Fatalf("versions: %+v", all)
	}
	for _, v := range all {
		c.removed(t, b, v)
		c.removed(t, b, v) // it is not there any more
	}
	if !c.s.Capabilities.Locks {
		return
	}
	if left := c.versionsOf(t, b, "genesys/"); len(left) != 1 || left[0].Key != "genesys/b" {
		t.Errorf("left: %+v", left)
	}
}

// removed removes a version, and asserts that a server without locks can't say that it is
// free to go.
func (c contract) removed(t *testing.T, b *storage.Bucket, v storage.Version) {
	t.Helper()
	err := storage.NewRemover(b).Remove(t.Context(), v, false)
	if err == nil && !c.s.Capabilities.Locks && !v.Marker {
		t.Errorf("%+v was removed: does the server know holds now?", v)
	}
	if err != nil && c.s.Capabilities.Locks {
		t.Errorf("remove %+v: %v", v, err)
	}
}

// versionsMany wants more than a page of versions listed.
func (c contract) versionsMany(t *testing.T) {
	if !c.s.Capabilities.VersionPages {
		return
	}
	name := c.s.NewBucket(t, true)
	b := c.open(t, name)
	const n, key = 1005, "k"
	client := c.s.Client()
	for i := range n {
		if _, err := client.PutObject(t.Context(), &s3.PutObjectInput{Bucket: &name, Key: new(key), Body: bytes.NewReader([]byte(fmt.Sprint(i)))}); err != nil {
			t.Fatal(err)
		}
	}
	seen := map[string]bool{}
	for _, v := range c.versionsOf(t, b, key) {
		seen[v.ID] = true
	}
	if len(seen) != n {
		t.Errorf("listed %d versions of %d", len(seen), n)
	}
}

// versionsPlain wants the object of a bucket without versions listed and removed.
func (c contract) versionsPlain(t *testing.T) {
	b, _ := c.bucket(t)
	create(t, b, storage.New{Key: "k"}, []byte("first"))
	all := c.versionsOf(t, b, "k")
	if len(all) != 1 || all[0].Marker || all[0].Size != 5 {
		t.Fatalf("versions: %+v", all)
	}
	c.removed(t, b, all[0])
	if c.s.Capabilities.Locks {
		wantAbsent(t, b, "k")
	}
}

// removeLocked wants a lock obeyed, and under governance overruled only with bypass.
func (c contract) removeLocked(t *testing.T) {
	c.locked(t, func(_ *storage.Bucket, name string, o storage.Object, r storage.Retention) {
		b := c.open(t, name)
		v := storage.Version{Key: o.Key, ID: o.VersionID}
		if !c.s.Capabilities.Locks {
			return
		}
		for _, bypass := range []bool{false, true} {
			err := storage.NewRemover(b).Remove(t.Context(), v, bypass)
			if bypass && r.Mode == "GOVERNANCE" {
				if err != nil {
					t.Errorf("%s: %v", o.Key, err)
				}
				continue
			}
			locked, ok := errors.AsType[*storage.LockedError](err)
			if !ok || locked.Retention.Mode != r.Mode || !locked.Retention.Until.Equal(r.Until) {
				t.Errorf("%s, bypass %v: %v", o.Key, bypass, err)
			}
			wantBytes(t, b, o.Key, o.VersionID, []byte("locked"))
		}
	})
}

func (c contract) versionsOf(t *testing.T, b *storage.Bucket, prefix string) (all []storage.Version) {
	t.Helper()
	for v, err := range b.Versions(t.Context(), prefix) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, v)
	}
	return all
}
