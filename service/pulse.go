package service

import (
	"sync/atomic"
	"time"
)

// Pulse shows whether a run makes progress: every transfer of bytes calls Beat.
type Pulse struct {
	born time.Time
	last atomic.Int64 // beat, since born
}

// NewPulse returns a pulse that has just beaten.
func NewPulse() *Pulse { return &Pulse{born: time.Now()} }

// Beat records progress.
func (p *Pulse) Beat() { p.last.Store(int64(time.Since(p.born))) }

// since is the time since the last beat, without the time that the machine was suspended.
func (p *Pulse) since() time.Duration { return time.Since(p.born) - time.Duration(p.last.Load()) }
