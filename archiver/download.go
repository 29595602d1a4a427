package archiver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/archiverd/archiverd/failure"
	"github.com/archiverd/archiverd/genesys"
)

const (
	firstPoll = 250 * time.Millisecond
	maxPoll   = 30 * time.Second
	// maxWait bounds the wait for one transcoding in one pass.
	maxWait = 15 * time.Minute
	// maxResumes bounds the reconnections of a download that makes no progress.
	maxResumes = 5
	// readSize is the largest read of a download, so that a bandwidth limit spreads evenly.
	readSize = 256 << 10
)

// errNotReady says that Genesys is still transcoding.
var errNotReady = errors.New("the transcoding is not ready")

// turn is leave to work on one recording: a worker, and the next request of the inbox's
// rate budget.
type turn struct {
	p        *pass
	reserved *genesys.Reservation
	working  bool
}

// begin waits for a turn. First comes the rate budget, then a worker, and one recording of
// an inbox at a time. So no worker stands idle because one inbox may not ask yet, and an
// inbox with many recordings gets workers in turn with the others.
func (p *pass) begin(ctx context.Context) (*turn, error) {
	t := &turn{p: p}
	return t, t.take(ctx)
}

func (t *turn) take(ctx context.Context) error {
	select {
	case t.p.turns <- struct{}{}:
		defer func() { <-t.p.turns }()
	case <-ctx.Done():
		return ctx.Err()
	}
	var err error
	if t.reserved, err = t.p.in.API.Reserve(ctx); err != nil {
		return err
	}
	if err := t.p.workers.Acquire(ctx, 1); err != nil {
		t.reserved.Release()
		return err
	}
	t.working = true
	if err := t.p.stopped(); err != nil {
		t.giveBack()
		return err
	}
	return nil
}

// giveBack gives the worker back, and the request if it was not made.
func (t *turn) giveBack() {
	if t.working {
		t.working = false
		t.reserved.Release()
		t.p.workers.Release(1)
	}
}

// ready waits until a recording's media can be fetched. Between two questions the turn is
// another recording's.
func (t *turn) ready(ctx context.Context, id string) (*source, error) {
	s := &source{p: t.p, id: id}
	begun := time.Now()
	for poll := firstPoll; ; poll = min(2*poll, maxPoll) {
		err := s.ask(ctx, t.reserved)
		if !errors.Is(err, errNotReady) {
			return s, err
		}
		t.giveBack()
		if time.Since(begun) > maxWait {
			return nil, fmt.Errorf("%w after %s", errNotReady, maxWait)
		}
		if !failure.Pause(t.p.stop, poll) && ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if err := t.take(ctx); err != nil {
			return nil, err
		}
	}
}

// source is where one recording's media come from: a link, which is renewed when it expires.
type source struct {
	p              *pass
	id             string
	link           string
	correlationIDs []string
}

// ask asks for the download once. If reserved is nil or was used, it waits for the rate
// budget.
func (s *source) ask(ctx context.Context, reserved *genesys.Reservation) error {
	var d *genesys.Download
	err := s.p.retry(ctx, func() (err error) {
		d, err = s.p.in.API.Download(ctx, reserved, s.p.in.DownloadAPI, s.id, s.p.in.Format)
		return err
	})
	if e := genesys.AsError(err); e != nil && e.Status == http.StatusNotFound {
		return s.notServed(ctx, err)
	}
	if err != nil {
		return err
	}
	s.p.noteServed()
	s.correlationIDs = append(s.correlationIDs, d.CorrelationID)
	if !d.Ready() {
		return errNotReady
	}
	s.link = d.Location
	return nil
}

func (p *pass) noteServed() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.served = true
}

// notServed finds out whether a 404 of the download operation means the recording or the
// operation itself. If three recordings that exist get a 404 before any was served, it is
// the operation.
func (s *source) notServed(ctx context.Context, notFound error) error {
	_, err := s.p.fetch(ctx, s.id)
	if genesys.AsError(err).NotFound() {
		return errMoved
	}
	if err != nil {
		return err
	}
	s.p.mu.Lock()
	defer s.p.mu.Unlock()
	if s.p.absent++; !s.p.served && s.p.absent >= 3 {
		return &wrongDownloadAPIError{s.p.in.DownloadAPI}
	}
	return fmt.Errorf("the recording exists, but not for the download operation (is download_api: %s right?): %w", s.p.in.DownloadAPI, notFound)
}

// A wrongDownloadAPIError says that the configured download operation does not exist.
type wrongDownloadAPIError struct{ api genesys.DownloadAPI }

func (e *wrongDownloadAPIError) Error() string {
	other := genesys.DownloadMedia
	if e.api == other {
		other = genesys.DownloadTranscoding
	}
	return fmt.Sprintf("the download operation answers 404 for recordings that exist: download_api: %s is not served here, try download_api: %s", e.api, other)
}

// Is says that every other recording would meet this too.
func (e *wrongDownloadAPIError) Is(target error) bool { return target == failure.ErrWholeInbox }

// open begins or resumes the download, with a new link if the old one expired.
func (s *source) open(ctx context.Context, at genesys.Position) (*genesys.Media, error) {
	m, err := s.openLink(ctx, at)
	if !expired(err) {
		return m, err
	}
	if err := s.ask(ctx, nil); err != nil {
		return nil, err
	}
	return s.openLink(ctx, at)
}

func (s *source) openLink(ctx context.Context, at genesys.Position) (m *genesys.Media, err error) {
	err = s.p.retry(ctx, func() error {
		m, err = s.p.in.Links.Open(ctx, s.link, at)
		return err
	})
	return m, err
}

// expired reports whether a link is no longer valid. Object stores answer 403; 404 and 410
// are possible once the transcoded media behind the link are gone.
func expired(err error) bool {
	e := genesys.AsError(err)
	return e.OfMedia() && (e.Status == http.StatusForbidden || e.Status == http.StatusNotFound || e.Status == http.StatusGone)
}

// body is one recording's media, read to a proved end. When the connection breaks, Read
// goes on at the same byte if the host proves that the media are still the same. Otherwise
// Read fails with errAgain.
type body struct {
	ctx     context.Context
	src     *source
	media   *genesys.Media
	offset  int64
	failure error // of the last read, which also gave bytes; the next Read returns it
	resumes int   // since the last progress
}

func (s *source) body(ctx context.Context) (*body, error) {
	m, err := s.open(ctx, genesys.Position{})
	if err != nil {
		return nil, err
	}
	return &body{ctx: ctx, src: s, media: m}, nil
}

func (b *body) Read(buf []byte) (int, error) {
	buf = buf[:min(len(buf), readSize)]
	for {
		n, err := 0, b.failure
		if err == nil {
			n, err = b.media.Read(buf)
			b.offset += int64(n)
		}
		if n > 0 {
			b.failure, b.resumes = err, 0
			b.src.p.Tally.Bytes.Add(int64(n))
			return n, b.src.p.paced(b.ctx, n)
		}
		if err == io.EOF {
			return 0, io.EOF
		}
		if err != nil {
			b.failure = nil
			if err := b.resume(err); err != nil {
				return 0, err
			}
		}
	}
}

// resume reconnects after the connection broke for cause.
func (b *body) resume(cause error) error {
	if b.ctx.Err() != nil {
		return b.ctx.Err()
	}
	if b.media.ETag == "" || b.media.Total < 0 {
		return fmt.Errorf("download broke off and can't be resumed, %w: %w", errAgain, cause)
	}
	if b.resumes++; b.resumes > maxResumes {
		return fmt.Errorf("download broke off %d times without progress: %w", b.resumes, cause)
	}
	if !failure.Pause(b.ctx, time.Duration(b.resumes)*200*time.Millisecond) {
		return b.ctx.Err()
	}
	b.media.Close()
	m, err := b.src.open(b.ctx, genesys.Position{Offset: b.offset, Total: b.media.Total, ETag: b.media.ETag})
	if errors.Is(err, genesys.ErrChanged) || errors.Is(err, errNotReady) {
		return fmt.Errorf("the media changed during the download, %w: %w", errAgain, err)
	}
	if err != nil {
		return err
	}
	b.media = m
	return nil
}

func (b *body) Close() error { return b.media.Close() }

// paced waits until n more bytes fit the configured bandwidth.
func (a *Archiver) paced(ctx context.Context, n int) error {
	if a.pace == nil {
		return nil
	}
	return a.pace.WaitN(ctx, n)
}
