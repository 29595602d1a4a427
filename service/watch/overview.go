package watch

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/archiverd/archiverd/state"
)

// Overview shows thousands of inboxes on a screen: the sum of each organization, and
// those inboxes first that need someone or hold something up.
type Overview struct {
	Organizations []Sum   // by name
	Total         Sum     // of all organizations
	Inboxes       []Inbox // the first Total.Listed of them have Needs, the most urgent first
}

// Sum is what the inboxes of an organization come to.
type Sum struct {
	Org         string
	Inboxes     int
	Listed      int // that need someone or hold something up
	NeedPerson  int // of these, the inboxes that need someone
	LastSuccess time.Time
	Oldest      time.Time // made, of what the last passes left waiting; zero: they left none
	Counts
}

// Counts count recordings, but for Bytes, of media.
type Counts struct {
	Waiting, Failed, NeedsPerson, Archived, Deleted, Vanished, Suspect, Unproved, Bytes int64
	Waived, Disposed                                                                    int64 // Disposed: erased or expired
}

// Inbox is an inbox, without the name of its user.
type Inbox struct {
	Org, ID, Condition string
	Counts
	LastPass *state.Pass
	Needs    []Need
}

// Need is one reason to list an inbox.
type Need struct {
	Person  bool   // whether someone has to act; otherwise something is held up
	What    string // the reason itself
	Remedy  string // what a person can do; "": wait
	urgency int    // the most urgent has the lowest
}

// NewOverview looks at inboxes as they are now.
func NewOverview(inboxes []state.Inbox, now time.Time) Overview {
	var o Overview
	at := map[string]int{}
	for _, i := range inboxes {
		in := Inbox{Org: i.Org, ID: i.ID, Condition: conditionOf(i), Counts: countsOf(i), LastPass: i.LastPass, Needs: needs(i, now)}
		o.Inboxes = append(o.Inboxes, in)
		if _, ok := at[i.Org]; !ok {
			at[i.Org] = len(o.Organizations)
			o.Organizations = append(o.Organizations, Sum{Org: i.Org})
		}
		o.Organizations[at[i.Org]].add(in, i)
		o.Total.add(in, i)
	}
	slices.SortFunc(o.Organizations, func(a, b Sum) int { return cmp.Compare(a.Org, b.Org) })
	slices.SortStableFunc(o.Inboxes, func(a, b Inbox) int {
		return cmp.Or(cmp.Compare(a.urgency(), b.urgency()), cmp.Compare(b.Failed+b.Waiting, a.Failed+a.Waiting))
	})
	return o
}

func (s *Sum) add(in Inbox, i state.Inbox) {
	s.Inboxes++
	if len(in.Needs) > 0 {
		s.Listed++
	}
	if in.NeedsSomeone() {
		s.NeedPerson++
	}
	if i.LastSuccess.After(s.LastSuccess) {
		s.LastSuccess = i.LastSuccess
	}
	if w := i.OldestWaiting; !w.IsZero() && (s.Oldest.IsZero() || w.Before(s.Oldest)) {
		s.Oldest = w
	}
	s.Waiting += in.Waiting
	s.Failed += in.Failed
	s.NeedsPerson += in.NeedsPerson
	s.Archived += in.Archived
	s.Deleted += in.Deleted
	s.Vanished += in.Vanished
	s.Waived += in.Waived
	s.Disposed += in.Disposed
	s.Suspect += in.Suspect
	s.Unproved += in.Unproved
	s.Bytes += in.Bytes
}

func countsOf(i state.Inbox) Counts {
	return Counts{
		Waiting: i.Counts[state.StateListed], Failed: i.Counts[state.StateFailed], NeedsPerson: i.NeedsPerson,
		Archived: kept(i.Counts), Deleted: i.Counts[state.StateDeleted], Vanished: i.Counts[state.StateVanished],
		Waived: i.Counts[state.StateWaived], Disposed: disposed(i.Counts),
		Suspect: i.Suspect, Unproved: i.Unproved, Bytes: i.Bytes,
	}
}

// NeedsSomeone reports whether someone has to act.
func (i Inbox) NeedsSomeone() bool {
	return slices.ContainsFunc(i.Needs, func(n Need) bool { return n.Person })
}

// urgency puts inboxes in order.
func (i Inbox) urgency() int {
	if len(i.Needs) == 0 {
		return math.MaxInt
	}
	return i.Needs[0].urgency
}

// late is the age at which a waiting recording is late: that of the alert ArchiverdUnarchivedTooLong.
const late = 48 * time.Hour

// needs are the reasons to list an inbox, the most urgent first. An inbox that a person has
// logged out has no pass due.
func needs(i state.Inbox, now time.Time) []Need {
	const retry = "See archiverd ls --state failed --inbox %s; archiverd retry --inbox %[1]s tries them now."
	due := !i.LoggedOut
	news, old := i.Counts[state.StateFailed]-i.NeedsPerson, i.OldestWaiting
	var last state.Pass
	if i.LastPass != nil {
		last = *i.LastPass
	}
	var all []Need
	for urgency, n := range []struct {
		holds, person bool
		what, remedy  string
	}{
		{last.Findings > 0, true, fmt.Sprintf("the last pass met %s objects in the archive that are not what they should be", Number(last.Findings)),
			fmt.Sprintf("See archiverd verify --inbox %s, which names them.", i.ID)},
		{due && i.Condition == state.ConditionFailing, true, i.Reason, "Remove the cause. Every run tries this inbox again."},
		{due && i.Condition == state.ConditionShort, true, i.Reason, "Everything that Genesys lists is archived. For the rest, set a smaller page_size or ask Genesys support."},
		{due && i.Condition == state.ConditionNeedsLogin, true, i.Reason, fmt.Sprintf("Let its user log in: archiverd login --org %s --inbox %s", i.Org, i.ID)},
		{i.NeedsPerson > 0, true, Number(i.NeedsPerson) + " of its recordings have failed for a week, or keep changing, and need a person", fmt.Sprintf(retry, i.ID)},
		{due && news > 0, false, Number(news) + " failed; the next runs try again", fmt.Sprintf(retry, i.ID)},
		{due && !old.IsZero() && now.Sub(old) > late, false, "the last pass left a recording waiting that was made on " + old.UTC().Format(time.DateOnly), ""},
		{last.Vanished > 0, false, fmt.Sprintf("the last pass missed %s recordings that were deleted in Genesys before they were archived", Number(last.Vanished)),
			fmt.Sprintf("See archiverd ls --state vanished --inbox %s.", i.ID)},
		{due && i.NotBefore.After(now), false, "Genesys asked for no requests until " + i.NotBefore.UTC().Format("2006-01-02 15:04 MST"), ""},
	} {
		if n.holds {
			all = append(all, Need{n.person, n.what, n.remedy, urgency})
		}
	}
	return all
}

// Number groups a number's digits by thousands.
func Number[N int | int64](n N) string {
	s := strconv.FormatInt(int64(n), 10)
	for at := len(s) - 3; at > 0 && s[at-1] != '-'; at -= 3 {
		s = s[:at] + "," + s[at:]
	}
	return s
}
