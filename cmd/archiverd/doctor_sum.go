package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/archiverd/archiverd/doctor"
	"github.com/archiverd/archiverd/service/watch"
)

// linesShown is how many inboxes that did not pass a check get a line each.
const linesShown = 20

// passed completes "12 of 12 …" for inboxes that passed a check.
var passed = map[string]string{
	"genesys.token": "accepted", "genesys.user": "have their own user's token", "genesys.read": "can be listed",
	"genesys.delete": "would accept a deletion", "genesys.clock": "agree with this machine's clock", "genesys.rate_limit": "allow what is configured",
}

// summed fits the checks of thousands of inboxes on a screen: for each check of several inboxes
// of an organization, it returns how many passed, and the checks that others did not pass.
func summed(checks []doctor.Check) []doctor.Check {
	inboxes := map[string]map[string]bool{} // by organization
	same := map[[2]string][]doctor.Check{}  // by organization and name
	for _, c := range checks {
		if org, id, ok := inboxOf(c); ok {
			if inboxes[org] == nil {
				inboxes[org] = map[string]bool{}
			}
			inboxes[org][id] = true
			same[[2]string{org, c.Name}] = append(same[[2]string{org, c.Name}], c)
		}
	}
	var all []doctor.Check
	for _, c := range checks {
		org, _, ok := inboxOf(c)
		if !ok || len(inboxes[org]) == 1 {
			all = append(all, c)
			continue
		}
		if key := [2]string{org, c.Name}; same[key] != nil { // the check's place is that of its first inbox
			all = append(all, ofInboxes(org, same[key], len(inboxes[org]))...)
			delete(same, key)
		}
	}
	return all
}

// inboxOf returns the inbox that a check is about.
func inboxOf(c doctor.Check) (org, id string, ok bool) {
	if !strings.HasPrefix(c.Name, "genesys.") {
		return "", "", false
	}
	return strings.Cut(c.About, "/")
}

// ofInboxes sums up one check of an organization. inboxes is how many it has.
func ofInboxes(org string, checks []doctor.Check, inboxes int) []doctor.Check {
	var rest []doctor.Check
	for _, c := range checks {
		if c.Result != doctor.Pass {
			rest = append(rest, c)
		}
	}
	lines := others(org, rest, inboxes)
	if good := len(checks) - len(rest); good > 0 {
		name := checks[0].Name
		found := fmt.Sprintf("%s of %s %s", watch.Number(good), watch.Number(inboxes), cmp.Or(passed[name], "pass"))
		lines = slices.Insert(lines, 0, doctor.Check{Name: name, About: org, Result: doctor.Pass, Found: found})
	}
	return lines
}

// others lists the inboxes that did not pass a check, failures first. Inboxes with the same
// finding share a line if they are more than linesShown, or all inboxes.
func others(org string, rest []doctor.Check, inboxes int) (lines []doctor.Check) {
	severity := []doctor.Result{doctor.Fail, doctor.Warn, doctor.Unchecked}
	slices.SortStableFunc(rest, func(a, b doctor.Check) int {
		return cmp.Compare(slices.Index(severity, a.Result), slices.Index(severity, b.Result))
	})
	together := func(c doctor.Check) doctor.Check { c.About = org; return c }
	alike := map[doctor.Check]int{}
	for _, c := range rest {
		alike[together(c)]++
	}
	said := map[doctor.Check]bool{}
	each, left := 0, doctor.Check{About: org}
	more := 0
	for _, c := range rest {
		switch group := together(c); {
		case said[group]:
		case alike[group] > linesShown || alike[group] == inboxes:
			said[group] = true
			group.Found = fmt.Sprintf("%s of %s: %s", watch.Number(alike[group]), watch.Number(inboxes), c.Found)
			lines = append(lines, group)
		case each < linesShown:
			each++
			lines = append(lines, c)
		default:
			if more++; more == 1 {
				left.Name, left.Result = c.Name, c.Result
			}
		}
	}
	if more > 0 {
		left.Found = watch.Number(more) + " more: archiverd doctor --json names them"
		lines = append(lines, left)
	}
	return lines
}
