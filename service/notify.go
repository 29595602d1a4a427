package service

import (
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
)

// notifier talks to the service manager, where there is one. That it can't be reached
// is said once and changes nothing else.
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
		n.log.Warn("the service manager can't be told how the service does", "error", err)
	}
	n.silent = err != nil
}

// status tells people what the service is doing, where that has changed.
func (n *notifier) status(text string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if text != n.text {
		n.text = text
		n.deliver("STATUS=" + strings.ReplaceAll(text, "\n", " "))
	}
}

func (n *notifier) reloading() { n.send("RELOADING=1", daemon.SdNotifyMonotonicUsec()) }

// watchdog is how often the service manager wants to hear from this process; 0: never.
func watchdog() time.Duration {
	d, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		return 0 // a number that is none, which no service manager sets
	}
	return d
}
