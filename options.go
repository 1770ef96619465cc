package orbax

import (
	"sync/atomic"

	"github.com/go-orbax/orbax/handler"
	"github.com/go-orbax/orbax/internal/config"
	"github.com/go-orbax/orbax/internal/save"
	"github.com/go-orbax/orbax/internal/transfer"
	"github.com/go-orbax/orbax/tree"
)

// SaveOption is an option of [Save] and [SaveAsync]. It is [Name], or any
// [SaveCheckpointablesOption] or [CommonOption].
type SaveOption interface{ ApplySave(c *save.Config) }

// SaveCheckpointablesOption is an option of all saves. It is [Overwrite],
// [CustomMetadata], [Metrics], [Immutable], [ReuseSnapshot], [Storage], [Atomicity],
// [In], training.Force or any [CommonOption].
type SaveCheckpointablesOption interface {
	SaveOption
	ForCheckpointables()
}

// LoadOption is an option of a load of one checkpointable. [Metadata], [Hash], [Diff] and
// [Checkpoint.Tree] take it too. It is [Name], [Select], [SelectFunc], [Transform] or any
// [LoadCheckpointablesOption].
type LoadOption interface{ ApplyLoad(c *config.Load) }

// LoadCheckpointablesOption is an option of all loads. It is [Cast], [PadOrTruncate],
// [Partial], [FillMissing], [FollowLinks], [In], [Mapped], [MappedUnverified] or any
// [CommonOption].
type LoadCheckpointablesOption interface {
	LoadOption
	ForCheckpointables()
}

// CommonOption is an option of all saves and loads: [Budget], [Report], [Progress],
// [Handlers], [Adapters], [In] or multihost.Together.
type CommonOption interface {
	SaveCheckpointablesOption
	LoadCheckpointablesOption
}

// NameOption is the result of [Name].
type NameOption interface {
	SaveOption
	LoadOption
	DeleteOption
}

// FillOption is the result of [FillMissing].
type FillOption interface {
	LoadCheckpointablesOption
	VerifyOption
}

// loadConfig has the options of a load and the engine that performs it.
type loadConfig struct {
	*config.Load
	engine *transfer.Engine
	// unproven says that the load has read data that no digest covers.
	unproven atomic.Bool
}

// saveOption is an option for every save.
type saveOption func(*save.Config)

func (o saveOption) ApplySave(c *save.Config) { o(c) }
func (o saveOption) ForCheckpointables()      {}

// Overwrite lets a save replace the checkpoint at its path. The old checkpoint stays
// whole until the new one is durable. Then the two change places in one step.
//
// Only a checkpoint, intact or damaged, or an empty directory is ever replaced. A
// directory with any other content is refused; [Delete] has the exact rules. A directory
// that the file system cannot move, for example one of a container's image, is refused
// with [ErrUnsupported] before anything is written.
func Overwrite() SaveCheckpointablesOption {
	return saveOption(func(c *save.Config) { c.Overwrite = true })
}

// CustomMetadata stores a value with the checkpoint; [Metadata] returns it without a
// load. The value must encode to a JSON object or array, by the rules of encoding/json.
// The save encodes it when it is called.
//
// NaN and the infinities are stored as the words NaN, Infinity and -Infinity, as Python's
// json module writes and reads them. A list is stored as the member orbax_go_list of an
// object, because Orbax reads only objects. A value that would not be the same when it is
// read again is an error that matches [ErrLeafType]: for example a string that is not
// UTF-8, or more than 512 levels.
func CustomMetadata(v any) SaveCheckpointablesOption {
	return saveOption(func(c *save.Config) { c.Custom = v })
}

// Metrics stores measurements with the checkpoint, such as map[string]any{"loss": 0.25}.
// [Metadata] returns them, and training.BestN ranks steps by them. The value is usually a
// JSON object, by the rules of encoding/json; NaN and the infinities are allowed, as in
// Python. The save encodes it when it is called. A partial save refuses Metrics.
func Metrics(v any) SaveCheckpointablesOption {
	return saveOption(func(c *save.Config) { c.Metrics = v })
}

// Immutable promises that no array of the state changes until the save has ended. An
// asynchronous save then copies none. To promise this for single arrays call
// array.Array.Freeze. [Save] never copies and needs neither.
func Immutable() SaveCheckpointablesOption {
	return saveOption(func(c *save.Config) { c.Handler.Immutable = true })
}

// SnapshotMemory is memory for the copies of asynchronous saves; see [ReuseSnapshot].
type SnapshotMemory = handler.SnapshotMemory

// ReuseSnapshot makes an asynchronous save copy the arrays to m, and return m when it has
// ended. Saves that follow each other with the same m delay the caller only for the time
// of a copy. A copy to new memory takes several times as long. m keeps as much memory as
// the state has, until it is garbage or its Free is called. [Save], which never copies,
// does not use it.
func ReuseSnapshot(m *SnapshotMemory) SaveCheckpointablesOption {
	return saveOption(func(c *save.Config) { c.Handler.SnapshotMemory = m })
}

// Storage chooses how the arrays are stored; see [handler.StorageOptions].
func Storage(s handler.StorageOptions) SaveCheckpointablesOption {
	return saveOption(func(c *save.Config) { c.Handler.Storage = s })
}

type nameOption string

func (o nameOption) ApplySave(c *save.Config) { c.Name, c.Named = string(o), true }
func (o nameOption) ApplyLoad(c *config.Load) { c.Name = string(o) }

// Name names the checkpointable of a save, a load or a deletion. Without it a save writes
// "state". A load reads "state" if it exists, and otherwise the first pytree. A deletion
// removes the whole checkpoint. Name("") has no effect on a load; a save and a deletion
// refuse it.
func Name(name string) NameOption { return nameOption(name) }

// commonOption is an option for every save and load.
type commonOption func(*config.Common)

func (o commonOption) ApplySave(c *save.Config) { o(&c.Common) }
func (o commonOption) ApplyLoad(c *config.Load) { o(&c.Common) }
func (o commonOption) ForCheckpointables()      {}

// Budget bounds the memory for the buffers of a save or a load, in bytes. 0 stands for
// the default of 48 MiB. Encoding takes about 8 MiB for each core, so a machine with more
// than five cores needs a larger budget to compress on all of them.
//
// The budget does not count the state, the copies of a snapshot, and the documents that
// describe the state. A chunk that needs more than the budget is moved alone. A small
// budget therefore never makes an operation fail, only slower.
func Budget(bytes int64) CommonOption {
	return commonOption(func(c *config.Common) { c.Budget = bytes })
}

// Report sets s when the save or the load has ended, with or without an error. For an
// asynchronous save that is before its response is done. A load that finds no checkpoint
// to open leaves s unchanged. Only saves and loads accept Report. It may be given several
// times.
func Report(s *Stats) CommonOption {
	return commonOption(func(c *config.Common) { c.Reports = append(c.Reports, func(now transfer.Sample) { *s = statsOf(now) }) })
}

// Progress calls f a few times a second during a save or a load, and once at its end. The
// calls never overlap. f runs on its own goroutine, which ends with the operation; if f
// blocks, the operation ends later. Only saves and loads accept Progress. It may be given
// several times.
func Progress(f func(Stats)) CommonOption {
	return commonOption(func(c *config.Common) { c.Progress = append(c.Progress, func(now transfer.Sample) { f(statsOf(now)) }) })
}

type handlersOption struct{ r *handler.Registry }

func (o handlersOption) ApplySave(c *save.Config)    { c.Registry = o.r }
func (o handlersOption) ApplyLoad(c *config.Load)    { c.Registry = o.r }
func (o handlersOption) applyVerify(c *verifyConfig) { c.registry = o.r }
func (o handlersOption) ForCheckpointables()         {}

// Handlers sets the registry that chooses the handler of each checkpointable, for saves
// and loads. With it, [Verify] also opens the checkpointables that a
// [handler.TreeHandler] of the registry has saved.
func Handlers(r *handler.Registry) interface {
	CommonOption
	VerifyOption
} {
	return handlersOption{r}
}

type adaptersOption []tree.Adapter

func (o adaptersOption) ApplySave(c *save.Config) {
	c.Handler.Adapters = append(c.Handler.Adapters, o...)
}
func (o adaptersOption) ApplyLoad(c *config.Load) {
	c.Handler.Adapters = append(c.Handler.Adapters, o...)
}
func (o adaptersOption) ForCheckpointables() {}

// Adapters makes tensors of other packages leaves, and other types of theirs nodes. See
// [tree.NewAdapter] and [tree.NewNodeAdapter].
func Adapters(adapters ...tree.Adapter) CommonOption { return adaptersOption(adapters) }

func newLoadConfig[O LoadOption](options []O) *loadConfig {
	c := config.NewLoad(options)
	return &loadConfig{Load: c, engine: c.NewEngine()}
}
