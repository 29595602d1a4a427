package state

import "time"

// Run is what one run over inboxes came to. Inboxes counts its passes, the rest
// recordings, but for Bytes, of media archived.
type Run struct {
	ID              string    `json:"id,omitempty"` // random; "" where an earlier version wrote it
	Start           time.Time `json:"start"`
	End             time.Time `json:"end,omitzero"` // zero: it is under way, or its process was killed
	Inboxes         int64     `json:"inboxes,omitempty"`
	Archived        int64     `json:"archived,omitempty"`
	Failed          int64     `json:"failed,omitempty"`
	DeleteRequested int64     `json:"delete_requested,omitempty"`
	Bytes           int64     `json:"bytes,omitempty"`
	ExitCode        int       `json:"exit_code"`
	Error           string    `json:"error,omitempty"` // why it could not be made
}
