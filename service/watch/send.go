package watch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/prometheus/client_golang/prometheus/push"
)

const (
	sendTries   = 3
	sendTimeout = 10 * time.Second // of one try
	sendPause   = time.Second      // before the second try, doubled before the third
)

// Push sends the metrics to a Pushgateway, where they replace those of an earlier process
// of the same instance. The URL may contain a user and a password; no error shows it.
func (m *Metrics) Push(ctx context.Context, rt http.RoundTripper, gateway, instance string) error {
	u, err := url.Parse(gateway)
	if err != nil {
		return errNoURL
	}
	user := u.User
	u.User = nil
	p := push.New(u.String(), "archiverd").Grouping("instance", instance).Gatherer(m.Registry).Client(&http.Client{Transport: rt})
	if password, ok := user.Password(); ok || user != nil {
		p = p.BasicAuth(user.Username(), password)
	}
	return send(ctx, "push metrics to "+u.Host, p.PushContext)
}

var errNoURL = errors.New("metrics.push_url is not a URL")

// TryGateway asks a Pushgateway whether it is ready, and returns the reply's status. It
// changes nothing at the gateway.
func TryGateway(ctx context.Context, rt http.RoundTripper, gateway string) (int, error) {
	u, err := url.Parse(gateway)
	if err != nil {
		return 0, errNoURL
	}
	return try(ctx, rt, u.JoinPath("-/ready"))
}

// TryHeartbeat asks the host of a heartbeat's URL for its first page: a call of the URL
// itself would report that a run went well.
func TryHeartbeat(ctx context.Context, rt http.RoundTripper, address string) (int, error) {
	u, err := url.Parse(address)
	if err != nil {
		return 0, errors.New("heartbeat_url is not a URL")
	}
	return try(ctx, rt, &url.URL{Scheme: u.Scheme, Host: u.Host, Path: "/"})
}

func try(ctx context.Context, rt http.RoundTripper, u *url.URL) (int, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return 0, withoutURL(err)
	}
	if password, ok := u.User.Password(); ok || u.User != nil {
		req.SetBasicAuth(u.User.Username(), password)
	}
	resp, err := rt.RoundTrip(req)
	switch {
	case err != nil && ctx.Err() != nil:
		return 0, context.Cause(ctx)
	case err != nil:
		return 0, withoutURL(err)
	}
	return resp.StatusCode, resp.Body.Close()
}

// Heartbeat calls the URL, which may itself be a secret: no error shows it.
func Heartbeat(ctx context.Context, rt http.RoundTripper, address, userAgent string) error {
	client := &http.Client{Transport: rt}
	return send(ctx, "call heartbeat_url", func(ctx context.Context) error {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
		if err != nil {
			return err
		}
		req.Header.Set("User-Agent", userAgent)
		resp, err := client.Do(req)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		_, _ = io.CopyN(io.Discard, resp.Body, 64<<10) // lets the connection be reused
		if resp.StatusCode/100 != 2 {
			return fmt.Errorf("the reply is %s", resp.Status)
		}
		return nil
	})
}

// send tries a few times.
func send(ctx context.Context, what string, once func(context.Context) error) error {
	pause := sendPause
	for n := 1; ; n++ {
		limited, cancel := context.WithTimeout(ctx, sendTimeout)
		err := once(limited)
		cancel()
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		if n == sendTries || ctx.Err() != nil {
			return fmt.Errorf("%s: %w", what, withoutURL(err))
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
		}
		pause *= 2
	}
}

// withoutURL returns the cause of an error of net/http's client: the error itself quotes
// the URL.
func withoutURL(err error) error {
	if u, ok := errors.AsType[*url.Error](err); ok {
		return withoutURL(u.Err)
	}
	return err
}
