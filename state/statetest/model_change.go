package statetest

import (
	"fmt"
	"strings"
	"time"

	"github.com/archiverd/archiverd/state"
	"pgregory.net/rapid"
)

var (
	genInbox = rapid.SampledFrom([]state.Key{{Org: "a", Inbox: "u"}, {Org: "a-b", Inbox: "u/\xff"}})
	genID    = rapid.SampledFrom([]string{"r", "\x00\xff", strings.Repeat("l", 3000)})
	genState = rapid.SampledFrom([]state.State{state.StateListed, state.StateListed, state.StateFailed, state.StateArchived, state.StateArchived,
		state.StateDeleteRequested, state.StateDeleted, state.StateVanished, state.StateGone, state.StateWaived, state.StateErased, state.StateExpired})
	genEdit = rapid.SampledFrom([]string{"nothing", "raw", "fail", "version", "version", "key", "bad key", "missing", "forget", "rewrite", "other key",
		"describe", "describe", "describe", "hold", "release", "erase", "expire", "waive"})
)

// edit returns an edit that an archiver makes of an entry, or must not make.
func edit(what string, n int) func(*state.Entry) {
	return func(e *state.Entry) {
		switch what {
		case "raw":
			e.Raw, e.Expanded = []byte(strings.Repeat("r", n)), n > 50
		case "fail":
			e.Attempts++
			e.LastError, e.FailedSince, e.NextAttempt = "oops", testTime, testTime.Add(time.Hour)
			e.NeedsPerson = e.Attempts > 1
		case "version":
			AddVersion(n)(e)
		case "key":
			if e.MediaKey == "" {
				e.MediaKey = "first"
			}
		case "bad key":
			e.BadKeys = append(e.BadKeys, strings.Repeat("b", n))
		case "missing":
			e.MissingSince = testTime
		case "forget":
			e.Versions = nil
		case "rewrite":
			if len(e.Versions) > 0 {
				e.Versions[0].Size++
			}
		case "other key":
			e.MediaKey += "x"
		case "describe":
			describe(n)(e)
		case "hold", "release", "erase", "expire", "waive":
			a := Act(state.ActKind(what))
			a.ID = fmt.Sprint(what, len(e.Acts))
			a.Do(e)
		}
	}
}

// expect applies a change to the model: false if the ledger has to refuse it.
func (m *model) expect(k state.Key, from, to state.State, what string, n int) (state.Entry, bool) {
	have := m.entries[k]
	if have.State != from || !agreedEdges()[state.Edge{From: from, To: to}] {
		return have, false
	}
	e := have.Clone()
	if from != to && (to == state.StateListed || to == state.StateArchived) {
		e = state.Entry{
			Raw: e.Raw, Expanded: e.Expanded, MediaKey: e.MediaKey, Versions: e.Versions, BadKeys: e.BadKeys,
			ListedAt: e.ListedAt, Attempts: e.Attempts, Acts: e.Acts,
			Name: e.Name, ConversationID: e.ConversationID, DateCreated: e.DateCreated, Milliseconds: e.Milliseconds, Participants: e.Participants,
		}
	}
	edit(what, n)(&e)
	if e.State = to; from == "" {
		e.ListedAt = testTime
	}
	archived := to == state.StateArchived || to == state.StateDeleteRequested || to == state.StateDeleted || to == state.StateGone
	if archived {
		e.Raw, e.Expanded = nil, false
	}
	if to == state.StateWaived {
		e.NeedsPerson, e.NextAttempt = false, time.Time{}
	}
	if to == state.StateErased || to == state.StateExpired {
		e.Name, e.ConversationID, e.Participants, e.Milliseconds = "", "", nil, 0
		e.Raw, e.Expanded, e.LastError, e.NeedsPerson, e.FailedSince, e.NextAttempt = nil, false, "", false, time.Time{}, time.Time{}
	}
	switch {
	case !mayAct(have, e, what):
		return have, false
	case archived && len(e.Versions) == 0,
		len(e.Versions) < len(have.Versions),
		len(have.Versions) > 0 && what == "rewrite",
		have.MediaKey != "" && what == "other key":
		return have, false
	}
	return e, true
}

// mayAct reports whether the acts of an entry allow it to become e by an edit.
func mayAct(have, e state.Entry, what string) bool {
	disposed, held := "", 0
	for _, a := range have.Acts {
		switch a.Kind {
		case state.ActHold:
			held = 1 // the model has one case
		case state.ActRelease:
			held = 0
		case state.ActErase, state.ActExpire:
			disposed = string(a.Kind)
		}
	}
	final := map[string]state.State{"erase": state.StateErased, "expire": state.StateExpired}
	moves := have.State != e.State
	switch what {
	case "hold":
		return !moves && disposed == ""
	case "release":
		return !moves
	case "erase", "expire":
		return !moves && held == 0 && len(e.Versions) > 0 && (e.State.Disposed() || agreedEdges()[state.Edge{From: e.State, To: state.StateErased}])
	case "waive":
		return moves && e.State == state.StateWaived && disposed == ""
	}
	switch {
	case moves && e.State == state.StateWaived, moves && e.State == state.StateDeleteRequested && held > 0:
		return false
	case disposed != "":
		return (!moves || e.State == final[disposed]) && len(e.Versions) == len(have.Versions)
	}
	return e.State != state.StateErased && e.State != state.StateExpired
}

// draw draws a change: mostly from the state that the entry has, along an edge.
func (m *model) draw(rt *rapid.T, k state.Key) (from, to state.State, what string, n int) {
	from, to = m.entries[k].State, genState.Draw(rt, "to")
	if rapid.IntRange(0, 9).Draw(rt, "stale") == 0 {
		from = genState.Draw(rt, "from")
	}
	if rapid.IntRange(0, 3).Draw(rt, "wild") > 0 {
		var ways []state.State
		for _, e := range state.Edges() {
			if e.From == from {
				ways = append(ways, e.To)
			}
		}
		if len(ways) > 0 {
			to = rapid.SampledFrom(ways).Draw(rt, "way")
		}
	}
	return from, to, genEdit.Draw(rt, "edit"), rapid.IntRange(1, 3000).Draw(rt, "n")
}

// record adds the event that the ledger has to record of a change.
func (m *model) record(k state.Key, old, e state.Entry) {
	if old.State == "" || old.State == e.State && len(e.BadKeys) == len(old.BadKeys) && len(e.Acts) == len(old.Acts) {
		return
	}
	box := state.Key{Org: k.Org, Inbox: k.Inbox}
	ev := state.Event{Recording: k.Recording, At: testTime, From: old.State, To: e.State, BadKeys: e.BadKeys[len(old.BadKeys):]}
	if len(e.Versions) > len(old.Versions) {
		ev.Version = len(e.Versions)
	}
	if e.State != old.State && (e.State == state.StateFailed || e.State == state.StateVanished || e.State == state.StateArchived) {
		ev.Why = e.LastError
	}
	if len(e.Acts) > len(old.Acts) {
		ev.Act = &e.Acts[len(old.Acts)]
	} else if e.State == state.StateErased || e.State == state.StateExpired {
		ev.Act = e.Disposal()
	}
	m.events[box] = append(m.events[box], ev)
}
