package main

import (
	"errors"
	"fmt"
	"html"
	"math"
	"os"
	"slices"
	"strings"
)

// writeSVG draws the medians to the file name, if name is not empty.
func (r *report) writeSVG(name string) error {
	if name == "" {
		return nil
	}
	charts := r.charts()
	if len(charts) == 0 {
		return errors.New("no plot: nothing was measured that it shows, such as how long Go takes to save")
	}
	return os.WriteFile(name, []byte(r.plot(charts)), 0o666)
}

// Sizes of the plot, in pixels of a page that shows it unscaled.
const (
	plotWidth   = 980
	chartWidth  = 460
	chartGap    = plotWidth - 2*margin - 2*chartWidth
	margin      = 15
	titleHeight = 64
	lineHeight  = 19
)

// style has colours for light and for dark pages. The card behind everything keeps the
// plot readable where neither is known.
const style = `
text { font: 12px system-ui, "Segoe UI", Helvetica, Arial, sans-serif; fill: #1f2328 }
.title { font-size: 18px; font-weight: 600 } .head { font-size: 13px; font-weight: 600 } .soft { fill: #656d76 }
.end { text-anchor: end } .mid { text-anchor: middle }
.card { fill: #ffffff; stroke: #d0d7de } .axis { stroke: #d0d7de }
.whisker { stroke: #1f2328; opacity: .55 }
.go { fill: #0969da } .limit { fill: #8c959f } .orbax { fill: #d4762c } .other { fill: #2d8a6e }
.line { fill: none; stroke-width: 2 } .save { stroke: #0969da } .load { stroke: #8250df }
.dot-save { fill: #0969da } .dot-load { fill: #8250df }
@media (prefers-color-scheme: dark) {
text { fill: #e6edf3 } .soft { fill: #9198a1 } .card { fill: #0d1117; stroke: #3d444d } .axis { stroke: #3d444d }
.whisker { stroke: #e6edf3 }
.go, .dot-save { fill: #4493f8 } .limit { fill: #767e88 } .orbax { fill: #e0904d } .other { fill: #3fb28f }
.save { stroke: #4493f8 } .load { stroke: #ab7df8 } .dot-load { fill: #ab7df8 }
}
`

// canvas collects the elements of a drawing.
type canvas struct{ strings.Builder }

func (c *canvas) text(x, y float64, class, s string) {
	fmt.Fprintf(c, "<text x=\"%.1f\" y=\"%.1f\" class=\"%s\">%s</text>\n", x, y, class, html.EscapeString(s))
}

func (c *canvas) rect(x, y, w, h float64, class string) {
	fmt.Fprintf(c, "<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" rx=\"1.5\" class=\"%s\"/>\n", x, y, w, h, class)
}

func (c *canvas) line(x1, y1, x2, y2 float64, class string) {
	fmt.Fprintf(c, "<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" class=\"%s\"/>\n", x1, y1, x2, y2, class)
}

func (c *canvas) polyline(points [][2]float64, class string) {
	var s strings.Builder
	for _, p := range points {
		fmt.Fprintf(&s, "%.1f,%.1f ", p[0], p[1])
	}
	fmt.Fprintf(c, "<polyline points=\"%s\" class=\"%s\"/>\n", strings.TrimSpace(s.String()), class)
}

// chart is a part of the plot.
type chart interface {
	height() float64
	draw(c *canvas, x, y float64)
}

// charts returns the charts that compare Go with others, or without Python the charts of
// Go and the limits alone. The series follow.
func (r *report) charts() []chart {
	var all, comparing []chart
	for _, c := range r.Cases {
		for _, b := range c.charts() {
			all = append(all, b)
			if b.compares() {
				comparing = append(comparing, b)
			}
		}
	}
	if len(comparing) > 0 {
		all = comparing
	}
	for _, s := range r.Growth {
		if s.measured() {
			all = append(all, s)
		}
	}
	return all
}

func (r *report) plot(charts []chart) string {
	var c canvas
	y := float64(titleHeight + margin)
	for i := 0; i < len(charts); i += 2 {
		height := 0.0
		for j, ch := range charts[i:min(i+2, len(charts))] {
			ch.draw(&c, margin+float64(j)*(chartWidth+chartGap), y)
			height = max(height, ch.height())
		}
		y += height + 1.5*margin
	}
	var page canvas
	fmt.Fprintf(&page, "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %.0f\" width=\"%d\" height=\"%.0f\">\n<style>%s</style>\n",
		plotWidth, y, plotWidth, y, style)
	page.rect(0.5, 0.5, plotWidth-1, y-1, "card")
	page.text(margin, 30, "title", "Time to save and to load")
	page.text(margin, 49, "soft", fmt.Sprintf("Medians of %s, with the extremes; shorter is better. %s, %s, %s%s", plural(r.Rounds, "round"), r.System, plural(r.CPUs, "CPU"), r.Go, r.plotVersions()))
	legend(&page)
	page.WriteString(c.String())
	page.WriteString("</svg>\n")
	return page.String()
}

func legend(c *canvas) {
	x := float64(plotWidth - margin)
	for _, entry := range []struct {
		class, name string
		width       float64
	}{{"other", "others", 52}, {"orbax", "Orbax", 52}, {"go", "this module", 88}, {"limit", "limits of the machine", 140}} {
		x -= entry.width
		c.rect(x-8, 20, 12, 12, entry.class)
		c.text(x+9, 30, "", entry.name)
		x -= 16
	}
}

func (r *report) plotVersions() string {
	s := ""
	for _, name := range []string{"orbax-checkpoint", "torch", "safetensors"} {
		if v := r.Python[name]; v != "" {
			s += ", " + name + " " + v
		}
	}
	return s
}

// bars is a chart of horizontal bars.
type bars struct {
	title string
	bars  []bar
}

type bar struct {
	section string // title of the section of the chart that begins with this bar
	label   string
	class   string
	seconds spread
}

// has reports whether a bar has the class.
func (b bars) has(class string) bool {
	return slices.ContainsFunc(b.bars, func(bar bar) bool { return bar.class == class })
}

// compares reports whether the chart shows more than Go and the limits.
func (b bars) compares() bool { return b.has("orbax") || b.has("other") }

// charts returns the charts for a state that show more than limits.
func (c *caseResult) charts() []bars {
	var all []bars
	for _, part := range []struct {
		title  string
		groups []string
	}{
		{"Save", []string{groupSave}},
		{"Load", []string{groupInto, groupLoad}},
		{"Async save, caller blocked", []string{groupAgain}},
		{"Load, cold", []string{groupCold}},
	} {
		b := bars{title: part.title + ": " + c.Case.short()}
		for _, group := range part.groups {
			section := ""
			if _, place, ok := strings.Cut(group, "load, "); ok && len(part.groups) > 1 {
				section = place
			}
			for _, r := range c.Rows { // the limits come first
				if len(r.Samples) == 0 || r.Group != group && r != c.limit(group) {
					continue
				}
				b.bars = append(b.bars, bar{section, r.Who, r.class(), r.seconds()})
				section = ""
			}
		}
		if b.has("go") || b.compares() {
			all = append(all, b)
		}
	}
	return all
}

// short returns a title for a chart.
func (c benchCase) short() string {
	return fmt.Sprintf("%d × %s %s", c.Arrays, sizeText(int64(c.Bytes)), c.DType)
}

func (r *row) class() string {
	switch {
	case r.Group == groupLimit:
		return "limit"
	case r.Program == orbaxPython:
		return "orbax"
	case r.Program == ours:
		return "go"
	}
	return "other"
}

const (
	labelWidth  = 160
	valueWidth  = 100
	headHeight  = 24
	barHeight   = 13
	barsWidth   = chartWidth - labelWidth - valueWidth
	growthChart = 190
)

func (b bars) height() float64 {
	n := len(b.bars)
	for _, bar := range b.bars {
		if bar.section != "" {
			n++
		}
	}
	return headHeight + float64(n)*lineHeight
}

func (b bars) draw(c *canvas, x, y float64) {
	longest, ours := 0.0, math.NaN()
	for _, bar := range b.bars {
		longest = max(longest, bar.seconds.Max)
	}
	c.text(x, y+10, "head", b.title)
	if b.compares() {
		c.text(x+chartWidth, y+10, "soft end", "times Go")
	}
	y += headHeight
	left := x + labelWidth
	for i, bar := range b.bars {
		if bar.section != "" {
			c.text(x, y+barHeight-2, "soft", "into "+bar.section)
			y += lineHeight
		}
		if b.compares() && (bar.section != "" || i == 0) {
			ours = b.ours(i)
		}
		scale := func(seconds float64) float64 { return seconds / longest * barsWidth }
		c.text(left-8, y+barHeight-2, "end", bar.label)
		c.rect(left, y, max(scale(bar.seconds.Median), 1), barHeight, bar.class)
		c.line(left+scale(bar.seconds.Min), y+barHeight/2, left+scale(bar.seconds.Max), y+barHeight/2, "whisker")
		c.text(left+scale(bar.seconds.Max)+6, y+barHeight-2, "", secondsText(bar.seconds.Median))
		if !math.IsNaN(ours) {
			c.text(x+chartWidth, y+barHeight-2, "soft end", factorText(bar.seconds.Median/ours))
		}
		y += lineHeight
	}
}

// ours returns the median of Go in the section that begins with bar i.
func (b bars) ours(i int) float64 {
	for _, bar := range b.bars[i:] {
		if bar.class == "go" {
			return bar.seconds.Median
		}
	}
	return math.NaN()
}

// secondsText returns a duration with two or three significant digits.
func secondsText(s float64) string {
	switch {
	case s < 1e-3:
		return fmt.Sprintf("%.2g ms", s*1e3)
	case s < 0.1:
		return fmt.Sprintf("%.3g ms", s*1e3)
	}
	return fmt.Sprintf("%.2f s", s)
}

func factorText(f float64) string {
	switch {
	case f < 0.1:
		return fmt.Sprintf("%.1g", f)
	case f < 10:
		return fmt.Sprintf("%.2f", f)
	}
	return fmt.Sprintf("%.0f", f)
}

// measured reports whether there is anything to draw.
func (s *series) measured() bool {
	return slices.ContainsFunc(s.Cases, func(c *caseResult) bool {
		return slices.ContainsFunc(c.Rows, func(r *row) bool { return len(r.Samples) > 0 })
	})
}

func (s *series) height() float64 { return growthChart }

// draw shows the time for a leaf or a GiB: flat if it does not grow.
func (s *series) draw(c *canvas, x, y float64) {
	unit, per := "s a GiB", func(c benchCase) float64 { return gib(c.total()) }
	if !s.Cases[0].Case.large() {
		unit, per = "µs a leaf", func(c benchCase) float64 { return float64(c.Arrays) / 1e6 }
	}
	c.text(x, y+10, "head", fmt.Sprintf("Growth: %s, arrays of %s", unit, sizeText(int64(s.Cases[0].Case.Bytes))))
	const left, bottom = 50, 24
	top, base, right := y+headHeight+8, y+growthChart-bottom, x+chartWidth-70
	highest := 0.0
	value := func(i, row int) float64 {
		one := s.Cases[i]
		return one.Rows[row].seconds().Median / per(one.Case)
	}
	for i := range s.Cases {
		for row := range s.Cases[i].Rows {
			if v := value(i, row); v > highest {
				highest = v
			}
		}
	}
	across := func(i int) float64 {
		return x + left + 20 + float64(i)*(right-x-left-20)/float64(max(len(s.Cases)-1, 1))
	}
	up := func(v float64) float64 { return base - v/highest*(base-top) }
	for _, part := range []float64{0, 0.5, 1} {
		c.line(x+left, up(part*highest), right+20, up(part*highest), "axis")
		c.text(x+left-6, up(part*highest)+4, "soft end", fmt.Sprintf("%.3g", part*highest))
	}
	for i, one := range s.Cases {
		label := sizeText(one.Case.total())
		if !one.Case.large() {
			label = fmt.Sprintf("%d leaves", one.Case.Arrays)
		}
		c.text(across(i), base+16, "soft mid", label)
	}
	for row, name := range []string{"save", "load"} {
		var points [][2]float64
		for i := range s.Cases {
			if v := value(i, row); !math.IsNaN(v) {
				points = append(points, [2]float64{across(i), up(v)})
			}
		}
		if len(points) == 0 {
			continue
		}
		c.polyline(points, "line "+name)
		for _, p := range points {
			fmt.Fprintf(c, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"3.5\" class=\"dot-%s\"/>\n", p[0], p[1], name)
		}
		last := points[len(points)-1]
		if s.Cold && name == "load" {
			name = "load, cold"
		}
		c.text(last[0]+10, last[1]+4, "", name)
	}
}
