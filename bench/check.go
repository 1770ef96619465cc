package main

import (
	"fmt"
	"math"
	"slices"
)

// goal is a goal of this module, and whether a run met it.
type goal struct {
	Number int     `json:"number"`
	Case   string  `json:"case"`
	What   string  `json:"what"`
	Value  float64 `json:"value"`
	Limit  float64 `json:"limit"`
	Least  bool    `json:"least"` // the value must be at least the limit, not at most
	Met    bool    `json:"met"`
	// Bound is the value if only the limits of the machine took time; 0 if that was not
	// measured.
	Bound float64 `json:"bound,omitempty"`
}

func (g goal) String() string {
	verdict, sign := "MET", "at most"
	if !g.Met {
		verdict = "NOT MET"
	}
	if g.Least {
		sign = "at least"
	}
	bound := ""
	if g.Bound > 0 {
		bound = fmt.Sprintf(", the machine allows %.3g", g.Bound)
	}
	return fmt.Sprintf("%d\t%s\t%s\t%s\t%.4g\t%s %g%s", g.Number, verdict, g.Case, g.What, g.Value, sign, g.Limit, bound)
}

// goals collects the goals that can be judged. Goals that were not measured are left out.
type goals []goal

func (all *goals) add(number int, name, what string, value, limit float64, least bool) {
	if !math.IsNaN(value) && !math.IsInf(value, 0) {
		met := value <= limit
		if least {
			met = value >= limit
		}
		*all = append(*all, goal{Number: number, Case: name, What: what, Value: value, Limit: limit, Least: least, Met: met})
	}
}

func (all *goals) atMost(number int, name, what string, value, limit float64) {
	all.add(number, name, what, value, limit, false)
}

func (all *goals) atLeast(number int, name, what string, value, limit float64) {
	all.add(number, name, what, value, limit, true)
}

// timesOrbax adds the goal that ours is times as fast as a row of Orbax.
func (all *goals) timesOrbax(number int, c *caseResult, group, who string, times float64) {
	orbax, before := c.orbax(group, who), len(*all)
	all.atLeast(number, c.Case.Name, group+", times as fast as "+who, c.row(group, whoOurs).faster(orbax), times)
	if bound := c.limit(group).faster(orbax); len(*all) > before && !math.IsNaN(bound) {
		(*all)[before].Bound = bound
	}
}

// faster returns how many times as fast as base the row is.
func (r *row) faster(base *row) float64 { return base.ratio(r).Median }

// judge compares all measurements with the goals.
func (r *report) judge() {
	var all goals
	for _, c := range r.Cases {
		if c.Case.bulk() {
			c.judgeLarge(&all)
		} else if c.Case.Arrays >= manyArrays {
			c.judgeMany(&all)
		}
	}
	for _, s := range r.Growth {
		s.judge(&all)
	}
	for _, in := range r.Incremental {
		in.judge(&all)
	}
	for _, t := range r.Together {
		t.judge(&all)
	}
	slices.SortStableFunc(all, func(a, b goal) int { return a.Number - b.Number })
	r.Goals = all
}

func (c *caseResult) judgeLarge(all *goals) {
	name := c.Case.Name
	save := c.row(groupSave, whoOurs)
	all.timesOrbax(1, c, groupSave, whoOrbax, 4)
	all.timesOrbax(1, c, groupSave, whoRaw, 1.5)
	all.atLeast(1, name, "save, of the disk's rate", save.faster(c.disk()), 0.85)
	all.timesOrbax(1, c, groupInto, whoOrbax, 6)
	all.timesOrbax(1, c, groupInto, whoRaw, 2)
	all.atMost(1, name, "map, times that of safetensors", c.row(groupMap, whoOurs).ratio(c.row(groupMap, whoSafe)).Median, 2)
	all.atMost(3, name, "second asynchronous save, blocked, times a copy", c.row(groupAgain, whoReuse).ratio(c.row(groupLimit, whoCopy)).Median, 1.3)
	all.atMost(3, name, "asynchronous save of immutable arrays, blocked, ms", c.row(groupAgain, whoImmutable).seconds().Median*1000, 5)
	c.judgeMemory(all, name)
	all.atMost(5, name, "save, CPU seconds a GiB", save.cpu().Median/gib(c.Case.total()), 0.35)
	if c.Case.DType == "bfloat16" {
		huffman, zstd := c.row(groupEncode, whoHuffman), c.row(groupEncode, whoZstd)
		all.atMost(6, name, "huffman, size", c.stored(huffman).Median, 0.79)
		all.atMost(6, name, "huffman, size to that of zstd level 1", c.stored(huffman).Median/c.stored(zstd).Median, 1.005)
	}
	all.atLeast(6, name, "huffman, encode, GB/s a core", c.rate(c.row(groupEncode, whoHuffman)).Median, 0.5)
	all.atLeast(6, name, "huffman, decode, GB/s a core", c.rate(c.row(groupDecode, whoHuffman)).Median, 1)
	c.judgeExchange(all)
}

func (c *caseResult) judgeMany(all *goals) {
	all.timesOrbax(2, c, groupSave, whoOrbax, 30)
	all.timesOrbax(2, c, groupInto, whoOrbax, 30)
	c.judgeExchange(all)
}

// judgeMemory judges the most memory of all rounds. It is for large arrays: with small
// ones the documents and the plan of every leaf count.
func (c *caseResult) judgeMemory(all *goals, name string) {
	for _, r := range c.Rows {
		if r.Who == whoOurs && (r.Group == groupSave || r.Group == groupInto || r.Group == groupCold) {
			all.atMost(4, name, "large arrays: "+r.Group+", MiB beyond the state", r.beyond().Max, 64)
		}
	}
}

// judgeExchange compares how long Orbax takes to load our files and the files that it
// writes with its defaults.
func (c *caseResult) judgeExchange(all *goals) {
	load := c.row(groupLoad, whoOrbaxOnOurs)
	all.atMost(8, c.Case.Name, "Orbax loads Go's files, times its own", load.ratio(c.row(groupLoad, whoOrbax)).Median, 1)
}
