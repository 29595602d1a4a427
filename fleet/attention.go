package fleet

import (
	"context"

	"github.com/archiverd/archiverd/failure"
	"github.com/archiverd/archiverd/state"
)

// heartbeat sends the heartbeat in the background, unless the run needs a person's
// attention. before holds the inboxes as they were when the run began.
func (f *Fleet) heartbeat(stop context.Context, r *Result, before map[inboxKey]state.Inbox) {
	if f.Heartbeat == nil {
		return
	}
	if why := needsAttention(r, before); why != "" {
		f.Log.Warn("heartbeat_url is not called", "reason", why)
		return
	}
	f.sending.Go(func() {
		if err := f.Heartbeat(stop); err != nil {
			f.Log.Error("no heartbeat is sent", "error", err)
		}
	})
}

// Wait waits until the heartbeat of the last Run is sent.
func (f *Fleet) Wait() { f.sending.Wait() }

// needsAttention returns why this run needs a person's attention that no earlier run has
// asked for, or why nothing can be archived at all; "" if neither is so.
func needsAttention(r *Result, before map[inboxKey]state.Inbox) string {
	good := 0
	for i, in := range r.Inboxes {
		known := before[inboxKey{in.Org, in.Inbox}]
		was := known.Condition
		where := in.Org + "/" + in.Inbox
		switch kind := failure.KindOf(in.Err); {
		case in.Pass.Findings > 0:
			return where + ": the archive is not what it should be"
		case in.Pass.Vanished > 0:
			return where + ": recordings were deleted before they could be archived"
		case r.Failures[i].NeedPerson > known.NeedsPerson:
			return where + ": recordings have failed for so long that a person has to look"
		case in.Short != "" && was != state.ConditionShort:
			return where + ": " + in.Short
		case kind == failure.KindNone:
			good++
		case kind == failure.KindNeedsLogin && was == state.ConditionNeedsLogin:
		case (kind == failure.KindFailed || kind == failure.KindRefused) && was == state.ConditionFailing:
		default:
			return where + ": " + in.Err.Error()
		}
	}
	if good == 0 && len(r.Inboxes) > 0 {
		return "no inbox could be archived"
	}
	return ""
}
