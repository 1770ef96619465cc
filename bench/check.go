package main

import (
	"fmt"
	"math"
)

// check is a goal of this module and whether a run met it.
type check struct {
	Goal  string  `json:"goal"`
	Value float64 `json:"value"`
	Limit float64 `json:"limit"`
	Met   bool    `json:"met"`
	// least says that the value must reach the limit, not stay below it.
	least bool
}

func (c check) String() string {
	verdict, sign := "MET    ", "at most"
	if !c.Met {
		verdict = "NOT MET"
	}
	if c.least {
		sign = "at least"
	}
	return fmt.Sprintf("%s  %s: %.2f, goal %s %.2f", verdict, c.Goal, c.Value, sign, c.Limit)
}

// The goals. They are set for large states; a case with many arrays has that of
// manyTimes besides.
const (
	saveToDisk  = 1.5 // time of a durable save, to that of dd
	maxBeyond   = 128 // MiB
	manyArrays  = 1000
	manyTimes   = 10        // how much faster than Orbax
	largeEnough = 128 << 20 // bytes of a state that the disk, not the overhead, decides for
)

// checks judges what was measured; goals that lack a measurement are left out.
func (c *caseResult) checks() []check {
	var all []check
	atMost := func(goal string, value, limit float64) {
		if !math.IsNaN(value) {
			all = append(all, check{Goal: goal, Value: value, Limit: limit, Met: value <= limit})
		}
	}
	save, into := c.row(groupSave, whoOurs), c.row(groupWarm, whoOurs)
	if c.Case.total() >= largeEnough {
		atMost("save, time to that of dd", save.ratio(c.limit(groupSave)).Median, saveToDisk)
	}
	for _, group := range []string{groupWarm, groupCold} {
		if fastest := c.fastestOrbax(group); fastest != nil {
			atMost(group+", in place, time to that of "+fastest.Who, c.row(group, whoOurs).ratio(fastest).Median, 1)
		}
	}
	exchange := c.row(groupWarm, whoExchange)
	atMost("load in place of Orbax's files, time to that of Orbax", exchange.ratio(c.row(groupWarm, whoOrbax)).Median, 1)
	atMost("save, MiB beyond the state", save.beyond().Max, maxBeyond)
	atMost("load in place, MiB beyond the state", into.beyond().Max, maxBeyond)
	atMost("load in place of Orbax's files, MiB beyond the state", exchange.beyond().Max, maxBeyond)
	if c.Case.Arrays < manyArrays {
		return all
	}
	for _, m := range []struct {
		what string
		ours *row
	}{{"save", save}, {"load in place", into}} {
		group := m.ours.Group
		for _, base := range []*row{c.row(group, whoOrbax), c.fastestOrbax(group)} {
			if v := base.ratio(m.ours).Median; !math.IsNaN(v) {
				all = append(all, check{
					Goal: fmt.Sprintf("%s, times faster than %s", m.what, base.Who), Value: v, Limit: manyTimes, Met: v >= manyTimes, least: true,
				})
			}
			if base == c.fastestOrbax(group) {
				break // it is Orbax as it comes that is fastest
			}
		}
	}
	return all
}
