package handler

import (
	"context"
	"fmt"

	"github.com/go-orbax/orbax/internal/layout"
)

// MetricsHandler stores the metrics of a training step as the JSON document
// metrics/metrics. Metrics are stored beside the checkpointables and are not one of them.
// Package training saves them.
type MetricsHandler struct{}

// Type returns the name of Orbax's handler of metrics.
func (MetricsHandler) Type() string { return layout.HandlerPrefix + "json_handler.MetricsHandler" }

// CanSave accepts every value except nil. Save reports the values that are not JSON.
func (MetricsHandler) CanSave(v any) bool { return v != nil }

// Save encodes v before it returns, by the rules of encoding/json. It writes NaN and the
// infinities as Python does, as bare words. The error matches orbax.ErrLeafType if v has
// no JSON form or could not be loaded again, as in [JSONHandler].
func (MetricsHandler) Save(_ context.Context, v any, _ SaveOptions) (WriteFunc, error) {
	doc, err := layout.EncodePython(v)
	if err != nil {
		return nil, fmt.Errorf("metrics: %w", err)
	}
	return func(ctx context.Context, dir *WriteDir) error {
		return dir.WriteFile(ctx, layout.MetricsName, doc)
	}, nil
}

// CanLoad accepts no target.
func (MetricsHandler) CanLoad(any) bool { return false }

// Load returns the metrics. Objects are map[string]any, and numbers are as [JSONHandler]
// loads them.
func (MetricsHandler) Load(ctx context.Context, dir *ReadDir, _ any, _ LoadOptions) (any, error) {
	doc, err := dir.ReadFile(ctx, layout.MetricsName)
	if err != nil {
		return nil, err
	}
	v, err := layout.DecodeJSON(doc)
	if err != nil {
		return nil, fmt.Errorf("metrics: %w", err)
	}
	return v, nil
}

// Metadata returns the metrics, as Load does.
func (h MetricsHandler) Metadata(ctx context.Context, dir *ReadDir) (any, error) {
	return h.Load(ctx, dir, nil, LoadOptions{})
}
