package object

import "context"

// turn lets in one goroutine after the other. Unlike a mutex it is waited for no longer than
// a context lasts, because those inside wait for a service.
type turn chan struct{}

func newTurn() turn { return make(turn, 1) }

// take waits for the turn. Without an error the caller must call leave.
func (t turn) take(ctx context.Context) error {
	select {
	case t <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (t turn) leave() { <-t }
