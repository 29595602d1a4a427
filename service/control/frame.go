// Package control carries a command line to the service that holds the ledger, over
// a Unix socket. The command runs there; its files and terminals stay here, with the
// caller.
//
//	caller                          service
//	------                          -------
//	request ───────────────────────▶        the arguments, and which streams are terminals
//	        ◀─────────────────────── stdout, stderr
//	        ◀─────────────────────── read   the command wants input
//	input   ───────────────────────▶        bytes of stdin; empty: the end of stdin
//	        ◀─────────────────────── create, write, keep, drop: a file
//	        ◀─────────────────────── open   a file of the caller's is to be read
//	done    ───────────────────────▶        the answer to each of these; a text: why it failed
//	        ◀─────────────────────── pull   the command wants more of the open file
//	input   ───────────────────────▶        bytes of the file; empty: its end
//	stop    ───────────────────────▶        the caller got a signal
//	        ◀─────────────────────── exit   the exit code; the connection ends
//
// It promises:
//
//   - Only the owner can use the socket (mode 0600), from the moment it exists. It
//     replaces an existing socket: the listener holds the ledger, so an existing one
//     can only be the leftover of a dead service.
//   - If a caller disappears, sends garbage or closes its side, its command is asked to
//     stop; other commands don't notice. A caller that does not read results blocks only
//     its own command. A caller that does not read logs and progress for a minute counts
//     as gone; while its command blocks others, so does one that does not read results:
//     see Caller.Hurry. When the service stops, it waits for each caller only briefly.
//   - Input is read only when a command asks for it, so that the rest of stdin is left
//     to a shell's loop. A command has at most one file at a time.
package control

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// protocol is the version of the drawing above.
const protocol = 2

// kind says what a frame is. Its payload follows a header of kind and length.
type kind byte

const (
	kindRequest kind = iota + 1 // JSON Request
	kindStdout
	kindStderr
	kindRead   // empty
	kindInput  // bytes; empty: the end
	kindCreate // the path
	kindWrite  // bytes
	kindKeep   // empty
	kindDrop   // empty
	kindDone   // empty, or why it failed
	kindStop   // empty
	kindOpen   // the path
	kindPull   // empty
	kindExit   // one byte
)

const (
	headerSize = 5
	maxPayload = 1 << 20  // of a frame: a command line is far smaller
	chunk      = 32 << 10 // of streams and files, in one frame
)

var errGarbage = errors.New("not a frame of this protocol")

func writeFrame(w io.Writer, k kind, payload []byte) error {
	if len(payload) > maxPayload {
		return fmt.Errorf("a frame of %d bytes: the maximum is %d", len(payload), maxPayload)
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
	StdoutTerminal bool   `json:"stdout_terminal"`
	StderrTerminal bool   `json:"stderr_terminal"`
	Person         string `json:"person"` // the user of the operating system, as the caller says
}

// File is a file that a command writes for its caller. It appears under its name only
// after Keep. End it with exactly one call of Keep or Drop.
type File interface {
	io.Writer
	Keep() error // durable and in its place, or an error
	Drop() error
}
