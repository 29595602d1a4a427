package state

import (
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Selection says which recordings are meant. Each criterion that is set narrows it.
type Selection struct {
	IDs          []string // of recordings, in any inbox
	Org, Inbox   string
	Conversation string
	Participant  string    // a part of a participant's user id, name or address, in any case
	Name         string    // a part of the recording's name, in any case
	From, To     time.Time // created at From or later, and before To; to the millisecond
	State        State
	Case         string // that holds the recording

	MinDuration, MaxDuration time.Duration // to the millisecond, of recordings whose duration is known
	MinSize, MaxSize         int64         // in bytes, of the newest version's media

	All bool // every recording, where no other criterion is set
}

// Empty reports whether the selection has no criterion. Commands that act on recordings
// refuse an empty selection.
func (s *Selection) Empty() bool {
	return !s.All && len(s.IDs) == 0 && s.Org == "" && s.Inbox == "" && s.Conversation == "" && s.Participant == "" && s.Name == "" &&
		s.From.IsZero() && s.To.IsZero() && s.State == "" && s.Case == "" &&
		s.MinDuration == 0 && s.MaxDuration == 0 && s.MinSize == 0 && s.MaxSize == 0
}

// Selects reports whether the entry with the key is among the selected. Without criteria,
// every entry is.
func (s *Selection) Selects(k Key, e *Entry) bool {
	return (len(s.IDs) == 0 || slices.Contains(s.IDs, k.Recording)) &&
		(s.Org == "" || k.Org == s.Org) &&
		(s.Inbox == "" || k.Inbox == s.Inbox) &&
		(s.State == "" || e.State == s.State) &&
		(s.Conversation == "" || e.ConversationID == s.Conversation) &&
		(s.Name == "" || strings.Contains(Fold(e.Name), Fold(s.Name))) &&
		(s.Participant == "" || slices.ContainsFunc(e.People(), func(p string) bool { return strings.Contains(p, Fold(s.Participant)) })) &&
		(s.Case == "" || slices.Contains(e.Cases(), s.Case)) &&
		s.selectsMeasures(e)
}

// selectsMeasures compares date, duration and size.
func (s *Selection) selectsMeasures(e *Entry) bool {
	created := e.Created()
	size, stored := e.Size()
	return s.SelectsMeasures(created.UnixMilli(), e.Milliseconds, size, stored)
}

// SelectsMeasures is the part of Selects about the date of creation, as Time.UnixMilli
// gives it, the duration in milliseconds, and the size.
func (s *Selection) SelectsMeasures(created, duration, size int64, stored bool) bool {
	if created < s.From.UnixMilli() || !s.To.IsZero() && (created == time.Time{}.UnixMilli() || created >= s.To.UnixMilli()) {
		return false
	}
	if least, most := s.MinDuration.Milliseconds(), s.MaxDuration.Milliseconds(); (least > 0 || most > 0) && (duration == 0 || duration < least || most > 0 && duration > most) {
		return false
	}
	return s.MinSize == 0 && s.MaxSize == 0 || stored && size >= s.MinSize && (s.MaxSize == 0 || size <= s.MaxSize)
}

// Sort is an order of found entries. Entries that are equal in it stand in the order of
// SortInbox.
type Sort string

// The orders.
const (
	SortInbox    Sort = "" // inbox by inbox as Scan has them, each by date of creation, then id
	SortCreated  Sort = "created"
	SortName     Sort = "name" // in any case
	SortDuration Sort = "duration"
	SortSize     Sort = "size"
)

// Query is a search for entries.
type Query struct {
	Selection
	Sort    Sort
	Reverse bool // not with SortInbox
	Skip    int  // leaves out that many of the first entries
	Limit   int  // 0: no limit
}

// Participant is someone who took part in a recording's conversation, as Genesys listed it.
type Participant struct {
	UserID  string `json:"user,omitempty"`
	Name    string `json:"name,omitempty"`
	Address string `json:"address,omitempty"` // e.g. a telephone number
}

// Created returns the time of DateCreated, RFC 3339 or with an offset such as "+0000"; zero
// if that is no such time.
func (e *Entry) Created() time.Time {
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04:05Z0700"} {
		if t, err := time.Parse(layout, e.DateCreated); err == nil {
			return t
		}
	}
	return time.Time{}
}

// Size returns the bytes of the newest version's media; false if there is no version.
func (e *Entry) Size() (bytes int64, stored bool) {
	return e.Newest().Size, len(e.Versions) > 0
}

// People returns what a Selection's Participant is a part of: the user ids, names and
// addresses of the participants, folded.
func (e *Entry) People() (people []string) {
	for _, p := range e.Participants {
		for _, s := range []string{p.UserID, p.Name, p.Address} {
			if s != "" {
				people = append(people, Fold(s))
			}
		}
	}
	return people
}

// SameSearch reports whether every Query finds two states of an entry alike. It may say no
// although that is so.
func (e *Entry) SameSearch(other *Entry) bool {
	size, stored := e.Size()
	otherSize, otherStored := other.Size()
	return e.State == other.State && e.Name == other.Name && e.ConversationID == other.ConversationID && e.DateCreated == other.DateCreated &&
		e.Milliseconds == other.Milliseconds && size == otherSize && stored == otherStored &&
		slices.Equal(e.Participants, other.Participants) && len(e.Acts) == len(other.Acts)
}

// List joins elements, each between bytes of value 0, which none contains.
func List(elements []string) string {
	if len(elements) == 0 {
		return ""
	}
	return "\x00" + strings.Join(elements, "\x00") + "\x00"
}

// Fold returns a text for comparisons: letters that differ only in their case are the same,
// and control characters are spaces.
func Fold(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' {
			return ' '
		}
		if r < utf8.RuneSelf {
			return unicode.ToUpper(r)
		}
		least := r
		for f := unicode.SimpleFold(r); f != r; f = unicode.SimpleFold(f) {
			least = min(least, f)
		}
		return least
	}, s)
}
