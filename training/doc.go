// Package training keeps the checkpoints of a training run in one directory, the root,
// with one checkpoint for each saved step. The files are those of
// ocp.training.Checkpointer, which JAX programs use: Go and Python can continue each
// other's runs.
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
// A [SaveDecisionPolicy] decides which of these saves are made, and a
// [PreservationPolicy] which steps are kept. The policies have the names of Orbax's
// policies and decide in the same way.
//
// # Shared bytes
//
// Bytes that are equal to those of the step before are not written again. Fingerprints
// identify equal chunks of arrays (8 MiB by default); each step keeps them in a file that
// Orbax ignores. The files of the earlier step that hold such chunks get a second name,
// by a hard link, in the new step. Every step is therefore complete in itself: any other
// can be removed, and Orbax loads each. Steps that share bytes also share damage to them;
// see [Sharing].
//
// # Reading while the run saves
//
// [Latest] and [Watch] are for other programs, such as a server that loads the newest
// model.
package training
