package handler

import (
	"context"
	"fmt"

	"github.com/go-orbax/orbax/internal/layout"
)

// MetricsHandler stores the metrics of a step of training, which are not a
// checkpointable but are beside them, as the JSON document metrics/metrics.
// Package training saves them.
type MetricsHandler struct{}

// Type returns the name of Orbax's own handler of metrics.
func (MetricsHandler) Type() string { return layout.HandlerPrefix + "json_handler.MetricsHandler" }

// CanSave takes every value except nil; Save reports what is not JSON.
func (MetricsHandler) CanSave(v any) bool { return v != nil }

// Save encodes v at once, by the rules of encoding/json; NaN and the infinities are
// written as Python does, as bare words. What is not JSON, or could not be loaded
// again, is an error that matches orbax.ErrLeafType, as in JSONHandler.
func (MetricsHandler) Save(_ context.Context, v any, _ SaveOptions) (WriteFunc, error) {
	doc, err := layout.EncodePython(v)
	if err != nil {
		return nil, fmt.Errorf("metrics: %w", err)
	}
	return func(ctx context.Context, dir *WriteDir) error {
		return dir.WriteFile(ctx, layout.MetricsName, doc)
	}, nil
}

// CanLoad takes no targets.
func (MetricsHandler) CanLoad(any) bool { return false }

// Load returns the metrics: objects are map[string]any, and numbers as JSONHandler
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

// Metadata returns what Load does.
func (h MetricsHandler) Metadata(ctx context.Context, dir *ReadDir) (any, error) {
	return h.Load(ctx, dir, nil, LoadOptions{})
}
