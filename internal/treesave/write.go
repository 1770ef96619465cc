package treesave

import (
	"context"
	"path"

	"github.com/go-orbax/orbax/internal/ckdir"
	"github.com/go-orbax/orbax/internal/database"
	"github.com/go-orbax/orbax/internal/layout"
	"github.com/go-orbax/orbax/internal/parallel"
	"github.com/go-orbax/orbax/internal/transfer"
	"github.com/go-orbax/orbax/sharding"
)

// Write writes the arrays of the plan and the documents beside them, for the save with
// the settings s.
func (p *Plan) Write(ctx context.Context, dir *ckdir.WriteDir, s *ckdir.Settings) error {
	for i := range p.arrays {
		dir.Engine().Counters().AddArray(p.arrays[i].bytes())
	}
	if err := p.choose(ctx, dir.Engine()); err != nil {
		return err
	}
	store := p.writeOCDBT
	if p.storage.PlainFiles {
		store = p.writeFiles
	}
	group, gctx := parallel.WithContext(ctx)
	group.Go(func() error { return store(gctx, dir, s) })
	if s.Process.Rank > 0 {
		return group.Wait()
	}
	group.Go(func() error { return WriteDocuments(gctx, dir, &p.meta, p.strings, p.shardings, p.jax) })
	return group.Wait()
}

// WriteDocuments writes the documents of a pytree. It leaves out documents without
// entries, except the document of the tree itself.
func WriteDocuments(ctx context.Context, dir *ckdir.WriteDir, meta *layout.TreeMetadata, strings map[string]string,
	shardings map[string]*sharding.Sharding, arrays []layout.ArrayMetadata) error {
	group, gctx := parallel.WithContext(ctx)
	for _, d := range []struct {
		name    string
		entries int
		encode  func() ([]byte, error)
	}{
		{layout.StringsFile, len(strings), func() ([]byte, error) { return layout.StringsDocument(strings) }},
		{layout.ShardingFile, len(shardings), func() ([]byte, error) { return sharding.MarshalFile(shardings) }},
		{layout.ArrayFile, len(arrays), func() ([]byte, error) { return layout.ArraysDocument(arrays), nil }},
		{layout.TreeFile, 1, func() ([]byte, error) { return meta.Document(), nil }},
	} {
		if d.entries == 0 {
			continue
		}
		group.Go(func() error {
			doc, err := d.encode()
			if err != nil {
				return err
			}
			return dir.WriteFile(gctx, d.name, doc)
		})
	}
	return group.Wait()
}

// writeFiles writes each document and chunk as a file.
func (p *Plan) writeFiles(ctx context.Context, dir *ckdir.WriteDir, s *ckdir.Settings) error {
	var names []string
	var items []transfer.Item
	seals := p.newSeals()
	for i := range p.arrays {
		a := &p.arrays[i]
		if p.describes(a) {
			if err := dir.WriteFile(ctx, database.JoinKey(a.name, a.zarr.MetadataName()), a.zarr.Document()); err != nil {
				return err
			}
		}
		a.eachChunk(ctx, func(c plannedChunk) {
			names = append(names, path.Join(dir.Name(), c.key))
			items = append(items, sealed(c.item, &seals[i][c.n]))
		})
	}
	if err := dir.Engine().WriteFiles(ctx, dir.Stage(), names, items); err != nil || len(p.arrays) == 0 {
		return err
	}
	return p.writeSeals(ctx, dir, s, nil, seals)
}
