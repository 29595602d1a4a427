// Package control carries a command line to the service that holds the ledger, over
// a Unix socket. The command runs there; its files and terminals stay here, with the
// caller.
//
//	caller                          service
//	------                          -------
//	request ───────────────────────▶        the arguments, and what a terminal is
//	        ◀─────────────────────── stdout, stderr
//	        ◀─────────────────────── read   the command wants input …
//	input   ───────────────────────▶        … and gets what there is; nothing: the end
//	        ◀─────────────────────── create, write, keep, drop: a file
//	done    ───────────────────────▶        each of these; with a text: it failed, and why
//	stop    ───────────────────────▶        a signal reached the caller
//	        ◀─────────────────────── exit   the exit code; the connection ends
//
// It promises:
//
//   - The socket is its owner's alone (mode 0600) at every moment of its life, and
//     takes the place of one that a dead service left: whoever listens holds the
//     ledger, so nobody else lives.
//   - A caller that vanishes, sends rubbish or ends its side asks its command to
//     stop, and nothing else notices. One that does not read results holds up its own
//     command alone. One that does not read logs and progress for a minute has gone,
//     and so has one whose command holds up others meanwhile: see Caller.Hurry. A stop
//     of the service waits for none of them longer than a moment.
//   - Input is read only when a command asks for it, so that a loop in a shell keeps
//     its own. One command has one file at a time.
package control

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// protocol is the version of the drawing above.
const protocol = 1

// kind says what a frame is. Its payload follows a header of kind and length.
type kind byte

const (
	kindRequest kind = iota + 1 // JSON Request
	kindStdout
	kindStderr
	kindRead   // empty
	kindInput  // bytes; none: the end
	kindCreate // the path
	kindWrite  // bytes
	kindKeep   // empty
	kindDrop   // empty
	kindDone   // empty, or why it failed
	kindStop   // empty
	kindExit   // one byte
)

const (
	headerSize = 5
	maxPayload = 1 << 20  // of a frame: a command line is far smaller
	chunk      = 32 << 10 // of streams and files, in one frame
)

var errGarbage = errors.New("no frame of this protocol")

func writeFrame(w io.Writer, k kind, payload []byte) error {
	if len(payload) > maxPayload {
		return fmt.Errorf("a frame of %d bytes: %d is the most", len(payload), maxPayload)
	}
	frame := make([]byte, headerSize, headerSize+len(payload))
	frame[0] = byte(k)
	binary.BigEndian.PutUint32(frame[1:], uint32(len(payload)))
	_, err := w.Write(append(frame, payload...))
	return err
}

func readFrame(r io.Reader) (kind, []byte, error) {
	var header [headerSize]byte
	if _, err := io.ReadFull(r, header[:]); err != nil {
		return 0, nil, err
	}
	k, n := kind(header[0]), binary.BigEndian.Uint32(header[1:])
	if k < kindRequest || k > kindExit || n > maxPayload {
		return 0, nil, errGarbage
	}
	payload := make([]byte, n)
	if _, err := io.ReadFull(r, payload); err != nil {
		return 0, nil, err
	}
	return k, payload, nil
}

// Request is a command line on its way to the service.
type Request struct {
	Protocol int      `json:"protocol"` // set by Call
	Version  string   `json:"version"`  // of the caller's archiverd
	Config   string   `json:"config"`   // the caller's configuration file, an absolute path
	Args     []string `json:"args"`
	// Terminals of the caller.
	StdoutTerminal bool `json:"stdout_terminal"`
	StderrTerminal bool `json:"stderr_terminal"`
}

// File is a file that a command writes for its caller. It appears under its name
// only once it is kept. Exactly one of Keep and Drop ends it.
type File interface {
	io.Writer
	Keep() error // durable and in its place, or dropped
	Drop() error
}
