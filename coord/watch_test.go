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
