// Package partial saves a checkpoint in parts: for a state that is too large to
// be in memory at once, or whose parts are ready at different times.
//
//	err := partial.Save(ctx, path, map[string]any{"embedder": w})
//	err = partial.Save(ctx, path, map[string]any{"decoder": map[string]any{"layer0": w}})
//	err = partial.Finalize(ctx, path)
//
// The first save begins a session, the directory <path>.partial_save, and each
// puts one part there. Nothing is at path before Finalize, which makes one
// checkpoint of all parts without copying their arrays, and removes the session.
// Sessions are those of Orbax: its partial saves and ours can go to one session,
// and either finalizes it.
//
// A part holds leaves that no other part holds. Saves and finalizes of one
// session, by any goroutine and any process of this module, wait for each other.
// Orbax takes no locks: do not let a Python process write a session at the same
// time.
package partial
