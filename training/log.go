package training

import (
	"context"
	"log/slog"

	"github.com/go-orbax/orbax/internal/fault"
)

// newLogger returns a logger that writes to l, or discards its records if l is nil. The
// records have no credentials of URLs: the root of a run, and the path of a step, may be
// such a URL.
func newLogger(l *slog.Logger) *slog.Logger {
	if l == nil {
		return slog.New(slog.DiscardHandler)
	}
	return slog.New(redacting{l.Handler()})
}

// redacting is a handler that removes credentials from the attributes of records.
type redacting struct{ slog.Handler }

func (h redacting) Handle(ctx context.Context, r slog.Record) error {
	clean := slog.NewRecord(r.Time, r.Level, r.Message, r.PC)
	r.Attrs(func(a slog.Attr) bool {
		clean.AddAttrs(redacted(a))
		return true
	})
	return h.Handler.Handle(ctx, clean)
}

func (h redacting) WithAttrs(attrs []slog.Attr) slog.Handler {
	clean := make([]slog.Attr, len(attrs))
	for i, a := range attrs {
		clean[i] = redacted(a)
	}
	return redacting{h.Handler.WithAttrs(clean)}
}

func (h redacting) WithGroup(name string) slog.Handler {
	return redacting{h.Handler.WithGroup(name)}
}

// redacted leaves values alone that have no credentials, so that a handler still gets the
// error itself.
func redacted(a slog.Attr) slog.Attr {
	var text string
	switch v := a.Value; v.Kind() {
	case slog.KindString:
		text = v.String()
	case slog.KindAny:
		err, ok := v.Any().(error)
		if !ok || err == nil {
			return a
		}
		text = err.Error()
	default:
		return a
	}
	if clean := fault.Redacted(text); clean != text {
		a.Value = slog.StringValue(clean)
	}
	return a
}
