// Package partial saves a checkpoint in parts. It is for a state that does not fit in
// memory as a whole, or whose parts are ready at different times.
//
//	err := partial.Save(ctx, path, map[string]any{"embedder": w})
//	err = partial.Save(ctx, path, map[string]any{"decoder": map[string]any{"layer0": w}})
//	err = partial.Finalize(ctx, path)
//
// The first [Save] begins a session, the directory <path>.partial_save, and each Save
// adds one part to it. Nothing is at path before [Finalize], which makes one checkpoint
// of all parts without copying their arrays, and removes the session. Sessions have the
// format of Orbax: partial saves of Orbax and of this package can go to one session, and
// either of the two can finalize it.
//
// No two parts of a session hold the same leaf. The saves and finalizes of one session
// wait for each other, in all goroutines and in all processes that use this module. Orbax
// takes no locks: do not let a Python process write to a session at the same time.
package partial
