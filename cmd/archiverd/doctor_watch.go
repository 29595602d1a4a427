package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/archiverd/archiverd/config"
	"github.com/archiverd/archiverd/doctor"
	"github.com/archiverd/archiverd/network"
	"github.com/archiverd/archiverd/service/watch"
)

// watchers tests the services that are told of runs. None of them can keep a run from
// archiving, so a fault is only a warning.
func (a *app) watchers(c *config.Config) []doctor.Check {
	var all []doctor.Check
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
		all = append(all, hostCheck(doctor.Check{Name: host.name}, host.key, status, err))
	}
	return all
}

func textfileCheck(path string, err error) doctor.Check {
	check := doctor.Check{Name: "metrics.textfile", Result: doctor.Pass, Found: path + " can be written"}
	if e, ok := errors.AsType[*watch.TextfileError](err); ok {
		check.Result, check.Found, check.Remedy = doctor.Warn, "could not write the metrics file "+path+": "+e.Cause, e.Remedy
	}
	return check
}

// hostCheck judges a host's reply to a request that changes nothing. The reply of a heartbeat's
// host shows only that the host can be reached.
func hostCheck(check doctor.Check, key string, status int, err error) doctor.Check {
	refused := status == http.StatusUnauthorized || status == http.StatusForbidden
	switch {
	case err != nil:
		check.Result, check.Found = doctor.Warn, "the host can't be reached: "+err.Error()
		check.Remedy = "make sure that the host of " + key + " can be reached from here: each run waits for it, report_timeout at most, and goes on without it"
	case key == "heartbeat_url":
		check.Result, check.Found = doctor.Pass, "the host answers; only a run shows whether it knows the address, because it counts every call as a run"
	case refused:
		check.Result, check.Found = doctor.Warn, fmt.Sprintf("the reply is %d: it refuses the user and the password", status)
		check.Remedy = "correct the user and the password in " + key
	case status/100 == 2:
		check.Result, check.Found = doctor.Pass, "the gateway is ready"
	case status >= 500:
		check.Result, check.Found = doctor.Warn, fmt.Sprintf("the gateway is not ready, its reply is %d", status)
		check.Remedy = "see why at the gateway: it accepts no metrics until it is ready"
	default: // some gateways that accept metrics lack this path
		check.Result, check.Found = doctor.Unchecked, fmt.Sprintf("the gateway replies %d to the question whether it is ready: only a run shows whether it accepts metrics", status)
	}
	return check
}
