package exchanged

import (
	"context"
	"time"
)

// patience is how long a process whose context has ended waits for the others to give up
// too.
const patience = 10 * time.Second

// Patient returns ctx, or if that has ended, a context for what a process has to report to
// the others even so.
func Patient(ctx context.Context) (context.Context, context.CancelFunc) {
	if ctx.Err() == nil {
		return ctx, func() {}
	}
	return context.WithTimeout(context.WithoutCancel(ctx), patience)
}
