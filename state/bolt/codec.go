package bolt

import (
	"bytes"
	"compress/flate"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/archiverd/archiverd/state"
	deflate "github.com/klauspost/compress/flate"
)

// dictionary is what the JSON of an entry is made of beside its data. It is
// part of the schema: an entry can't be read with another.
const dictionary = `,"bad_keys":[","expanded":true,"mismatches":1,"missing_since":"2026-,"delete_requested_at":"2026-,"delete_attempts":1` +
	`{"state":"delete_requested{"state":"deleted{"state":"vanished{"state":"gone{"state":"failed{"state":"listed` +
	`,"attempts":1,"error":","failed_since":"2026-,"next_attempt":"2026-,"suspect":"` +
	`"format":"MP3"format":"OGG_OPUS"format":"OGG_VORBIS"format":"WAV_ULAW","retention":"GOVERNANCE","checksum":"CRC64NVME:",` +
	`{"state":"archived","name":"Recording ","conversation":"","created":"2026-01-01T00:00:00.000Z","modified":"2026-01-` +
	`01T00:00:00.000Z","listed_at":"2026-01-","media_key":"/media/org=/inbox=/year=2026/month=01/day=.wav` +
	`","versions":[{"modified":"2026-","format":"WEBM","media_key":".webm","media_version":"","manifest_key":"/manifests/org=` +
	`.json","manifest_version":"","size":1,"sha256":"","checksum":"CRC32:==","manifest_size":1,"manifest_sha256":"` +
	`","retention":"COMPLIANCE","retain_until":"2036-01-01T00:00:00Z","archived_at":"2026-11-01T00:00:00.000000000Z"}]}`

// codec turns entries into their form in the file, and back: JSON, deflated
// with the dictionary, because ids and hashes repeat in the keys and their
// names in every entry; that takes two thirds off. Raw is not in it: that is
// large, goes soon, and has a bucket of its own. Before it stands, after its
// length in one byte, what a pass asks of nearly every entry: see state.Entry.Settled.
//
// It keeps nothing but memory for the next call, and is safe for concurrent use.
type codec struct{ readers sync.Pool }

func (c *codec) encode(e *state.Entry) ([]byte, error) {
	line := *e
	line.Raw = nil
	data, err := marshal(line)
	if err != nil { // a year that JSON can't tell
		return nil, fmt.Errorf("%w: %w", state.ErrInvalid, err)
	}
	var out bytes.Buffer
	date := e.Settled()
	out.WriteByte(byte(len(date)))
	out.WriteString(date)
	// The standard library's compressor clears 600 KB for each entry.
	err = deflate.StatelessDeflate(&out, data, true, []byte(dictionary))
	return out.Bytes(), err
}

// decode undoes encode, and refuses what isn't a valid entry. The entry doesn't
// alias data.
func (c *codec) decode(data []byte) (*state.Entry, error) {
	date, deflated, err := cutDate(data)
	if err != nil {
		return nil, err
	}
	in := bytes.NewReader(deflated)
	r, ok := c.readers.Get().(io.ReadCloser)
	if !ok {
		r = flate.NewReader(in)
	}
	defer c.readers.Put(r)
	if err := r.(flate.Resetter).Reset(in, []byte(dictionary)); err != nil {
		return nil, err
	}
	line, err := io.ReadAll(r)
	if err == nil && in.Len() > 0 {
		err = errors.New("bytes after the end")
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", state.ErrInvalid, err)
	}
	e, err := parseEntry(line)
	if err == nil && e.Settled() != string(date) {
		err = fmt.Errorf("%w: %q stands before it, not %q", state.ErrInvalid, date, e.Settled())
	}
	return e, err
}

// cutDate parts what encode put before the entry from it.
func cutDate(data []byte) (date, deflated []byte, err error) {
	if len(data) == 0 || len(data) <= int(data[0]) {
		return nil, nil, fmt.Errorf("%w: cut short", state.ErrInvalid)
	}
	n := 1 + int(data[0])
	return data[1:n], data[n:], nil
}

func parseEntry(line []byte) (*state.Entry, error) {
	var e state.Entry
	if err := unmarshal(line, &e); err != nil {
		return nil, fmt.Errorf("%w: %w", state.ErrInvalid, err)
	}
	if e.Raw != nil {
		return nil, fmt.Errorf("%w: the recording as listed is in the wrong place", state.ErrInvalid)
	}
	return &e, e.Check()
}

// marshal is json.Marshal without the escapes for HTML.
func marshal(v any) ([]byte, error) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(buf.Bytes(), []byte("\n")), nil
}

// unmarshal is strict: a field it doesn't know would be lost with the next
// write, so it is an error.
func unmarshal(data []byte, v any) error {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		return err
	}
	if dec.InputOffset() != int64(len(data)) {
		return errors.New("more than one JSON value")
	}
	return nil
}
