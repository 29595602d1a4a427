package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"sync"
	"syscall"
)

// ErrNobody says that no service answers at the socket.
var ErrNobody = errors.New("no service answers")

// Local is the caller's end of a command.
type Local struct {
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	Create         func(path string) (File, error)
}

// Call has the service behind the socket at path run a command, and returns its exit
// code. The end of ctx asks the command to stop and waits for that. ErrNobody: no
// service answers. Of a read from Stdin, a goroutine may be left waiting.
func Call(ctx context.Context, path string, r Request, local Local) (code int, err error) {
	conn, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: path, Net: "unix"})
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, syscall.EINVAL): // EINVAL: too long a path to be a socket
		return 0, ErrNobody
	case errors.Is(err, fs.ErrPermission):
		return 0, fmt.Errorf("ask the service: %w: be the user that the service runs as, or root", err)
	case err != nil:
		return 0, fmt.Errorf("ask the service: %w", err)
	}
	defer conn.Close()
	r.Protocol = protocol
	request, err := json.Marshal(r)
	if err != nil {
		return 0, fmt.Errorf("ask the service: %w", err)
	}
	c := &call{conn: conn, local: local}
	if err := c.send(kindRequest, request); err != nil {
		return 0, fmt.Errorf("ask the service: %w", err)
	}
	release := context.AfterFunc(ctx, func() { _ = c.send(kindStop, nil) }) // where it fails, the service is gone
	defer release()
	code, err = c.follow()
	return code, errors.Join(err, c.dropFile())
}

// call is a command under way, seen from its caller.
type call struct {
	conn    *net.UnixConn
	local   Local
	writing sync.Mutex
	file    File // the one being written, or nil
}

func (c *call) send(k kind, payload []byte) error {
	c.writing.Lock()
	defer c.writing.Unlock()
	return writeFrame(c.conn, k, payload)
}

// follow does what the command asks for until it ends.
func (c *call) follow() (code int, err error) {
	for {
		k, payload, err := readFrame(c.conn)
		if err != nil {
			return 0, fmt.Errorf("the service ended before the command did: %w", err)
		}
		switch k {
		case kindExit:
			if len(payload) != 1 {
				return 0, errGarbage
			}
			return int(payload[0]), nil
		case kindStdout:
			_, err = c.local.Stdout.Write(payload)
		case kindStderr:
			_, err = c.local.Stderr.Write(payload)
		case kindRead:
			go c.read()
		case kindCreate, kindWrite, kindKeep, kindDrop:
			text := ""
			if ferr := c.doFile(k, payload); ferr != nil {
				text = ferr.Error()
			}
			err = c.send(kindDone, []byte(text))
		default:
			err = errGarbage
		}
		if err != nil {
			return 0, fmt.Errorf("talk with the service: %w", err)
		}
	}
}

// read sends what stdin has next; its end and its failure alike as the end.
func (c *call) read() {
	buf := make([]byte, chunk)
	n, err := c.local.Stdin.Read(buf)
	for n == 0 && err == nil {
		n, err = c.local.Stdin.Read(buf)
	}
	_ = c.send(kindInput, buf[:n]) // where it fails, follow fails too
}

var errNoFile = errors.New("there is no file being written")

func (c *call) doFile(k kind, payload []byte) (err error) {
	if k == kindCreate {
		if c.file != nil {
			return errors.New("one file at a time")
		}
		c.file, err = c.local.Create(string(payload))
		return err
	}
	f := c.file
	if f == nil {
		return errNoFile
	}
	switch k {
	case kindWrite:
		_, err = f.Write(payload)
		return err
	case kindKeep:
		c.file = nil
		return f.Keep()
	default:
		c.file = nil
		return f.Drop()
	}
}

// dropFile removes what a command that ended early has left half written.
func (c *call) dropFile() error {
	if c.file == nil {
		return nil
	}
	return c.file.Drop()
}
