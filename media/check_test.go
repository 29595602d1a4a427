package media_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"os"
	"testing"
	"time"

	"github.com/archiverd/archiverd/genesys"
	"github.com/archiverd/archiverd/media"
	"github.com/archiverd/archiverd/media/mediatest"
)

// generated returns a small good body in a format.
func generated(t testing.TB, f genesys.Format, id string) []byte {
	t.Helper()
	m, err := mediatest.New(mediatest.Spec{ID: id, Format: string(f), Duration: 300 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(m.Reader())
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// judged returns the outcome for a body that comes in pieces of n bytes.
func judged(f genesys.Format, body []byte, n int, want media.Expected) string {
	return outcome(check(f, body, n, want))
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
			body := generated(t, served, "id-1")
			want := "wrong"
			if asked == served || asked == genesys.FormatNone || wav[asked] && wav[served] {
				want = "whole"
			}
			if served == genesys.FormatNone && asked != served {
				continue // an original can be of any format
			}
			for _, n := range []int{1, 7, 4096} {
				if got := judged(asked, body, n, media.Expected{Duration: 300 * time.Millisecond}); got != want {
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
			if got := judged(f, []byte(body), 100, media.Expected{}); got != "wrong" {
				t.Errorf("%q as %s: %s", body, f, got)
			}
		}
	}
}

func TestEmptyOnlyWhereTheMetadataSaySo(t *testing.T) {
	for _, c := range []struct {
		empty bool
		want  string
	}{{false, "wrong"}, {true, "whole"}} {
		if got := judged(genesys.FormatWAV, nil, 1, media.Expected{Empty: c.empty}); got != c.want {
			t.Errorf("empty, by the metadata %t: %s, want %s", c.empty, got, c.want)
		}
	}
}

func TestTruncatedWAV(t *testing.T) {
	body := generated(t, genesys.FormatWAV, "id-2")
	for n := 1; n < len(body); n++ {
		if got := judged(genesys.FormatWAV, body[:n], 1000, media.Expected{}); got == "whole" {
			t.Fatalf("%d of %d bytes of a WAV are whole", n, len(body))
		}
	}
}

// chunk returns a RIFF chunk with its pad byte.
func chunk(id string, declared uint32, data []byte) []byte {
	b := append(binary.LittleEndian.AppendUint32([]byte(id), declared), data...)
	if len(data)%2 == 1 {
		b = append(b, 0)
	}
	return b
}

// wavOf returns a WAV of 8,000 bytes a second with the given chunks after its format.
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
		"exact":                    {wavOf(chunk("data", 101, audio)), "whole"},
		"exact, no pad byte":       {wavOf(chunk("data", 101, audio)[:8+101]), "whole"},
		"size 0: unknown":          {wavOf(chunk("data", 0, audio)), "unproved"},
		"largest size: unknown":    {wavOf(chunk("data", math.MaxUint32, audio)), "unproved"},
		"one byte short":           {wavOf(chunk("data", 101, audio[:100])), "mismatch"},
		"chunks around":            {wavOf(chunk("LIST", 3, []byte("abc")), chunk("data", 101, audio), chunk("LIST", 4, []byte("abcd"))), "whole"},
		"a cut chunk after":        {wavOf(chunk("data", 101, audio), chunk("LIST", 40, []byte("abcd"))), "mismatch"},
		"rubbish after":            {wavOf(chunk("data", 101, audio), []byte("abc")), "mismatch"},
		"no data":                  {wavOf(), "mismatch"},
		"RF64":                     {append([]byte("RF64"), wavOf(chunk("ds64", 4, make([]byte, 4)), chunk("data", math.MaxUint32, audio))[4:]...), "unproved"},
		"format chunk of 40 bytes": {append([]byte("RIFF\x00\x00\x00\x00WAVE"), append(chunk("fmt ", 40, make([]byte, 40)), chunk("data", 101, audio)...)...), "whole"},
	} {
		for n := 1; n < 30; n++ {
			if got := judged(genesys.FormatWAV, c.body, n, media.Expected{}); got != c.want {
				t.Errorf("%s in pieces of %d: %s, want %s", name, n, got, c.want)
				break
			}
		}
	}
}

func TestWAVDuration(t *testing.T) {
	body := wavOf(chunk("data", 800_000, make([]byte, 800_000))) // 100 s
	for ms, want := range map[int64]string{
		100_000: "whole", 98_040: "whole", 102_040: "whole", 97_900: "mismatch", 102_100: "mismatch",
	} {
		if got := judged(genesys.FormatWAV, body, 1<<20, media.Expected{Duration: time.Duration(ms) * time.Millisecond}); got != want {
			t.Errorf("100 s of audio, durationMilliseconds %d: %s, want %s", ms, got, want)
		}
	}
	short, within, beyond := wavOf(chunk("data", 800, make([]byte, 800))), 1100*time.Millisecond, 1101*time.Millisecond
	if got := judged(genesys.FormatWAV, short, 100, media.Expected{Duration: within}); got != "whole" {
		t.Errorf("1 s apart: %s", got)
	}
	if got := judged(genesys.FormatWAV, short, 100, media.Expected{Duration: beyond}); got != "mismatch" {
		t.Errorf("more than 1 s apart: %s", got)
	}
}

// FuzzCheck searches for bytes that make a Check panic, or for which the verdict depends
// on the pieces in which they come.
func FuzzCheck(f *testing.F) {
	for _, format := range formats() {
		f.Add(generated(f, format, "seed"), 11)
	}
	f.Add([]byte("\x00\x00\x00\x10ftypM4A \x00\x00\x00\x00\x00\x00\x00\x08mdat\x00\x00\x00\x24moov\x00\x00\x00\x1cmvhd"+
		"\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x03\xe8\x00\x00\x03\xe8"), 3)
	f.Add(wavOf(chunk("data", 4, []byte("abcd"))), 3)
	f.Add(wavOf(chunk("LIST", 3, []byte("abc")), chunk("data", 0, []byte("x"))), 1)
	f.Add([]byte("RIFF\x00\x00\x00\x00WAVEfmt \x02\x00\x00\x00ab"), 5)
	f.Fuzz(func(t *testing.T, body []byte, n int) {
		n = 1 + int(uint(n)%64)
		for _, f := range formats() {
			whole, err := check(f, body, len(body)+1, media.Expected{Duration: time.Second})
			pieces, perr := check(f, body, n, media.Expected{Duration: time.Second})
			if fmt.Sprint(whole, err) != fmt.Sprint(pieces, perr) {
				t.Errorf("%s whole: %v %v, in pieces of %d: %v %v", f, whole, err, n, pieces, perr)
			}
		}
	})
}

func read(t testing.TB, file string) []byte {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
