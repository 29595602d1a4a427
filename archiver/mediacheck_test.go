package archiver

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"testing"
	"time"

	"github.com/archiverd/archiverd/genesys"
	"github.com/archiverd/archiverd/integration_test/mediagen"
)

// media is a small good body in a format.
func media(t testing.TB, f genesys.Format, id string) []byte {
	t.Helper()
	m, err := mediagen.New(mediagen.Spec{ID: id, Format: string(f), Duration: 300 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(m.Reader())
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// judged puts a body through the check in pieces of n bytes.
func judged(f genesys.Format, body []byte, n int, rec genesys.Recording) error {
	c := newMediaCheck(f)
	for p := body; len(p) > 0; p = p[min(n, len(p)):] {
		c.Write(p[:min(n, len(p))])
	}
	return c.finish(rec)
}

func verdict(err error) string {
	var wrong *wrongMediaError
	var mismatch *mismatchError
	switch {
	case err == nil:
		return "good"
	case errors.As(err, &wrong):
		return "wrong"
	case errors.As(err, &mismatch):
		return "mismatch"
	}
	return err.Error()
}

func formats() []genesys.Format {
	return []genesys.Format{
		genesys.FormatWAV, genesys.FormatWEBM, genesys.FormatWAVULAW, genesys.FormatOggVorbis,
		genesys.FormatOggOpus, genesys.FormatMP3, genesys.FormatNone,
	}
}

func TestEveryFormatIsKnownByItsBytes(t *testing.T) {
	wav := map[genesys.Format]bool{genesys.FormatWAV: true, genesys.FormatWAVULAW: true}
	for _, asked := range formats() {
		for _, served := range formats() {
			body := media(t, served, "id-1")
			want := "wrong"
			if asked == served || asked == genesys.FormatNone || wav[asked] && wav[served] {
				want = "good"
			}
			if served == genesys.FormatNone && asked != served {
				continue // an original can be of any format
			}
			for _, n := range []int{1, 7, 4096} {
				if got := verdict(judged(asked, body, n, genesys.Recording{})); got != want {
					t.Errorf("%s asked, %s served in pieces of %d: %s, want %s", asked, served, n, got, want)
				}
			}
		}
	}
}

func TestTextIsNeverMedia(t *testing.T) {
	for _, body := range []string{
		"<!DOCTYPE html><html>", "  \n<html>", "<?xml version=\"1.0\"?><Error/>", "\xEF\xBB\xBF<html>", "\xFF\xFE<\x00h\x00",
		"\xFE\xFF\x00<\x00h", `{"message":"no"}`, "[1]", "\xEF\xBB\xBF{}",
	} {
		for _, f := range formats() {
			if got := verdict(judged(f, []byte(body), 100, genesys.Recording{})); got != "wrong" {
				t.Errorf("%q as %s: %s", body, f, got)
			}
		}
	}
}

func TestEmptyOnlyWhereTheMetadataSaySo(t *testing.T) {
	zero, some := int64(0), int64(7)
	for _, c := range []struct {
		length *int64
		want   string
	}{{nil, "wrong"}, {&some, "wrong"}, {&zero, "good"}} {
		if got := verdict(judged(genesys.FormatWAV, nil, 1, genesys.Recording{ContentLength: c.length})); got != c.want {
			t.Errorf("empty with contentLength %v: %s, want %s", c.length, got, c.want)
		}
	}
}

func TestTruncatedWAV(t *testing.T) {
	body := media(t, genesys.FormatWAV, "id-2")
	for n := 1; n < len(body); n++ {
		if got := verdict(judged(genesys.FormatWAV, body[:n], 1000, genesys.Recording{})); got == "good" {
			t.Fatalf("%d of %d bytes of a WAV are good", n, len(body))
		}
	}
}

// chunk is a RIFF chunk with its pad byte.
func chunk(id string, declared uint32, data []byte) []byte {
	b := append(binary.LittleEndian.AppendUint32([]byte(id), declared), data...)
	if len(data)%2 == 1 {
		b = append(b, 0)
	}
	return b
}

// wavOf is a WAV of 8,000 bytes a second with the given chunks after its format.
func wavOf(chunks ...[]byte) []byte {
	format := []byte{7, 0, 1, 0, 0x40, 0x1F, 0, 0, 0x40, 0x1F, 0, 0, 1, 0, 8, 0}
	b := append([]byte("RIFF\xff\xff\xff\xffWAVE"), chunk("fmt ", 16, format)...)
	return append(b, bytes.Join(chunks, nil)...)
}

func TestWAVSizes(t *testing.T) {
	audio := bytes.Repeat([]byte{1}, 101)
	for name, c := range map[string]struct {
		body []byte
		want string
	}{
		"exact":                    {wavOf(chunk("data", 101, audio)), "good"},
		"exact, no pad byte":       {wavOf(chunk("data", 101, audio)[:8+101]), "good"},
		"size 0: unknown":          {wavOf(chunk("data", 0, audio)), "good"},
		"largest size: unknown":    {wavOf(chunk("data", math.MaxUint32, audio)), "good"},
		"one byte short":           {wavOf(chunk("data", 101, audio[:100])), "mismatch"},
		"chunks around":            {wavOf(chunk("LIST", 3, []byte("abc")), chunk("data", 101, audio), chunk("LIST", 4, []byte("abcd"))), "good"},
		"a cut chunk after":        {wavOf(chunk("data", 101, audio), chunk("LIST", 40, []byte("abcd"))), "mismatch"},
		"rubbish after":            {wavOf(chunk("data", 101, audio), []byte("abc")), "mismatch"},
		"no data":                  {wavOf(), "mismatch"},
		"RF64":                     {append([]byte("RF64"), wavOf(chunk("ds64", 4, make([]byte, 4)), chunk("data", math.MaxUint32, audio))[4:]...), "good"},
		"format chunk of 40 bytes": {append([]byte("RIFF\x00\x00\x00\x00WAVE"), append(chunk("fmt ", 40, make([]byte, 40)), chunk("data", 101, audio)...)...), "good"},
	} {
		for n := 1; n < 30; n++ {
			if got := verdict(judged(genesys.FormatWAV, c.body, n, genesys.Recording{})); got != c.want {
				t.Errorf("%s in pieces of %d: %s, want %s", name, n, got, c.want)
				break
			}
		}
	}
}

func TestWAVDuration(t *testing.T) {
	body := wavOf(chunk("data", 800_000, make([]byte, 800_000))) // 100 s
	for ms, want := range map[int64]string{
		100_000: "good", 98_040: "good", 102_040: "good", 97_900: "mismatch", 102_100: "mismatch", 0: "mismatch",
	} {
		if got := verdict(judged(genesys.FormatWAV, body, 1<<20, genesys.Recording{DurationMilliseconds: &ms})); got != want {
			t.Errorf("100 s of audio, durationMilliseconds %d: %s, want %s", ms, got, want)
		}
	}
	short, within, beyond := wavOf(chunk("data", 800, make([]byte, 800))), int64(1100), int64(1101)
	if got := verdict(judged(genesys.FormatWAV, short, 100, genesys.Recording{DurationMilliseconds: &within})); got != "good" {
		t.Errorf("1 s apart: %s", got)
	}
	if got := verdict(judged(genesys.FormatWAV, short, 100, genesys.Recording{DurationMilliseconds: &beyond})); got != "mismatch" {
		t.Errorf("more than 1 s apart: %s", got)
	}
}

// FuzzWAV looks for bytes whose verdict depends on the pieces they come in.
func FuzzWAV(f *testing.F) {
	f.Add(wavOf(chunk("data", 4, []byte("abcd"))), 3)
	f.Add(wavOf(chunk("LIST", 3, []byte("abc")), chunk("data", 0, []byte("x"))), 1)
	f.Add([]byte("RIFF\x00\x00\x00\x00WAVEfmt \x02\x00\x00\x00ab"), 5)
	f.Fuzz(func(t *testing.T, body []byte, n int) {
		n = 1 + int(uint(n)%64)
		whole, pieces := judged(genesys.FormatWAV, body, len(body)+1, genesys.Recording{}), judged(genesys.FormatWAV, body, n, genesys.Recording{})
		if verdict(whole) != verdict(pieces) {
			t.Errorf("whole: %v, in pieces of %d: %v", whole, n, pieces)
		}
	})
}
