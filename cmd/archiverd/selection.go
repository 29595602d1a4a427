package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/archiverd/archiverd/config"
	"github.com/archiverd/archiverd/state"
)

// selectionFlags are the flags that select recordings, the same in every command.
type selectionFlags struct {
	state.Selection
	from, to, state                            string
	minDuration, maxDuration, minSize, maxSize string
}

// addSelection declares the flags that select recordings. Ids are arguments.
func addSelection(c *cobra.Command) *selectionFlags {
	f := &selectionFlags{}
	for name, v := range map[string]struct {
		to   *string
		help string
	}{
		"org":          {&f.Org, "only this organization, by its configured `name`"},
		"inbox":        {&f.Inbox, "only this inbox, by its user `id`"},
		"conversation": {&f.Conversation, "only this conversation `id`"},
		"participant":  {&f.Participant, "only conversations with a participant whose user id, name or address contains this `text`, in any case"},
		"name":         {&f.Name, "only names that contain this `text`, in any case"},
		"from":         {&f.from, "only recordings created at or after this `date` (2026-11-23, or RFC 3339)"},
		"to":           {&f.to, "only recordings created before this `date`"},
		"state":        {&f.state, "only this `state`: " + strings.Join(stateNames(), ", ")},
		"case":         {&f.Case, "only recordings that the case of this `name` holds"},
		"min-duration": {&f.minDuration, "only recordings of this `duration` or longer (30s, 5m)"},
		"max-duration": {&f.maxDuration, "only recordings of this `duration` or shorter"},
		"min-size":     {&f.minSize, "only recordings with media of this `size` or larger (500KB, 10MiB)"},
		"max-size":     {&f.maxSize, "only recordings with media of this `size` or smaller"},
	} {
		c.Flags().Var((*filled)(v.to), name, v.help)
	}
	return f
}

// filled is the value of a flag that selects. An empty one is refused: a script whose variable
// is not set would select more than was meant.
type filled string

func (f *filled) String() string { return string(*f) }
func (f *filled) Type() string   { return "string" }

func (f *filled) Set(s string) error {
	if strings.TrimSpace(s) == "" {
		return errors.New("it is empty: leave the flag out to select without it")
	}
	*f = filled(s)
	return nil
}

func stateNames() (names []string) {
	for _, s := range state.States() {
		names = append(names, string(s))
	}
	return names
}

// addAll declares --all, for commands that refuse an empty selection.
func (f *selectionFlags) addAll(c *cobra.Command) {
	c.Flags().BoolVar(&f.All, "all", false, "every recording, if nothing else selects")
}

// errNothingSelected refuses an empty selection.
var errNothingSelected = errors.New("nothing is selected: name recordings by their ids or by flags such as --conversation and --from; --all selects every recording")

// selection reads the flags, and the ids among the arguments. Its error is one of usage.
func (f *selectionFlags) selection(ids []string) (state.Selection, error) {
	s := f.Selection
	s.IDs, s.State = ids, state.State(f.state)
	var errs [6]error
	s.From, errs[0] = date("--from", f.from)
	s.To, errs[1] = date("--to", f.to)
	s.MinDuration, errs[2] = duration("--min-duration", f.minDuration)
	s.MaxDuration, errs[3] = duration("--max-duration", f.maxDuration)
	s.MinSize, errs[4] = mediaSize("--min-size", f.minSize)
	s.MaxSize, errs[5] = mediaSize("--max-size", f.maxSize)
	if err := errors.Join(errs[:]...); err != nil {
		return s, fail(exitUsage, err)
	}
	if s.State != "" && !slices.Contains(state.States(), s.State) {
		return s, fail(exitUsage, fmt.Errorf("--state %s: there is no such state; there are %s", f.state, strings.Join(stateNames(), ", ")))
	}
	if slices.Contains(ids, "") {
		return s, fail(exitUsage, errors.New("a recording's id is empty"))
	}
	return s, nil
}

func date(flag, s string) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	if t, err := time.Parse(time.DateOnly, s); err == nil {
		return t, nil
	}
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return t, fmt.Errorf("%s %s: want a date such as 2026-11-23, or RFC 3339", flag, s)
	}
	return t, nil
}

func duration(flag, s string) (time.Duration, error) {
	d, ok := config.ParseDuration(s)
	if s != "" && (!ok || d < time.Millisecond) {
		return 0, fmt.Errorf("%s %s: want a duration such as 30s, 5m, 2h", flag, s)
	}
	return d, nil
}

func mediaSize(flag, s string) (int64, error) {
	n, ok := config.ParseSize(s)
	if s != "" && (!ok || n == 0) {
		return 0, fmt.Errorf("%s %s: want a size such as 500KB, 10MiB", flag, s)
	}
	return n, nil
}
