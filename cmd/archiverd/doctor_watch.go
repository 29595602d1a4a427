package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/archiverd/archiverd/archiver"
	"github.com/archiverd/archiverd/config"
	"github.com/archiverd/archiverd/network"
	"github.com/archiverd/archiverd/service/watch"
)

// watchers checks the metrics file, the Pushgateway and the heartbeat's host. A run
// archives without them, so these checks warn but never fail.
func (a *app) watchers(c *config.Config) []archiver.Check {
	var all []archiver.Check
	if path := c.Metrics.Textfile; path != "" {
		all = append(all, textfileCheck(path, watch.TryTextfile(path)))
	}
	transport, err := network.NewTransport(network.Options{CAFile: c.Network.CAFile})
	if err != nil {
		return append(all, configFaults(err)...)
	}
	for _, host := range []struct {
		name, key, address string
		ask                func(context.Context, http.RoundTripper, string) (int, error)
	}{
		{"metrics.push", "metrics.push_url", c.Metrics.PushURL.Reveal(), watch.TryGateway},
		{"heartbeat", "heartbeat_url", c.HeartbeatURL.Reveal(), watch.TryHeartbeat},
	} {
		if host.address == "" {
			continue
		}
		ctx, cancel := reporting(a.stop, c)
		status, err := host.ask(ctx, transport, host.address)
		cancel()
		all = append(all, hostCheck(archiver.Check{Name: host.name}, host.key, status, err))
	}
	return all
}

func textfileCheck(path string, err error) archiver.Check {
	check := archiver.Check{Name: "metrics.textfile", Result: archiver.Pass, Found: path + " can be written"}
	if e, ok := errors.AsType[*watch.TextfileError](err); ok {
		check.Result, check.Found, check.Remedy = archiver.Warn, "could not write the metrics file "+path+": "+e.Cause, e.Remedy
	}
	return check
}

// hostCheck judges the reply to a request that changes nothing at the host. For a
// heartbeat, any reply only shows that its host is up.
func hostCheck(check archiver.Check, key string, status int, err error) archiver.Check {
	refused := status == http.StatusUnauthorized || status == http.StatusForbidden
	switch {
	case err != nil:
		check.Result, check.Found = archiver.Warn, "the host can't be reached: "+err.Error()
		check.Remedy = "make the host of " + key + " reachable from here: until then each run waits for it, at most report_timeout, and continues without it"
	case key == "heartbeat_url":
		check.Result, check.Found = archiver.Pass, "the host answers; only a run can show whether it knows the address, since each call counts as a heartbeat"
	case refused:
		check.Result, check.Found = archiver.Warn, fmt.Sprintf("the gateway refuses the user and the password, its reply is %d", status)
		check.Remedy = "correct the user and the password in " + key
	case status/100 == 2:
		check.Result, check.Found = archiver.Pass, "the gateway is ready"
	case status >= 500:
		check.Result, check.Found = archiver.Warn, fmt.Sprintf("the gateway is not ready, its reply is %d", status)
		check.Remedy = "find the reason at the gateway: until it is ready, it accepts no metrics"
	default: // some servers that accept metrics have no readiness check
		check.Result, check.Found = archiver.Unchecked, fmt.Sprintf("the gateway's readiness check replied %d: only a run can show whether it accepts metrics", status)
	}
	return check
}
