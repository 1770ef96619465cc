package inspect

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/layout"
	"github.com/go-orbax/orbax/view"
)

// PartNames returns name alone, or, if name is "", the names of all checkpointables. A
// checkpoint that is itself a single pytree or document, as Orbax v0 wrote them and as
// other formats are, has one checkpointable, called "".
func PartNames(ck *orbax.Checkpoint, name string) []string {
	if names := ck.Names(); name == "" && len(names) > 0 {
		return names
	}
	return []string{name}
}

// Look describes a checkpoint with its checkpointable called name, or, if name is "",
// with all checkpointables.
func Look(ctx context.Context, ck *orbax.Checkpoint, name string, fill ...orbax.FillOption) (*orbax.CheckpointMetadata, error) {
	if name == "" {
		return ck.CheckpointablesMetadata(ctx, OptionsOf[orbax.LoadCheckpointablesOption](fill)...)
	}
	if len(ck.Names()) == 0 {
		m, err := ck.CheckpointablesMetadata(ctx)
		if err == nil {
			err = withNames(fmt.Errorf("%s: no checkpointable %s: the checkpoint is itself its only checkpointable, without a name", m.Path, fault.Shown(name)), OnlyItself)
		}
		return nil, err
	}
	m, err := ck.Metadata(ctx, append(OptionsOf[orbax.LoadOption](fill), orbax.Name(name))...)
	return m, NameHint(err, ck, name)
}

// lookForList describes a checkpoint with its checkpointable called name, or, if name is
// "", with all checkpointables. lost has the errors of those that cannot be read, unless
// none can be read.
func (in Inspector) lookForList(ctx context.Context, ck *orbax.Checkpoint, name string) (m *orbax.CheckpointMetadata, lost map[string]error, err error) {
	m, err = Look(ctx, ck, name, in.Fill()...)
	if err != nil && name == "" && ctx.Err() == nil {
		m, lost, err = lookAtEach(ctx, ck, err, in.Fill()...)
	}
	if err != nil {
		return nil, nil, err
	}
	names := slices.DeleteFunc(slices.Clone(PartNames(ck, name)), func(n string) bool { return lost[n] != nil })
	without, err := in.lostFiles(ctx, ck, m, names)
	if err != nil {
		return nil, nil, err
	}
	if lost == nil {
		lost = map[string]error{}
	}
	maps.Copy(lost, without)
	if len(without) > 0 && len(without) == len(names) {
		return nil, nil, unreadable(m, lost)
	}
	return m, lost, nil
}

// lookAtEach describes the checkpointables one by one after a description of all has
// failed with err. It returns err if that concerns the whole checkpoint, or if no
// checkpointable can be described. lost has the errors of those that cannot be described.
func lookAtEach(ctx context.Context, ck *orbax.Checkpoint, err error, fill ...orbax.FillOption) (m *orbax.CheckpointMetadata, lost map[string]error, _ error) {
	m, infoErr := ck.Info(ctx)
	if infoErr != nil || !IsDamage(err) || len(ck.Names()) == 0 {
		return nil, nil, err
	}
	names := ck.Names()
	for name := range m.Handlers { // lost because its directory is missing
		if name != m.Deleting && name != layout.MetricsName && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	lost = map[string]error{}
	for _, name := range names {
		of, partErr := ck.Metadata(ctx, append(OptionsOf[orbax.LoadOption](fill), orbax.Name(name))...)
		switch {
		case partErr == nil:
			if part, ok := of.Checkpointables[name]; ok {
				m.Checkpointables[name] = part
			}
		case IsDamage(partErr):
			lost[name] = partErr
		default:
			return nil, nil, partErr
		}
	}
	if len(lost) == 0 || len(lost) == len(names) {
		return nil, nil, err
	}
	return m, lost, nil
}

// NameHint adds the names of the checkpointables to an error about a missing one.
func NameHint(err error, ck *orbax.Checkpoint, name string) error {
	names := ck.Names()
	if !errors.Is(err, orbax.ErrNotExist) && !errors.Is(err, orbax.ErrReservedName) || IsDamage(err) || len(names) == 0 {
		return err
	}
	if near := Closest(name, names, 1); len(near) > 0 {
		return withNames(err, SimilarName, near[0])
	}
	return withNames(err, ExistingNames, names...)
}

// InCheckpoint adds the path of the checkpoint to an error of reading it.
func InCheckpoint(path string, err error) error {
	if err == nil {
		return nil
	}
	return &orbax.Error{Op: "load", Path: path, Err: err}
}

// These are the kinds of checkpointables that are not pytrees, besides names of handlers.
const (
	KindJSON     = "json"
	KindProto    = "proto"
	KindStateful = "stateful"
	kindUnknown  = "unknown"
)

// KindOf returns the kind of a checkpointable that is not a pytree. It follows the
// checkpoint's metadata or, if they do not say, the files of the checkpointable.
func (in Inspector) KindOf(ctx context.Context, m *orbax.CheckpointMetadata, name string) string {
	typ := m.Handlers[name]
	if typ == "" {
		if at, err := in.rootOf(ctx, m.Path, name); err == nil {
			typ, _ = layout.TypeByFiles(ctx, at.Join(name)) // unknown if the files cannot be listed
		}
	}
	return kindOfHandler(typ)
}

// TreeOf returns the metadata of the checkpointable called name. It returns nil if that
// is not a pytree.
func TreeOf(m *orbax.CheckpointMetadata, name string) *view.TreeMetadata {
	t, _ := m.Checkpointables[name].(*view.TreeMetadata)
	return t
}

// TreesAmong returns those of names that are pytrees.
func TreesAmong(m *orbax.CheckpointMetadata, names []string) []string {
	return slices.DeleteFunc(slices.Clone(names), func(name string) bool { return TreeOf(m, name) == nil })
}

// kindOfHandler makes a word of the recorded type of a handler that is not for pytrees.
// An example of a type is
// "orbax.checkpoint.experimental.v1._src.handlers.json_handler.JsonHandler".
func kindOfHandler(typ string) string {
	switch class := layout.HandlerClass(typ); class {
	case "":
		return kindUnknown
	case layout.HandlerClass(layout.JSONHandler), layout.OldJSONHandler:
		return KindJSON
	case layout.HandlerClass(layout.ProtoHandler), layout.OldProtoHandler:
		return KindProto
	case layout.HandlerClass(layout.StatefulHandler):
		return KindStateful
	default:
		return class
	}
}
