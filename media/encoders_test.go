package media_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/archiverd/archiverd/genesys"
	"github.com/archiverd/archiverd/media"
)

// recipe is one way in which ffmpeg writes media.
type recipe struct {
	format   genesys.Format
	name     string
	args     string // for the encoder and the muxer
	file     string // the container's extension for a file; "": written to a pipe
	endless  bool   // the container does not show its own end
	altered  bool   // the check notices a changed byte in the payload
	duration time.Duration
}

// recipes are the encoders and containers with which platforms make recordings.
func recipes() []recipe {
	var all []recipe
	add := func(f genesys.Format, name, args, file string, endless bool) {
		all = append(all, recipe{format: f, name: name, args: args, file: file, endless: endless, altered: file == "ogg" || strings.HasSuffix(args, "-f ogg"), duration: 4 * time.Second})
	}
	add(genesys.FormatWAV, "pcm", "-c:a pcm_s16le", "wav", false)
	add(genesys.FormatWAV, "stereo with tags", "-ac 2 -c:a pcm_s16le -metadata title=call", "wav", false)
	add(genesys.FormatWAV, "RF64", "-c:a pcm_s16le -rf64 always", "wav", false)
	add(genesys.FormatWAV, "to a pipe", "-c:a pcm_s16le -f wav", "", true)
	add(genesys.FormatWAVULAW, "mu-law", "-ar 8000 -c:a pcm_mulaw", "wav", false)
	add(genesys.FormatOggOpus, "24k", "-c:a libopus -b:a 24k", "ogg", false)
	add(genesys.FormatOggOpus, "to a pipe, stereo with tags", "-ac 2 -c:a libopus -b:a 64k -metadata title=call -f ogg", "", false)
	add(genesys.FormatOggVorbis, "q1", "-c:a libvorbis -q:a 1", "ogg", false)
	add(genesys.FormatOggVorbis, "to a pipe", "-ac 2 -c:a libvorbis -q:a 5 -f ogg", "", false)
	add(genesys.FormatWEBM, "opus", "-c:a libopus -b:a 32k", "webm", false)
	add(genesys.FormatWEBM, "vorbis with tags", "-c:a libvorbis -metadata title=call", "webm", false)
	add(genesys.FormatWEBM, "cues to the front", "-c:a libopus -cues_to_front 1", "webm", false)
	add(genesys.FormatWEBM, "to a pipe", "-c:a libopus -f webm", "", true)
	add(genesys.FormatWEBM, "live", "-c:a libopus -live 1 -f webm", "", true)
	add(genesys.FormatMP3, "CBR", "-c:a libmp3lame -b:a 64k", "mp3", false)
	add(genesys.FormatMP3, "VBR, stereo, tags", "-ac 2 -c:a libmp3lame -q:a 4 -metadata title=call -id3v2_version 3 -write_id3v1 1", "mp3", false)
	add(genesys.FormatMP3, "8 kHz mono", "-ar 8000 -c:a libmp3lame -b:a 16k", "mp3", false)
	add(genesys.FormatMP3, "22 kHz", "-ar 22050 -c:a libmp3lame -b:a 32k", "mp3", false)
	add(genesys.FormatMP3, "no Xing", "-c:a libmp3lame -b:a 32k -write_xing 0 -id3v2_version 0", "mp3", true)
	add(genesys.FormatMP3, "to a pipe", "-c:a libmp3lame -b:a 32k -f mp3", "", true)
	add(genesys.FormatNone, "m4a", "-c:a aac -b:a 48k", "m4a", false)
	add(genesys.FormatNone, "m4a, moov first", "-c:a aac -movflags +faststart", "m4a", false)
	add(genesys.FormatNone, "mov", "-c:a pcm_s16le", "mov", false)
	add(genesys.FormatNone, "mp4 fragments with a table", "-c:a aac -movflags frag_keyframe+empty_moov -frag_duration 500000", "mp4", false)
	add(genesys.FormatNone, "mp4 fragments to a pipe", "-c:a aac -movflags frag_keyframe+empty_moov+default_base_moof+skip_trailer -frag_duration 500000 -f mp4", "", true)
	add(genesys.FormatNone, "webm", "-c:a libopus", "webm", false)
	return all
}

// tail returns where in the media a closing tag or table begins. It can be missing
// unnoticed although all of the sound is there.
func (r recipe) tail(body []byte) int {
	switch {
	case strings.Contains(r.args, "write_id3v1"):
		return len(body) - 128
	case r.name == "mp4 fragments with a table":
		return bytes.LastIndex(body, []byte("mfra")) - 4
	}
	return -1
}

// encode makes media of a duration with ffmpeg: a tone and noise, which encoders cannot
// compress well.
func (r recipe) encode(t testing.TB, d time.Duration) []byte {
	t.Helper()
	if _, err := exec.LookPath("ffmpeg"); err != nil {
		t.Fatal("this test needs ffmpeg: run .ci/install ffmpeg")
	}
	source := fmt.Sprintf("sine=frequency=440:sample_rate=48000:duration=%f", d.Seconds())
	args := []string{"-v", "error", "-nostdin", "-bitexact", "-f", "lavfi", "-i", source}
	args = append(args, strings.Fields(r.args)...)
	out := "pipe:1"
	if r.file != "" {
		out = t.TempDir() + "/media." + r.file
	}
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(context.Background(), "ffmpeg", append(args, "-y", out)...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("ffmpeg for %s %s: %v: %s", r.format, r.name, err, stderr.String())
	}
	if r.file != "" {
		return read(t, out)
	}
	return stdout.Bytes()
}

// lastFrames is how much longer than the encoded sound media may be: encoders fill up
// their last frames, which take up to 72 ms each.
const lastFrames = 200 * time.Millisecond

// check checks media that come in pieces of n bytes.
func check(f genesys.Format, body []byte, n int, want media.Expected) (media.Result, error) {
	c := media.New(f)
	for p := body; len(p) > 0; p = p[min(n, len(p)):] {
		c.Write(p[:min(n, len(p))])
	}
	return c.Finish(want)
}

// outcome returns a verdict in one word.
func outcome(r media.Result, err error) string {
	var wrong *media.WrongError
	var mismatch *media.MismatchError
	switch {
	case errors.As(err, &wrong):
		return "wrong"
	case errors.As(err, &mismatch):
		return "mismatch"
	case err != nil:
		return err.Error()
	case r.Whole:
		return "whole"
	}
	return "unproved"
}

// Media from real encoders are whole, in whatever pieces they come, and last as long as
// the encoded sound. If the container does not show its end, only the duration proves that.
func TestRealEncodersAreWhole(t *testing.T) {
	t.Parallel()
	for _, r := range recipes() {
		for _, d := range []time.Duration{100 * time.Millisecond, r.duration, time.Minute} {
			body := r.encode(t, d)
			alone := "whole"
			if r.endless {
				alone = "unproved"
			}
			for _, n := range []int{1, 7, 4096, len(body)} {
				got, err := check(r.format, body, n, media.Expected{Duration: d})
				if outcome(got, err) != "whole" || (got.Duration-d).Abs() > lastFrames {
					t.Errorf("%s %s of %s in pieces of %d: %s %+v %v, want whole", r.format, r.name, d, n, outcome(got, err), got, err)
				}
				if got, err := check(r.format, body, n, media.Expected{}); outcome(got, err) != alone {
					t.Errorf("%s %s of %s in pieces of %d without a duration: %s %+v %v, want %s", r.format, r.name, d, n, outcome(got, err), got, err, alone)
				}
			}
		}
	}
}

// Media that were cut anywhere are never whole. Without a duration to compare, containers
// that do not show their end are never whole either.
func TestCutMediaAreNeverWhole(t *testing.T) {
	t.Parallel()
	for _, r := range recipes() {
		body := r.encode(t, r.duration)
		tail := r.tail(body)
		unseen := 0
		for n := range len(body) {
			if n == tail {
				continue // all of the sound is there
			}
			if n > 600 && n < len(body)-600 && n%7 != 0 {
				continue // every seventh byte is enough to cut frames, pages, boxes and headers
			}
			if got, err := check(r.format, body[:n], 1<<20, media.Expected{Duration: r.duration}); outcome(got, err) == "whole" {
				if left := time.Duration(float64(r.duration) * float64(n) / float64(len(body))); !r.endless || r.duration-left > 300*time.Millisecond {
					t.Errorf("%s %s cut to %d of %d bytes is whole: %+v", r.format, r.name, n, len(body), got)
				} else {
					unseen++
				}
			}
			if got, err := check(r.format, body[:n], 1<<20, media.Expected{}); outcome(got, err) == "whole" {
				t.Errorf("%s %s cut to %d of %d bytes is whole without a duration: %+v", r.format, r.name, n, len(body), got)
			}
		}
		if unseen > 0 {
			t.Logf("%s %s: %d cuts within the last 250 ms can not be seen", r.format, r.name, unseen)
		}
	}
}

// A changed byte in the middle is noticed if the container has checksums.
func TestAlteredBytesAreNoticedInOgg(t *testing.T) {
	t.Parallel()
	for _, r := range recipes() {
		if !r.altered {
			continue
		}
		body := r.encode(t, r.duration)
		for n := 0; n < len(body); n += 97 {
			altered := bytes.Clone(body)
			altered[n] ^= 0x10
			if got, err := check(r.format, altered, 1<<20, media.Expected{Duration: r.duration}); outcome(got, err) == "whole" {
				t.Errorf("%s %s with byte %d altered is whole", r.format, r.name, n)
			}
		}
	}
}

// Half an hour of media is judged like short media.
func TestLongMedia(t *testing.T) {
	t.Parallel()
	for _, r := range recipes() {
		if r.name != "24k" && r.name != "8 kHz mono" && r.name != "opus" {
			continue
		}
		body := r.encode(t, 30*time.Minute)
		if got, err := check(r.format, body, 1<<20, media.Expected{Duration: 30 * time.Minute}); outcome(got, err) != "whole" {
			t.Errorf("%s %s of 30 min: %s %+v %v", r.format, r.name, outcome(got, err), got, err)
		}
		if got, err := check(r.format, body[:len(body)/2], 1<<20, media.Expected{Duration: 30 * time.Minute}); outcome(got, err) != "mismatch" {
			t.Errorf("half of %s %s of 30 min: %s %+v %v", r.format, r.name, outcome(got, err), got, err)
		}
	}
}
