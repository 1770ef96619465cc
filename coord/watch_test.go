package coord_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/go-orbax/orbax/coord"
)

// small is a driver of a service that refuses large values.
type small struct{ coord.Driver }

func (s small) Set(ctx context.Context, key string, value []byte) error {
	if len(value) > 1000 {
		return errors.New("the request is too large")
	}
	return s.Driver.Set(ctx, key, value)
}

// A value that the service refuses fails the phase in all processes at once.
func TestValueTooLarge(t *testing.T) {
	for _, culprit := range []int{0, 2} {
		start := time.Now()
		for rank, err := range together(3, func(g *coord.Group) error {
			g = coord.NewGroup(small{g.Driver()})
			value := make([]byte, 10)
			if g.Rank() == culprit {
				value = make([]byte, 2000)
			}
			op := g.Begin("trial")
			_, err := op.Exchange(within(t, time.Minute), "one", value, nil, nil)
			return op.End(t.Context(), err)
		}) {
			if culprit == 2 && err == nil || err != nil && !strings.Contains(err.Error(), "too large") {
				t.Errorf("the value of process %d is too large; process %d has %v", culprit, rank, err)
			}
		}
		if took := time.Since(start); took > 30*time.Second {
			t.Errorf("it took %v", took)
		}
	}
}

// busy is a driver of a service that refuses some requests.
type busy struct {
	coord.Driver
	refuse func(key string) bool
}

func (b busy) Set(ctx context.Context, key string, value []byte) error {
	if b.refuse(key) {
		return errors.New("leader changed")
	}
	return b.Driver.Set(ctx, key, value)
}

// An outcome that rank 0 cannot publish at once is published later. If it cannot be
// published at all, the others know that they do not know it.
func TestOutcomeRefused(t *testing.T) {
	for _, times := range []int{1, 100} {
		for rank, err := range together(3, func(g *coord.Group) error {
			if g.Rank() == 0 {
				refused := 0
				g = coord.NewGroup(busy{g.Driver(), func(key string) bool {
					if strings.HasSuffix(key, "outcome") && refused < times {
						refused++
						return refused <= 4 // the failure itself gets through
					}
					return false
				}})
			}
			op := g.Begin("trial")
			return op.End(t.Context(), op.Agree(within(t, time.Minute), "one", nil))
		}) {
			shared := new(coord.Error)
			if times == 1 && err != nil || times == 100 && (!errors.As(err, &shared) || !shared.Unknown) {
				t.Errorf("refused up to %d times; process %d: %v", times, rank, err)
			}
		}
	}
}

// An error shows failures that are alike once.
func TestLikeFailures(t *testing.T) {
	fail := func(rank int, text string) *coord.Failure {
		return &coord.Failure{Rank: rank, Phase: "one", Err: errors.New(text)}
	}
	err := &coord.Error{What: "trial", Failures: []*coord.Failure{fail(0, "no"), fail(1, "no"), fail(3, "never"), {Rank: 4, Phase: "one", Err: &coord.LostError{Rank: 4}}}, More: 2}
	if got, want := err.Error(), "trial: processes 0, 1 in phase one: no; process 3 in phase one: never; process 4 is lost in phase one; and 2 other processes"; got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
}
