package main

import (
	"context"
	"fmt"
	"math"
	"os"
	"slices"
	"strings"
)

// series is a list of states, each larger than the one before. It shows how the time for
// a leaf or a byte changes with their number.
type series struct {
	// Cold says that loads are cold, because the largest state and its checkpoint may not
	// fit in memory together.
	Cold  bool          `json:"cold"`
	Cases []*caseResult `json:"cases"`
}

// coldFrom is the size of a state from which on its series is loaded cold.
const coldFrom = 2 << 30

// rounds returns n, or for a series that takes long a third of it, rounded up.
func (s *series) rounds(n int) int {
	if s.Cold {
		return (n + 2) / 3
	}
	return n
}

// parseSeries parses lists of cases, separated by semicolons.
func parseSeries(lists string) ([]*series, error) {
	var all []*series
	for list := range strings.SplitSeq(lists, ";") {
		cases, err := parseCases(list)
		if err != nil {
			return nil, err
		}
		s := &series{}
		for _, c := range cases {
			s.Cold = s.Cold || c.total() >= coldFrom
			s.Cases = append(s.Cases, &caseResult{Case: c})
		}
		if len(cases) > 0 {
			all = append(all, s)
		}
	}
	return all, nil
}

// measureSeries saves every state and loads it in place, in every round.
func (r *runner) measureSeries(ctx context.Context, s *series) error {
	largest := slices.MaxFunc(s.Cases, func(a, b *caseResult) int { return int(a.Case.total() - b.Case.total()) })
	if err := largest.Case.writeData(ctx, r.data()); err != nil {
		return err
	}
	for _, c := range s.Cases {
		load := groupInto
		if s.Cold {
			load = groupCold
		}
		c.Rows = []*row{
			{method: method{Group: groupSave, Who: whoOurs, work: work{ours, opSave, ""}}},
			{method: method{Group: load, Who: whoOurs, work: work{ours, opInto, ""}}},
		}
	}
	turns := slices.Clone(s.Cases)
	for round := range s.rounds(r.rounds) {
		for _, c := range turns {
			label := fmt.Sprintf("growth: %s: round %d of %d", c.Case.Name, round+1, s.rounds(r.rounds))
			if err := r.saveAndLoad(ctx, c, round, label); err != nil {
				return fmt.Errorf("growth: %s: %w", c.Case.Name, err)
			}
		}
		slices.Reverse(turns)
	}
	return nil
}

func (r *runner) saveAndLoad(ctx context.Context, c *caseResult, round int, label string) error {
	path := r.written()
	defer func() {
		os.RemoveAll(path)
		settle()
	}()
	save, load := c.Rows[0], c.Rows[1]
	if save.Skipped != "" {
		return nil
	}
	err := r.sample(ctx, save, round, label+": save", func() (sample, error) { return r.save(ctx, r.job(save.work, c.Case, path)) })
	if err != nil || save.Skipped != "" || load.Skipped != "" {
		return err
	}
	return r.sample(ctx, load, round, label+": load", func() (sample, error) {
		return r.load(ctx, r.job(load.work, c.Case, path), load.Group == groupCold)
	})
}

// cost returns the median time for a byte. In a series of equal arrays the time for a
// leaf is proportional to it.
func (c *caseResult) cost(row int) float64 {
	return c.Rows[row].seconds().Median / float64(c.Case.total())
}

// judge requires that a byte of no state costs more than 1.5 times as much as a byte of a
// smaller state. It may cost less, because the fixed cost of a save is spread over more.
// For a series that is loaded cold, the memory of its states of large arrays is a goal
// too.
func (s *series) judge(all *goals) {
	name := s.Cases[0].Case.Name + " to " + s.Cases[len(s.Cases)-1].Case.Name
	for i, row := range s.Cases[0].Rows {
		rise := math.NaN()
		for j := range s.Cases {
			for _, smaller := range s.Cases[:j] {
				if ratio := s.Cases[j].cost(i) / smaller.cost(i); !(ratio <= rise) {
					rise = ratio
				}
			}
		}
		all.atMost(7, name, row.Group+", largest rise of the time for a leaf", rise, 1.5)
	}
	for _, c := range s.Cases {
		if s.Cold && c.Case.bulk() {
			c.judgeMemory(all, "growth, "+c.Case.Name)
		}
	}
}
