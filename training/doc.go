// Package training keeps the checkpoints of a run of training: a directory, the
// root, with one checkpoint for each step that was saved. Its files are those of
// ocp.training.Checkpointer, which JAX programs use: a run may go on in either language.
//
// A loop usually looks like this:
//
//	ckpts, err := training.New(ctx, "/ckpt/run", training.Options{
//		SaveDecision: training.FixedIntervalPolicy{Interval: 1000},
//		Preservation: training.AnyPreservationPolicy{training.LatestN{N: 3}, training.EveryNSteps{Interval: 20000}},
//	})
//	if err != nil {
//		return err
//	}
//	defer func() { err = errors.Join(err, ckpts.Close()) }() // the named result
//	step, err := ckpts.Resume(ctx, &state)
//	if err != nil && !errors.Is(err, orbax.ErrNotExist) { // none: a new run, and step is -1
//		return err
//	}
//	for step++; step <= last; step++ {
//		train(&state)
//		if _, err := ckpts.SaveAsync(ctx, step, &state, orbax.Metrics(metrics)); err != nil {
//			return err
//		}
//	}
//
// A SaveDecisionPolicy says which of these saves are made, and a
// PreservationPolicy which steps stay; they have the names of Orbax's and decide
// as these do.
//
// # Shared bytes
//
// A step is not written again where it is equal to the step before. Chunks of
// arrays (8 MiB, if nothing else is asked for) are recognised by fingerprints,
// which are kept in each step in a file that Orbax ignores, and the files of the
// earlier step that hold them get a second name, by a hard link, in the new one.
// So every step is complete in itself: any other can be removed, and Orbax loads
// each. What is shared shares damage too; see Sharing.
//
// # Reading beside the run
//
// Latest and Watch are for programs beside the run, such as a server that loads
// the newest model.
package training
