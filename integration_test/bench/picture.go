package main

import (
	_ "embed"
	"fmt"
)

//go:embed small.svg.tmpl
var pictureText string

// bars are one measure of the small recordings on one server. Lengths are in units of the
// picture: rclone's bar has barLength.
type bars struct {
	Y                 int
	Server, Measure   string // Server is empty for all but its first measure
	Rclone, Archiverd string
	Length, End       float64
	Ratio             string
}

const (
	barsFrom  = 216
	barLength = 380
	barsApart = 52 // from one measure to the next
)

// picture draws the table of the small recordings as SVG, in the colours that the reader's
// browser prefers.
func picture(all []comparison) ([]byte, error) {
	var page struct {
		Height, Unit int
		Bars         []bars
	}
	page.Height, page.Unit = 64, barLength
	add := func(server, measure, theirs, ours string, ratio float64) {
		page.Bars = append(page.Bars, bars{
			Y: page.Height, Server: server, Measure: measure, Rclone: theirs, Archiverd: ours,
			Length: barLength * ratio, End: barsFrom + barLength*ratio + 8, Ratio: fmt.Sprintf("%.2f", ratio),
		})
		page.Height += barsApart
	}
	for _, c := range all {
		if !c.small() {
			continue
		}
		r, a := c.Rclone, c.Archiverd
		add(c.Server, "wall time", seconds(r.Wall), seconds(a.Wall), ratio(a.Wall, r.Wall))
		add("", "CPU", seconds(r.CPU), seconds(a.CPU), ratio(a.CPU, r.CPU))
		add("", "peak memory", mib(r.Peak), mib(a.Peak), ratio(a.Peak, r.Peak))
	}
	return execute("small.svg", pictureText, page)
}
