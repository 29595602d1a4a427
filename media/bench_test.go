package media_test

import (
	"testing"
	"time"

	"github.com/archiverd/archiverd/media"
)

// BenchmarkCheck compares the cost of a check with that of hashing the same bytes.
func BenchmarkCheck(b *testing.B) {
	for _, r := range recipes() {
		switch r.name {
		case "pcm", "24k", "q1", "opus", "CBR", "m4a":
		default:
			continue
		}
		body := r.encode(b, 2*time.Minute)
		b.Run(string(r.format), func(b *testing.B) {
			b.SetBytes(int64(len(body)))
			for b.Loop() {
				if got, err := check(r.format, body, 256<<10, media.Expected{Duration: 2 * time.Minute}); err != nil || !got.Whole {
					b.Fatal(got, err)
				}
			}
		})
	}
}
