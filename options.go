package orbax

import (
	"context"

	"github.com/go-orbax/orbax/handler"
	"github.com/go-orbax/orbax/internal/layout"
	"github.com/go-orbax/orbax/internal/savehook"
	"github.com/go-orbax/orbax/internal/transfer"
	"github.com/go-orbax/orbax/tree"
	"github.com/go-orbax/orbax/view"
)

// SaveOption is an option of Save and SaveAsync: Name, each SaveCheckpointablesOption
// (Overwrite, CustomMetadata, Storage …) and each CommonOption.
type SaveOption interface{ applySave(*saveConfig) }

// SaveCheckpointablesOption is an option of SaveCheckpointables and
// SaveCheckpointablesAsync; Save and SaveAsync take it too. It is Overwrite,
// CustomMetadata, Immutable, ReuseSnapshot, Storage, each CommonOption, and Metrics and
// Force of package training.
type SaveCheckpointablesOption interface {
	SaveOption
	saveCheckpointables()
}

// LoadOption is an option of the loads of one checkpointable, and of Metadata,
// Hash, Diff and Checkpoint.Tree: Name, Select, SelectFunc, Transform and each
// LoadCheckpointablesOption.
type LoadOption interface{ applyLoad(*loadConfig) }

// LoadCheckpointablesOption is an option of LoadCheckpointables; the loads of
// one checkpointable take it too. It is Cast, PadOrTruncate, Partial, FillMissing,
// FollowLinks, Mapped, MappedUnverified and each CommonOption.
type LoadCheckpointablesOption interface {
	LoadOption
	loadCheckpointables()
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

// sharedOptions are those that saves and loads have in common.
type sharedOptions struct {
	budget   int64
	reports  []*Stats
	progress []func(Stats)
}

// newEngine returns what moves the data of a save or a load.
func (o *sharedOptions) newEngine() *transfer.Engine {
	return &transfer.Engine{Budget: o.budget, Meter: new(transfer.Meter)}
}

type saveConfig struct {
	sharedOptions
	name      string
	named     bool // name was given
	overwrite bool
	custom    any
	registry  *handler.Registry
	handler   handler.SaveOptions
	into      *savehook.Into // of a partial save
	step      savehook.Step
	atomicity AtomicityMode
}

type loadConfig struct {
	sharedOptions
	openConfig
	engine   *transfer.Engine
	name     string // "" for the default
	registry *handler.Registry
	handler  handler.LoadOptions
	mapping  mapping
	// other opens another pytree of the checkpoint, for Transform.
	other func(ctx context.Context, name string) (*view.Tree, error)
}

// saveOption is an option for every save.
type saveOption func(*saveConfig)

func (o saveOption) applySave(c *saveConfig) { o(c) }
func (o saveOption) saveCheckpointables()    {}

// Overwrite lets a save replace the checkpoint at its path. The old one stays
// whole until the new one is durable; then the two change places in one step.
// Only a checkpoint, intact or not, or an empty directory is ever replaced. A directory
// that holds anything besides a checkpoint is refused; [Delete] says what that is. A
// directory that the file system cannot move, for example one of a container's image, is
// refused with ErrUnsupported before anything is written.
func Overwrite() SaveCheckpointablesOption {
	return saveOption(func(c *saveConfig) { c.overwrite = true })
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
	return saveOption(func(c *saveConfig) { c.custom = v })
}

// Immutable says that no array of the state changes until the save has ended: an
// asynchronous save copies none. For single arrays there is array.Array.Freeze.
// Save never copies, and needs neither.
func Immutable() SaveCheckpointablesOption {
	return saveOption(func(c *saveConfig) { c.handler.Immutable = true })
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
	return saveOption(func(c *saveConfig) { c.handler.SnapshotMemory = m })
}

// Storage says how the arrays are stored; see handler.StorageOptions.
func Storage(s handler.StorageOptions) SaveCheckpointablesOption {
	return saveOption(func(c *saveConfig) { c.handler.Storage = s })
}

func init() {
	savehook.Option = func(into *savehook.Into) any {
		return saveOption(func(c *saveConfig) { c.into = into })
	}
	savehook.StepOption = func(f func(*savehook.Step)) any {
		return saveOption(func(c *saveConfig) { f(&c.step) })
	}
	savehook.DeleteIf = func(still func(ctx context.Context) error) any {
		return deleteOption(func(c *deleteConfig) { c.still = still })
	}
	savehook.SaveSettings = func(options []any) savehook.Settings {
		c := newSaveConfig(optionsOf[SaveOption](options))
		return savehook.Settings{Step: c.step, Overwrite: c.overwrite, Named: c.named}
	}
	savehook.PyTrees = func(ctx context.Context, ck any) ([]string, error) { return ck.(*Checkpoint).pytrees(ctx) }
	savehook.CloseAfter = func(ck any) { ck.(*Checkpoint).oneCall = true }
	savehook.LoadSettings = func(options []any) savehook.Loading {
		c := newLoadConfig(optionsOf[LoadOption](options))
		return savehook.Loading{Named: c.name != "", Partly: c.handler.Partial, FollowLinks: c.followLinks, Mapped: c.mapping != mapNothing}
	}
}

// optionsOf returns what package savehook cannot name.
func optionsOf[O any](options []any) []O {
	all := make([]O, 0, len(options))
	for _, o := range options {
		if o != nil {
			all = append(all, o.(O))
		}
	}
	return all
}

type nameOption string

func (o nameOption) applySave(c *saveConfig) { c.name, c.named = string(o), true }
func (o nameOption) applyLoad(c *loadConfig) { c.name = string(o) }

// Name says which checkpointable a call is about. Without it a save writes "state"; a
// load reads "state" if there is one, and the first pytree otherwise; a deletion
// removes the whole checkpoint. To a load Name("") is the same as no Name; a save and a
// deletion refuse it.
func Name(name string) NameOption { return nameOption(name) }

// sharedOption is an option for every save and load.
type sharedOption func(*sharedOptions)

func (o sharedOption) applySave(c *saveConfig) { o(&c.sharedOptions) }
func (o sharedOption) applyLoad(c *loadConfig) { o(&c.sharedOptions) }
func (o sharedOption) saveCheckpointables()    {}
func (o sharedOption) loadCheckpointables()    {}

// Budget bounds the memory that a save or a load takes for buffers, in bytes; 0
// stands for the default of 48 MiB: encoding keeps about 8 MiB for each core, so
// machines with more than five need more to compress on all of them. It does not
// count the state itself, what a snapshot copies of it, and the documents that
// describe it. A chunk that needs more is moved alone, so a small budget never
// fails but is slower.
func Budget(bytes int64) CommonOption {
	return sharedOption(func(o *sharedOptions) { o.budget = bytes })
}

// Report sets s when the save or the load has ended, well or not: for an
// asynchronous one before its response is done. A load that finds no checkpoint to
// open leaves it as it is. Only what saves and loads takes it; it may be given more
// than once.
func Report(s *Stats) CommonOption {
	return sharedOption(func(o *sharedOptions) { o.reports = append(o.reports, s) })
}

// Progress calls f a few times a second while a save or a load goes on, and once
// when it has ended, never at the same time. f runs on a goroutine of its own,
// which ends with the operation; one that blocks delays that end. Only what saves
// and loads takes it; it may be given more than once.
func Progress(f func(Stats)) CommonOption {
	return sharedOption(func(o *sharedOptions) { o.progress = append(o.progress, f) })
}

type handlersOption struct{ r *handler.Registry }

func (o handlersOption) applySave(c *saveConfig) { c.registry = o.r }
func (o handlersOption) applyLoad(c *loadConfig) { c.registry = o.r }
func (o handlersOption) saveCheckpointables()    {}
func (o handlersOption) loadCheckpointables()    {}

// Handlers makes a registry with handlers of one's own choose how
// checkpointables are saved and loaded.
func Handlers(r *handler.Registry) CommonOption { return handlersOption{r} }

type adaptersOption []tree.Adapter

func (o adaptersOption) applySave(c *saveConfig) {
	c.handler.Adapters = append(c.handler.Adapters, o...)
}
func (o adaptersOption) applyLoad(c *loadConfig) {
	c.handler.Adapters = append(c.handler.Adapters, o...)
}
func (o adaptersOption) saveCheckpointables() {}
func (o adaptersOption) loadCheckpointables() {}

// Adapters make tensors of other packages leaves, see tree.NewAdapter, and other
// types of theirs nodes, see tree.NewNodeAdapter.
func Adapters(adapters ...tree.Adapter) CommonOption { return adaptersOption(adapters) }

func newSaveConfig[O SaveOption](options []O) *saveConfig {
	c := &saveConfig{name: layout.DefaultName}
	for _, o := range options {
		if any(o) != nil { // an option that a program leaves out
			o.applySave(c)
		}
	}
	return c
}

func newLoadConfig[O LoadOption](options []O) *loadConfig {
	c := &loadConfig{}
	for _, o := range options {
		if any(o) != nil {
			o.applyLoad(c)
		}
	}
	c.engine = c.newEngine()
	return c
}
