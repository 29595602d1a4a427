package service

import (
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
)

// notifier sends messages to the service manager, if there is one. A manager that can't
// be reached is logged once and changes nothing else.
type notifier struct {
	log *slog.Logger

	mu     sync.Mutex
	silent bool   // the last message did not get through
	text   string // the last STATUS
}

func (n *notifier) send(lines ...string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.deliver(lines...)
}

func (n *notifier) deliver(lines ...string) {
	_, err := daemon.SdNotify(false, strings.Join(lines, "\n"))
	if err != nil && !n.silent {
		n.log.Warn("the service manager can't be reached", "error", err)
	}
	n.silent = err != nil
}

// status sends what the service is doing, if that has changed.
func (n *notifier) status(text string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if text != n.text {
		n.text = text
		n.deliver("STATUS=" + strings.ReplaceAll(text, "\n", " "))
	}
}

func (n *notifier) reloading() { n.send("RELOADING=1", daemon.SdNotifyMonotonicUsec()) }

// watchdog is the interval in which the service manager expects a message; 0: no watchdog.
func watchdog() time.Duration {
	d, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		return 0 // the variable is no number: it comes from no service manager
	}
	return d
}
