package orbax

import (
	"sync/atomic"

	"github.com/go-orbax/orbax/handler"
	"github.com/go-orbax/orbax/internal/config"
	"github.com/go-orbax/orbax/internal/save"
	"github.com/go-orbax/orbax/internal/transfer"
	"github.com/go-orbax/orbax/tree"
)

// SaveOption is an option of Save and SaveAsync: Name, each SaveCheckpointablesOption
// (Overwrite, CustomMetadata, Storage …) and each CommonOption.
type SaveOption interface{ ApplySave(c *save.Config) }

// SaveCheckpointablesOption is an option of SaveCheckpointables and
// SaveCheckpointablesAsync; Save and SaveAsync take it too. It is Overwrite,
// CustomMetadata, Metrics, Immutable, ReuseSnapshot, Storage, Atomicity, each CommonOption,
// and training.Force.
type SaveCheckpointablesOption interface {
	SaveOption
	ForCheckpointables()
}

// LoadOption is an option of the loads of one checkpointable, and of Metadata,
// Hash, Diff and Checkpoint.Tree: Name, Select, SelectFunc, Transform and each
// LoadCheckpointablesOption.
type LoadOption interface{ ApplyLoad(c *config.Load) }

// LoadCheckpointablesOption is an option of LoadCheckpointables; the loads of
// one checkpointable take it too. It is Cast, PadOrTruncate, Partial, FillMissing,
// FollowLinks, Mapped, MappedUnverified and each CommonOption.
type LoadCheckpointablesOption interface {
	LoadOption
	ForCheckpointables()
}

// CommonOption is an option of all saves and loads: Budget, Report, Progress, Handlers
// or Adapters.
type CommonOption interface {
	SaveCheckpointablesOption
	LoadCheckpointablesOption
}

// NameOption is what Name returns.
type NameOption interface {
	SaveOption
	LoadOption
	DeleteOption
}

// FillOption is what FillMissing returns.
type FillOption interface {
	LoadCheckpointablesOption
	VerifyOption
}

// loadConfig is what a load goes by.
type loadConfig struct {
	*config.Load
	engine *transfer.Engine
	// unproven says that something was read that no digest covers.
	unproven atomic.Bool
}

// saveOption is an option for every save.
type saveOption func(*save.Config)

func (o saveOption) ApplySave(c *save.Config) { o(c) }
func (o saveOption) ForCheckpointables()      {}

// Overwrite lets a save replace the checkpoint at its path. The old one stays
// whole until the new one is durable; then the two change places in one step.
// Only a checkpoint, intact or not, or an empty directory is ever replaced. A directory
// that holds anything besides a checkpoint is refused; [Delete] says what that is. A
// directory that the file system cannot move, for example one of a container's image, is
// refused with ErrUnsupported before anything is written.
func Overwrite() SaveCheckpointablesOption {
	return saveOption(func(c *save.Config) { c.Overwrite = true })
}

// CustomMetadata stores a value beside the checkpoint, to be had again from
// Metadata without loading. It must encode to a JSON object or array, by the
// rules of encoding/json; the save takes it as it is when called. NaN and the
// infinities are stored as the words NaN, Infinity and -Infinity, as Python's json
// module writes and reads them. A list is stored
// as the member orbax_go_list of an object, as Orbax reads only objects. What would
// not be read again as it is, a string that is not UTF-8 for example, or more than
// 512 levels, is an error that matches ErrLeafType.
func CustomMetadata(v any) SaveCheckpointablesOption {
	return saveOption(func(c *save.Config) { c.Custom = v })
}

// Metrics are stored with the checkpoint, as with a step of training: a JSON object
// mostly, by the rules of encoding/json, such as map[string]any{"loss": 0.25}; NaN and
// the infinities are numbers too, as in Python. A save takes them as they are when it is
// called. [Metadata] returns them, and training.BestN ranks steps by them. A partial save
// refuses Metrics.
func Metrics(v any) SaveCheckpointablesOption {
	return saveOption(func(c *save.Config) { c.Metrics = v })
}

// Immutable says that no array of the state changes until the save has ended: an
// asynchronous save copies none. For single arrays there is array.Array.Freeze.
// Save never copies, and needs neither.
func Immutable() SaveCheckpointablesOption {
	return saveOption(func(c *save.Config) { c.Handler.Immutable = true })
}

// SnapshotMemory is memory that asynchronous saves copy arrays to; see
// ReuseSnapshot.
type SnapshotMemory = handler.SnapshotMemory

// ReuseSnapshot makes an asynchronous save copy the arrays to m, and give it back
// when it has ended. Saves that follow one another with the same m keep the caller
// for no longer than copying takes: to memory that is new it takes several times
// as long. m holds as much as the state until it is garbage or its Free is called.
// Save, which never copies, makes no use of it.
func ReuseSnapshot(m *SnapshotMemory) SaveCheckpointablesOption {
	return saveOption(func(c *save.Config) { c.Handler.SnapshotMemory = m })
}

// Storage says how the arrays are stored; see handler.StorageOptions.
func Storage(s handler.StorageOptions) SaveCheckpointablesOption {
	return saveOption(func(c *save.Config) { c.Handler.Storage = s })
}

type nameOption string

func (o nameOption) ApplySave(c *save.Config) { c.Name, c.Named = string(o), true }
func (o nameOption) ApplyLoad(c *config.Load) { c.Name = string(o) }

// Name says which checkpointable a call is about. Without it a save writes "state"; a
// load reads "state" if there is one, and the first pytree otherwise; a deletion
// removes the whole checkpoint. To a load Name("") is the same as no Name; a save and a
// deletion refuse it.
func Name(name string) NameOption { return nameOption(name) }

// commonOption is an option for every save and load.
type commonOption func(*config.Common)

func (o commonOption) ApplySave(c *save.Config) { o(&c.Common) }
func (o commonOption) ApplyLoad(c *config.Load) { o(&c.Common) }
func (o commonOption) ForCheckpointables()      {}

// Budget bounds the memory that a save or a load takes for buffers, in bytes; 0
// stands for the default of 48 MiB: encoding keeps about 8 MiB for each core, so
// machines with more than five need more to compress on all of them. It does not
// count the state itself, what a snapshot copies of it, and the documents that
// describe it. A chunk that needs more is moved alone, so a small budget never
// fails but is slower.
func Budget(bytes int64) CommonOption {
	return commonOption(func(c *config.Common) { c.Budget = bytes })
}

// Report sets s when the save or the load has ended, well or not: for an
// asynchronous one before its response is done. A load that finds no checkpoint to
// open leaves it as it is. Only what saves and loads takes it; it may be given more
// than once.
func Report(s *Stats) CommonOption {
	return commonOption(func(c *config.Common) { c.Reports = append(c.Reports, func(now transfer.Sample) { *s = statsOf(now) }) })
}

// Progress calls f a few times a second while a save or a load goes on, and once
// when it has ended, never at the same time. f runs on a goroutine of its own,
// which ends with the operation; one that blocks delays that end. Only what saves
// and loads takes it; it may be given more than once.
func Progress(f func(Stats)) CommonOption {
	return commonOption(func(c *config.Common) { c.Progress = append(c.Progress, func(now transfer.Sample) { f(statsOf(now)) }) })
}

type handlersOption struct{ r *handler.Registry }

func (o handlersOption) ApplySave(c *save.Config)    { c.Registry = o.r }
func (o handlersOption) ApplyLoad(c *config.Load)    { c.Registry = o.r }
func (o handlersOption) applyVerify(c *verifyConfig) { c.registry = o.r }
func (o handlersOption) ForCheckpointables()         {}

// Handlers makes a registry with handlers of one's own choose how checkpointables are
// saved and loaded, and how Verify opens those that a [handler.TreeHandler] has saved.
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

// Adapters make tensors of other packages leaves, see tree.NewAdapter, and other
// types of theirs nodes, see tree.NewNodeAdapter.
func Adapters(adapters ...tree.Adapter) CommonOption { return adaptersOption(adapters) }

func newLoadConfig[O LoadOption](options []O) *loadConfig {
	c := config.NewLoad(options)
	return &loadConfig{Load: c, engine: c.NewEngine()}
}
