package training

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path"
	"time"

	"github.com/go-orbax/orbax/internal/documents"
	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/future"
	"github.com/go-orbax/orbax/internal/layout"
	"github.com/go-orbax/orbax/internal/transfer"
	"github.com/go-orbax/orbax/storage"
)

// metadataWait is the time between two checks whether another program has written the
// metadata.
const metadataWait = 10 * time.Millisecond

// RootMetadata describes a run.
type RootMetadata struct {
	Root string
	// Custom is the custom metadata, with numbers as int, uint64, *big.Int or float64, as
	// in [orbax.CheckpointMetadata]. It is empty if there is none.
	Custom map[string]any
}

// RootMetadata returns the metadata of the run. It follows links that lead out of the
// root if [Options.LoadOptions] has [orbax.FollowLinks]; otherwise it refuses them with
// orbax.ErrLink.
func (c *Checkpointer) RootMetadata(ctx context.Context) (*RootMetadata, error) {
	if err := c.checkOpen(); err != nil {
		return nil, c.root.wrap("metadata", noStep, err)
	}
	return c.root.metadata(ctx)
}

// Metadata returns the metadata of the run at root, for a program that only reads: it
// takes no lock and writes nothing. If the root does not exist, or has no metadata, there
// is no custom metadata. If the document is damaged the error matches orbax.ErrCorrupt.
// If a link leads out of the root to the document, the error matches orbax.ErrLink,
// unless [ReadOptions.OpenOptions] has [orbax.FollowLinks].
func Metadata(ctx context.Context, root string, o ReadOptions) (*RootMetadata, error) {
	r, err := newReader(ctx, root, o)
	if err != nil {
		return nil, wrap("metadata", root, noStep, err)
	}
	return r.metadata(ctx)
}

func (r *root) metadata(ctx context.Context) (*RootMetadata, error) {
	custom, err := r.readMetadata(ctx)
	if errors.Is(err, fs.ErrNotExist) {
		custom, err = map[string]any{}, nil
	}
	if err != nil {
		return nil, r.wrap("metadata", noStep, fault.WithCause(ctx, err))
	}
	return &RootMetadata{Root: r.name, Custom: custom}, nil
}

// readMetadata returns the custom metadata of the root. If there are none the error
// matches fs.ErrNotExist.
func (r *root) readMetadata(ctx context.Context) (map[string]any, error) {
	dir := r.at.Join(layout.RootMetadataDir)
	dir.Store = storage.Confine(r.at.Store, r.at.Name, r.open.FollowLinks)
	// The digest file exists if this package wrote the metadata. Orbax writes no such file,
	// and never writes metadata again.
	digests, err := documents.ReadDigests(ctx, dir, layout.DigestFile)
	if err != nil {
		return nil, err
	}
	file := layout.RootMetadataFile
	doc, err := transfer.ReadFile(ctx, dir, file, 0, -1)
	if err == nil {
		err = digests.Check(file, doc)
	}
	if errors.Is(err, fs.ErrNotExist) && digests.Has(layout.RootMetadataFile) {
		err = fmt.Errorf("%w: missing file %s", fault.ErrCorrupt, layout.RootMetadataFile)
	}
	if errors.Is(err, fs.ErrNotExist) {
		file = layout.OldRootMetadataFile
		doc, err = transfer.ReadFile(ctx, dir, file, 0, -1)
	}
	if err != nil {
		return nil, err
	}
	v, err := layout.DecodeJSON(doc)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path.Join(layout.RootMetadataDir, file), err)
	}
	members, ok := v.(map[string]any)
	if !ok {
		return nil, fmt.Errorf("%w: %s is not a JSON object", fault.ErrCorrupt, path.Join(layout.RootMetadataDir, file))
	}
	custom := map[string]any{}
	switch c := members["custom_metadata"].(type) {
	case nil:
	case map[string]any:
		custom = c
	default:
		return nil, fmt.Errorf("%w: %s: custom_metadata is %v", fault.ErrCorrupt, path.Join(layout.RootMetadataDir, file), c)
	}
	for name, v := range members { // unknown members count as custom, as in Orbax
		if _, taken := custom[name]; !taken && name != "custom_metadata" && name != "internal_metadata" {
			custom[name] = v
		}
	}
	return custom, nil
}

// writeMetadata saves custom metadata in the root, unless the root has some.
func (r *root) writeMetadata(ctx context.Context, custom any, log *slog.Logger) error {
	if custom == nil {
		return nil
	}
	doc, err := layout.CheckCustom(custom)
	if err != nil && !errors.Is(err, layout.ErrNoCustom) {
		return err
	}
	if err != nil || doc.IsList() {
		return fmt.Errorf("%w: the custom metadata of a root must be a JSON object, not %T", fault.ErrLeafType, custom)
	}
	for {
		_, err := r.readMetadata(ctx)
		switch {
		case err == nil:
			log.Debug("the root has metadata already, and keeps them")
			return nil
		case errors.Is(err, fault.ErrCorrupt):
			log.Warn("the metadata of the root are damaged, and stay as they are; remove them to have the custom metadata of the options", "error", err)
			return nil
		case errors.Is(err, fs.ErrNotExist):
			err = r.putMetadata(ctx, layout.RootDocument(doc))
		}
		if !errors.Is(err, fs.ErrExist) && !errors.Is(err, fault.ErrBusy) {
			return err
		}
		if err := future.Pause(ctx, metadataWait); err != nil { // another program is writing them
			return err
		}
	}
}

// putMetadata writes the document, unless there is one.
func (r *root) putMetadata(ctx context.Context, doc []byte) error {
	dir := path.Join(r.at.Name, layout.RootMetadataDir)
	var digests layout.Digests
	digests.Add(layout.RootMetadataFile, sha256.Sum256(doc))
	var o storage.BeginOptions
	if r.at.Store.Properties().NeedsMarker() {
		o.Marker = layout.DigestFile // the last of the two files
	}
	stage, err := r.at.Store.Begin(ctx, dir, o)
	if errors.Is(err, fs.ErrExist) { // only the directory exists
		if !r.at.Store.Properties().Edit {
			return fmt.Errorf("%w: %s is there without %s, and the store cannot change it", fault.ErrUnsupported, dir, layout.RootMetadataFile)
		}
		edit, err := r.at.Store.Edit(ctx, dir)
		if err != nil {
			return err
		}
		// The order matters: a document without digests is valid, and digests without the
		// document are damage.
		err = edit.Put(ctx, layout.RootMetadataFile, doc, false)
		if errors.Is(err, fs.ErrExist) {
			err = cmp.Or(r.checkMetadataLink(ctx), err)
		}
		if err == nil {
			err = edit.Put(ctx, layout.DigestFile, digests.Document(), true)
		}
		return errors.Join(err, edit.Close())
	}
	if err != nil {
		return err
	}
	err = transfer.WriteFile(ctx, stage, layout.RootMetadataFile, doc)
	if err == nil {
		err = transfer.WriteFile(ctx, stage, layout.DigestFile, digests.Document())
	}
	if err != nil {
		return errors.Join(err, stage.Abort())
	}
	return stage.Commit(ctx)
}

// checkMetadataLink returns an error if the document exists as a name and cannot be found
// by it: it is a link that leads nowhere. The caller has claimed the directory, so no
// other writer of this package has removed the document meanwhile.
func (r *root) checkMetadataLink(ctx context.Context) error {
	at := r.at.Join(layout.RootMetadataDir, layout.RootMetadataFile)
	_, err := at.Stat(ctx)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: %s is a link that leads nowhere; fetch the file that it leads to, or remove the link", fault.ErrIncomplete, at)
	}
	return err
}

// check refuses a path that cannot be the root of a run.
func (r *root) check(ctx context.Context) error {
	info, err := r.at.Stat(ctx)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return fault.WithCause(ctx, err)
	case !info.Dir:
		return fmt.Errorf("%w: the root is a file", fault.ErrInvalidCheckpoint)
	}
	is, err := r.isMetadata(ctx)
	if err != nil {
		return err
	}
	if is {
		return fmt.Errorf("%w: it is the directory of a run's metadata; give that of the run, %s", fault.ErrInvalidCheckpoint, r.at.Dir().Name)
	}
	outer, inside, err := layout.Enclosing(ctx, r.at.Join("step"))
	if err == nil && inside {
		err = fmt.Errorf("%w: %s is a checkpoint; the root is the directory in which a run's checkpoints are", fault.ErrInvalidCheckpoint, outer.Name)
	}
	return err
}
