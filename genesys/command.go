package genesys

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

const (
	opCommand    = "token_command"
	commandPause = time.Minute // between a failure of a token command and the next try
	commandLimit = 64 << 10    // bytes of its output: a token has a few hundred
	stderrLimit  = 4 << 10     // bytes of its stderr that are kept
	commandGrace = time.Second // for its output to close, once the program has ended
)

// Command is a program that prints a token. It is run with the user's id as its last argument and prints {"access_token":
// "…", "expires_in": 3600}. Other members are ignored, so that it can pass on Genesys' own reply; lines of text before the
// object are ignored too. A token without expires_in, which OAuth allows, is taken to live for 5 minutes. Timeout bounds
// the program; 0: 30 s.
type Command struct {
	Argv    []string
	Timeout time.Duration
}

// ErrTokenCommand: the token command gave no token. The message holds its stderr.
var ErrTokenCommand error = permanent("the token command gave no token")

// run runs the program in a process group of its own, and kills what is left of the group when the program has ended. All
// its errors are *Error.
func (c Command) run(ctx context.Context, userID string, secrets []string) (Token, error) {
	timeout := c.Timeout
	if timeout == 0 {
		timeout = 30 * time.Second
	}
	limited, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	stdout, stderr := head{limit: commandLimit + 1}, head{limit: stderrLimit}
	cmd := exec.CommandContext(limited, c.Argv[0], append(c.Argv[1:len(c.Argv):len(c.Argv)], userID)...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = commandGrace
	err := cmd.Run()
	if cmd.Process != nil {
		_ = cmd.Cancel() // kills processes it left behind; mostly there are none
	}
	n, parseErr := parseGiven(stdout.kept, time.Now())
	switch {
	case ctx.Err() != nil:
		return Token{}, &Error{Op: opCommand, Err: ctx.Err()}
	case limited.Err() != nil:
		err = fmt.Errorf("it did not end within %v", timeout)
	case err == nil:
		err = parseErr
	}
	if err == nil {
		return n, nil
	}
	said := strings.TrimSpace(string(stderr.kept))
	for _, s := range append(secrets, n.Access) {
		said = redact(said, s)
	}
	return Token{}, &Error{Op: opCommand, Message: printable(said, 500), Err: fmt.Errorf("%w: %w", ErrTokenCommand, err)}
}

// parseGiven reads the output of a token command. Its errors quote nothing of the output.
func parseGiven(output []byte, now time.Time) (Token, error) {
	if len(output) > commandLimit {
		return Token{}, fmt.Errorf("it printed more than %d KiB", commandLimit>>10)
	}
	if bytes.IndexByte(output, 0) >= 0 {
		return Token{}, errors.New("it printed UTF-16, or no text at all: have it print UTF-8")
	}
	fields, err := lastObject(bytes.TrimPrefix(output, []byte("\ufeff")))
	if err != nil {
		return Token{}, err
	}
	n := Token{Access: withoutScheme(fields.text("access_token"))}
	life := unknownLife
	if given := fields.raw("expires_in"); given != "" && given != "null" {
		life = time.Duration(lifeSeconds(fields)) * time.Second
	}
	switch {
	case n.Access == "" || strings.ContainsFunc(n.Access, func(r rune) bool { return r <= ' ' || r > '~' }):
		return Token{}, errors.New("it printed no access_token that can be sent")
	case life <= spareLife:
		return n, fmt.Errorf("its expires_in is not a number of seconds above %d", spareLife/time.Second)
	}
	n.Expiry = now.Add(life)
	return n, nil
}

// lastObject reads the JSON object that begins a line of the output and ends the output. The text before it must not hold
// another token: it would be unclear which one is meant.
func lastObject(output []byte) (members, error) {
	for at, line := 0, []byte(nil); at < len(output); at += len(line) {
		if line = output[at:]; bytes.IndexByte(line, '\n') >= 0 {
			line = line[:bytes.IndexByte(line, '\n')+1]
		}
		if !bytes.HasPrefix(bytes.TrimLeft(line, " \t"), []byte("{")) {
			continue
		}
		if fields, err := object(output[at:]); err == nil && !bytes.Contains(output[:at], []byte(`"access_token"`)) {
			return fields, nil
		}
	}
	return nil, errors.New(`it did not print one JSON object {"access_token": "…", "expires_in": 3600}`)
}

// withoutScheme removes the scheme "Bearer", which belongs before a token in a header only.
func withoutScheme(token string) string {
	const scheme = "bearer "
	token = strings.TrimSpace(token)
	if len(token) > len(scheme) && strings.EqualFold(token[:len(scheme)], scheme) {
		return strings.TrimSpace(token[len(scheme):])
	}
	return token
}

// head keeps the first bytes written to it and discards the rest: an error would stop a program that prints a lot.
type head struct {
	kept  []byte
	limit int
}

func (h *head) Write(p []byte) (int, error) {
	h.kept = append(h.kept, p[:min(len(p), h.limit-len(h.kept))]...)
	return len(p), nil
}
