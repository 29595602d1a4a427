package service

import (
	"sync/atomic"
	"time"
)

// Pulse tells whether a run moves: whoever moves bytes for it beats.
type Pulse struct {
	born time.Time
	last atomic.Int64 // beat, since born
}

// NewPulse returns a pulse that has just beaten.
func NewPulse() *Pulse { return &Pulse{born: time.Now()} }

// Beat notes that something moved.
func (p *Pulse) Beat() { p.last.Store(int64(time.Since(p.born))) }

// since is how long nothing has moved. A suspended machine's time does not count.
func (p *Pulse) since() time.Duration { return time.Since(p.born) - time.Duration(p.last.Load()) }
