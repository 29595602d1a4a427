package main

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxCell is the longest name or error that a table shows, in characters.
const maxCell = 60

// cell makes text from Genesys fit for a terminal: control characters can't move the
// cursor, tabs and line ends can't break a table.
func cell(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '\n' || r == '\t' {
			return ' '
		}
		if !unicode.IsPrint(r) {
			return unicode.ReplacementChar
		}
		return r
	}, s)
}

// short is cell, cut to maxCell characters.
func short(s string) string {
	s = cell(s)
	if utf8.RuneCountInString(s) <= maxCell {
		return s
	}
	return string([]rune(s)[:maxCell-1]) + "…"
}

// size prints bytes for people.
func size(n int64) string {
	const unit = 1024
	if n < unit {
		return fmt.Sprintf("%d B", n)
	}
	value, prefix := float64(n)/unit, 0
	for ; value >= unit && prefix < len("KMGTP")-1; prefix++ {
		value /= unit
	}
	return fmt.Sprintf("%.1f %ciB", value, "KMGTP"[prefix])
}
