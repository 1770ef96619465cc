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
// by a hard link, in the new step; an object store copies those of 1 MiB and more. Every step
// is therefore complete in itself: any other can be removed, and Orbax loads each. Steps
// that share bytes also share damage to them; see [Sharing].
//
// # A mirror
//
// With [Options.Mirror] the run has a second root, usually in an object store. Saves write
// to the root of the run, at the speed of its disk. A finished step is copied to the mirror
// in the background, as a whole and byte for byte, after every byte of it has been
// verified. Nothing that a training loop calls waits for the mirror, except New, Resume,
// loads of a step that the root of the run does not have, Delete and Close.
//
//	ckpts, err := training.New(ctx, "/local/run", training.Options{
//		Preservation: training.LatestN{N: 2},
//		Mirror: training.Mirror{
//			Root:         "gs://bucket/run",
//			Preservation: training.AnyPreservationPolicy{training.LatestN{N: 3}, training.EveryNSteps{Interval: 20000}},
//		},
//	})
//
// Each root has its own policy. The list of steps of the Checkpointer has the steps of
// both: a step that is intact in the root of the run is read there, and any other in the
// mirror. So Resume takes the newest step that is intact in one of them, also after the
// disk is lost. A step appears in the mirror when it is complete. If the program dies while
// it copies a step, the next Checkpointer of the run copies that step again.
//
// # Several processes
//
// With [Options.Together] the processes of a group, as many hosts are, have one run
// together. Each has its own [Checkpointer] and its own part of the state:
//
//	ckpts, err := training.New(ctx, "/ckpt/run", training.Options{
//		Together: multihost.Together{Group: group}, // for example that of package coord/etcd
//	})
//
// New, ShouldSave, the saves, Open, the loads and resumes, Metadata,
// CheckpointablesMetadata, Delete, Reload, Wait and Close are then operations of the
// group: all processes call them in the same order, with the same steps and options, and
// from one goroutine. The process with rank 0 makes all decisions: it asks the policies,
// reads the list of steps, writes the metadata of the root and removes steps. The others
// get its list of steps and its decisions, so that all save, resume and keep the same
// steps. The other methods, and those of a [Response], concern the process alone.
//
// If a process fails, is lost or cancels an operation, the operation fails in all of them,
// with an error that names the process and matches the same errors of package orbax. The
// error wraps a [*coord.Error]. A save that has failed leaves nothing behind, and the next
// one may succeed. If a process is lost, all operations fail: end the program, and resume
// with a new group, of any size.
//
// # Reading while the run saves
//
// [Latest] and [Watch] are for other programs, such as a server that loads the newest
// model.
package training
