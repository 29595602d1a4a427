// Package codec is the form in which ledgers keep values, in a file and in a database
// alike: entries, tokens, and JSON.
package codec

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

// dictionary holds the recurring text in the JSON of entries. It is part of the
// schema: an entry can't be read with another dictionary.
const dictionary = `,"bad_keys":[","expanded":true,"mismatches":1,"missing_since":"2026-,"delete_requested_at":"2026-,"delete_attempts":1` +
	`{"state":"delete_requested{"state":"deleted{"state":"vanished{"state":"gone{"state":"failed{"state":"listed` +
	`,"attempts":1,"error":","failed_since":"2026-,"next_attempt":"2026-,"suspect":"` +
	`"format":"MP3"format":"OGG_OPUS"format":"OGG_VORBIS"format":"WAV_ULAW","retention":"GOVERNANCE","checksum":"CRC64NVME:",` +
	`{"state":"archived","name":"Recording ","conversation":"","created":"2026-01-01T00:00:00.000Z","modified":"2026-01-` +
	`01T00:00:00.000Z","listed_at":"2026-01-","media_key":"/media/org=/inbox=/year=2026/month=01/day=.wav` +
	`","versions":[{"modified":"2026-","format":"WEBM","media_key":".webm","media_version":"","manifest_key":"/manifests/org=` +
	`.json","manifest_version":"","size":1,"sha256":"","checksum":"CRC32:==","manifest_size":1,"manifest_sha256":"` +
	`","retention":"COMPLIANCE","retain_until":"2036-01-01T00:00:00Z","archived_at":"2026-11-01T00:00:00.000000000Z"}]}`

// Entries encodes and decodes entries: JSON, deflated with the dictionary. Ids and
// hashes repeat in an entry's keys, and field names in every entry, so this saves two
// thirds. Raw is left out: it is large, is dropped soon, and is kept apart.
// The encoded entry begins with one byte of length and state.Entry.Settled, which a
// pass reads of nearly every entry.
//
// An Entries keeps only memory to reuse, and is safe for concurrent use.
type Entries struct{ readers sync.Pool }

// Encode returns the stored form of an entry, or ErrInvalid.
func (c *Entries) Encode(e *state.Entry) ([]byte, error) {
	line := *e
	line.Raw = nil
	data, err := Marshal(line)
	if err != nil { // a year that JSON can't hold
		return nil, fmt.Errorf("%w: %w", state.ErrInvalid, err)
	}
	var out bytes.Buffer
	date := e.Settled()
	out.WriteByte(byte(len(date)))
	out.WriteString(date)
	// Not the standard library's compressor, which clears 600 KB for each entry.
	err = deflate.StatelessDeflate(&out, data, true, []byte(dictionary))
	return out.Bytes(), err
}

// Decode undoes Encode, and refuses an invalid entry. The entry shares no memory with
// data.
func (c *Entries) Decode(data []byte) (*state.Entry, error) {
	date, deflated, err := Settled(data)
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

// Settled returns state.Entry.Settled, which Encode put first, and the deflated entry
// after it.
func Settled(data []byte) (date, deflated []byte, err error) {
	if len(data) == 0 || len(data) <= int(data[0]) {
		return nil, nil, fmt.Errorf("%w: cut short", state.ErrInvalid)
	}
	n := 1 + int(data[0])
	return data[1:n], data[n:], nil
}

func parseEntry(line []byte) (*state.Entry, error) {
	var e state.Entry
	if err := Unmarshal(line, &e); err != nil {
		return nil, fmt.Errorf("%w: %w", state.ErrInvalid, err)
	}
	if e.Raw != nil {
		return nil, fmt.Errorf("%w: the recording as listed is in the wrong place", state.ErrInvalid)
	}
	return &e, e.Check()
}

// Marshal is json.Marshal without the escapes for HTML.
func Marshal(v any) ([]byte, error) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(buf.Bytes(), []byte("\n")), nil
}

// Unmarshal refuses unknown fields, which the next write would lose.
func Unmarshal(data []byte, v any) error {
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
