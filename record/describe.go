package record

import (
	"github.com/archiverd/archiverd/genesys"
	"github.com/archiverd/archiverd/state"
)

// Describe takes what people search for from a recording into its entry.
func Describe(e *state.Entry, r genesys.Recording) {
	e.Name, e.ConversationID, e.DateCreated = r.Name, r.ConversationID, r.DateCreated
	e.Milliseconds = 0
	if r.DurationMilliseconds != nil {
		e.Milliseconds = *r.DurationMilliseconds
	}
	e.Participants = nil
	for _, p := range r.Participants() {
		e.Participants = append(e.Participants, state.Participant(p))
	}
}
