package state

import "time"

// Run is the result of one run over inboxes. Inboxes counts its passes, Bytes the bytes of
// archived media; the other numbers count recordings.
type Run struct {
	ID              string    `json:"id,omitempty"` // random; "" in records of an earlier version
	Start           time.Time `json:"start"`
	End             time.Time `json:"end,omitzero"` // zero: the run is under way, or its process was killed
	Inboxes         int64     `json:"inboxes,omitempty"`
	Archived        int64     `json:"archived,omitempty"`
	Failed          int64     `json:"failed,omitempty"`
	DeleteRequested int64     `json:"delete_requested,omitempty"`
	Bytes           int64     `json:"bytes,omitempty"`
	ExitCode        int       `json:"exit_code"`
	Error           string    `json:"error,omitempty"` // why the run could not be made
}
