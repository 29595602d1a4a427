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
	Open           func(path string) (io.ReadCloser, error)
}

// Call lets the service behind the socket at path run a command, and returns its exit
// code. When ctx ends, Call asks the command to stop and waits for its end. It returns
// ErrNobody if no service answers. A goroutine may be left in a read from Stdin.
func Call(ctx context.Context, path string, r Request, local Local) (code int, err error) {
	conn, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: path, Net: "unix"})
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, syscall.EINVAL): // EINVAL: too long a path to be a socket
		return 0, ErrNobody
	case errors.Is(err, fs.ErrPermission):
		return 0, fmt.Errorf("ask the service: %w: run archiverd as the service's user, or as root", err)
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
	release := context.AfterFunc(ctx, func() { _ = c.send(kindStop, nil) }) // on an error, the service is gone
	defer release()
	code, err = c.follow()
	return code, errors.Join(err, c.dropFile(), c.closeOpened())
}

// call is a command under way, seen from its caller.
type call struct {
	conn    *net.UnixConn
	local   Local
	writing sync.Mutex
	file    File          // the one being written, or nil
	opened  io.ReadCloser // the one being read, or nil
}

func (c *call) send(k kind, payload []byte) error {
	c.writing.Lock()
	defer c.writing.Unlock()
	return writeFrame(c.conn, k, payload)
}

// follow serves the command's requests until the command ends.
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
		case kindOpen:
			text := ""
			if oerr := c.open(string(payload)); oerr != nil {
				text = oerr.Error()
			}
			err = c.send(kindDone, []byte(text))
		case kindPull:
			err = c.pull()
		default:
			err = errGarbage
		}
		if err != nil {
			return 0, fmt.Errorf("talk with the service: %w", err)
		}
	}
}

// read sends the next bytes of stdin. It sends an error as the end of stdin.
func (c *call) read() {
	buf := make([]byte, chunk)
	n, err := c.local.Stdin.Read(buf)
	for n == 0 && err == nil {
		n, err = c.local.Stdin.Read(buf)
	}
	_ = c.send(kindInput, buf[:n]) // on an error, follow fails too
}

func (c *call) open(path string) (err error) {
	if err := c.closeOpened(); err != nil {
		return err
	}
	c.opened, err = c.local.Open(path)
	return err
}

// pull sends the next bytes of the open file. A file that can't be read to its end ends the
// command: a part of it must not be taken for the whole.
func (c *call) pull() error {
	if c.opened == nil {
		return errNoFile
	}
	buf := make([]byte, chunk)
	n, err := io.ReadFull(c.opened, buf)
	if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
		return err
	}
	return c.send(kindInput, buf[:n])
}

func (c *call) closeOpened() error {
	if c.opened == nil {
		return nil
	}
	err := c.opened.Close()
	c.opened = nil
	return err
}

var errNoFile = errors.New("no such file is open")

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

// dropFile removes the unfinished file of a command that ended early.
func (c *call) dropFile() error {
	if c.file == nil {
		return nil
	}
	return c.file.Drop()
}
