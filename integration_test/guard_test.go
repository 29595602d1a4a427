package integration_test

import (
	"github.com/archiverd/archiverd/genesys/genesystest"
	"github.com/archiverd/archiverd/integration_test/faults"
)

// guardDeletions lets nothing be deleted that the bucket does not hold.
func (w *world) guardDeletions() {
	g := &faults.Guard{Cloud: w.cloud, Format: w.format, Read: w.read, Keys: func(prefix string) (keys []string, err error) {
		objects, err := w.newest(prefix)
		for _, o := range objects {
			keys = append(keys, o.Key)
		}
		return keys, err
	}}
	w.cloud.Configure(func(o *genesystest.Options) { o.OnDelete = g.Check })
}
