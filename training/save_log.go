package training

import (
	"context"
	"errors"
	"log/slog"
)

// reportSave logs the end of a save. It logs an error if nothing else reports it, or if
// the step is in place in spite of it. It is not an error if the program has cancelled
// the save, or gets the failure as the result of its call.
func (c *Checkpointer) reportSave(s *stepSave, saved bool, err error) {
	level, message := slog.LevelError, "save failed"
	stats := s.stats
	stats.Err = nil // it is logged as the error
	switch {
	case err == nil:
		c.log.Info("saved", "step", s.step, "path", s.path, "stats", stats)
		return
	case !saved && errors.Is(err, context.Canceled):
		level, message = slog.LevelInfo, "save canceled"
	case !saved && s.returned && stats.Moved == 0:
		level, message = slog.LevelInfo, "save refused"
	}
	attrs := []any{"step", s.step, "path", s.path, "in place", saved, "error", err}
	if stats.Phase != "" {
		attrs = append(attrs, "stats", stats)
	}
	c.log.Log(context.Background(), level, message, attrs...)
}
