package fault

import (
	"context"
	"errors"
	"fmt"
)

// WithCause adds to an error that came from the end of ctx why ctx ended.
func WithCause(ctx context.Context, err error) error {
	cause := context.Cause(ctx)
	if err == nil || cause == nil || !errors.Is(err, ctx.Err()) || errors.Is(err, cause) {
		return err
	}
	return fmt.Errorf("%w: %w", err, cause)
}
