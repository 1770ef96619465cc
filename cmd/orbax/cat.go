package main

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/handler"
	"github.com/go-orbax/orbax/tree"
)

func newCat() *cobra.Command {
	var all, raw, asJSON bool
	var name string
	cmd := &cobra.Command{
		Use:   "cat CKPT LEAF",
		Short: "Print a leaf, or write its bytes",
		Long: `Cat prints one leaf of a checkpoint: numbers and strings as they are, arrays in
NumPy's form, of which those with more than 1000 elements are abridged, byte
strings quoted. LEAF is a path as ls prints it.

With --raw the output is the leaf's bytes: an array's elements row-major and
little-endian, a string's or byte string's contents. All checksums of the leaf
are verified before the first byte is written; for that a leaf of more than
64 MiB passes through a temporary file.

With --json the output is one document, with the whole value whatever its size:

  path, kind, dtype, shape   as in ls --json
  value    arrays as nested lists, those without elements as []; complex numbers
           as [real, imaginary], byte strings in base64, None as null; numbers
           that JSON does not have as "NaN", "Infinity" and "-Infinity"` + exitHelp,
		Example: `  orbax cat /ckpt/step_100 step
  orbax cat /ckpt/step_100 params.dense.kernel
  orbax cat --raw /ckpt/step_100 params.dense.kernel >kernel.bin
  orbax cat --json /ckpt/step_100 params.dense.bias | jq '.value | max'`,
		Args: exactly("CKPT", "LEAF"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if raw && (asJSON || all) {
				return usagef("--raw stands alone")
			}
			ctx := cmd.Context()
			ck, err := openCheckpoint(ctx, args[0])
			if err != nil {
				return err
			}
			defer ck.Close()
			l, err := findLeaf(ctx, ck, args[0], args[1], name)
			if err != nil {
				return err
			}
			out := bufio.NewWriter(cmd.OutOrStdout())
			switch {
			case raw:
				err = l.writeRaw(ctx, out)
			case asJSON:
				err = l.writeJSON(ctx, out)
			default:
				err = l.print(ctx, out, all)
			}
			if err != nil {
				return err
			}
			return out.Flush()
		},
	}
	cmd.Flags().BoolVar(&all, "all", false, "print every element of a large array")
	cmd.Flags().BoolVar(&raw, "raw", false, "write the leaf's bytes")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON document")
	cmd.Flags().StringVar(&name, "name", "", "the part of the checkpoint (default: state if there is one, else the first pytree)")
	return cmd
}

// storedLeaf is a leaf of an open pytree.
type storedLeaf struct {
	tree *handler.Tree
	meta *handler.LeafMetadata
}

// findLeaf returns the leaf at path; the error for another path tells which
// may have been meant.
func findLeaf(ctx context.Context, ck *orbax.Checkpoint, ckPath, path, name string) (*storedLeaf, error) {
	t, err := openTree(ctx, ck, name)
	if err != nil {
		return nil, err
	}
	leaves := t.Metadata().Leaves
	names := make([]string, len(leaves))
	for i := range leaves {
		if names[i] = leaves[i].Path.String(); names[i] == path {
			return &storedLeaf{t, &leaves[i]}, nil
		}
	}
	var under []string
	for _, n := range names {
		if strings.HasPrefix(n, path+".") {
			under = append(under, n)
		}
	}
	if len(under) > 0 {
		return nil, withHint(fmt.Errorf("%s: %s is not a leaf: it holds %s", ckPath, shown(path), plural(len(under), "leaf")),
			"such as %s; `orbax ls` lists all", shownList(under[:min(3, len(under))]))
	}
	err = fmt.Errorf("%s: no leaf %s", ckPath, shown(path))
	if near := closest(path, names, 3); len(near) > 0 {
		return nil, withHint(err, "did you mean %s?", shownList(near))
	}
	return nil, withHint(err, "`orbax ls` lists the leaves")
}

func shownList(names []string) string {
	out := make([]string, len(names))
	for i, n := range names {
		out[i] = shown(n)
	}
	return strings.Join(out, ", ")
}

// openTree opens the pytree called name; "" stands for the one that Orbax loads.
func openTree(ctx context.Context, ck *orbax.Checkpoint, name string) (*handler.Tree, error) {
	t, err := ck.Tree(ctx, orbax.Name(name))
	if err != nil {
		return nil, nameHint(err, ck, name)
	}
	return t, nil
}

// load reads the leaf as a whole; it is for leaves without a large array.
func (l *storedLeaf) load(ctx context.Context) (any, error) {
	return l.tree.LoadLeaf(ctx, l.meta.Path.String())
}

// copyTo reads the leaf's elements, row-major and little-endian.
func (l *storedLeaf) copyTo(ctx context.Context, w io.WriterAt) error {
	return l.tree.CopyTo(ctx, w, func(m *handler.LeafMetadata) (int64, bool) {
		return 0, slices.Equal(m.Path, l.meta.Path)
	})
}

// spool reads the leaf's elements to a place where they can be read from.
func (l *storedLeaf) spool(ctx context.Context) (*spool, error) {
	s, err := newSpool(l.meta.Bytes)
	if err != nil {
		return nil, err
	}
	if err := l.copyTo(ctx, s); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

func (l *storedLeaf) writeRaw(ctx context.Context, w io.Writer) error {
	switch l.meta.Kind {
	case tree.KindEmpty:
		return fmt.Errorf("leaf %s has no bytes: it is %v", shown(l.meta.Path.String()), l.meta.Spec())
	case tree.KindString:
		v, err := l.load(ctx)
		if err == nil {
			_, err = fmt.Fprint(w, v)
		}
		return err
	}
	s, err := l.spool(ctx)
	if err != nil {
		return err
	}
	defer s.Close()
	_, err = io.Copy(w, readerWithContext{ctx, io.NewSectionReader(s, 0, l.meta.Bytes)})
	return err
}

// print writes the leaf for people.
func (l *storedLeaf) print(ctx context.Context, w *bufio.Writer, all bool) error {
	if l.meta.Kind == tree.KindArray || l.meta.Kind == tree.KindScalar {
		if err := l.printArray(ctx, w, all); err != nil {
			return err
		}
		return w.WriteByte('\n')
	}
	v, err := l.load(ctx)
	if err != nil {
		return err
	}
	text := ""
	switch v := v.(type) {
	case tree.Empty:
		text = map[tree.Empty]string{tree.None: "None", tree.EmptyDict: "{}", tree.EmptyList: "[]", tree.EmptyTuple: "()"}[v]
	case []byte:
		rest := ""
		if len(v) > previewElements && !all {
			v, rest = v[:previewElements], "..."
		}
		text = strconv.Quote(string(v)) + rest
	default:
		text = fmt.Sprint(v)
	}
	_, err = fmt.Fprintln(w, text)
	return err
}

func (l *storedLeaf) printArray(ctx context.Context, w *bufio.Writer, all bool) error {
	shape, item := l.meta.Shape, int64(l.meta.DType.Size())
	edge := 0
	if l.meta.Bytes/item > previewElements && !all {
		edge = previewEdge
	}
	p := &printer{w: w, shape: shape, edge: edge}
	if edge == 0 {
		s, err := l.spool(ctx)
		if err != nil {
			return err
		}
		defer s.Close()
		p.elements = newElements(ctx, l.meta.DType, s, l.meta.Bytes)
		return p.print()
	}
	if n := p.count(); n > maxPreview {
		return withHint(fmt.Errorf("an array of shape %s has no useful preview", shapeText(shape)), "--all prints every element, --raw writes the bytes")
	}
	// Only the elements that are shown are kept.
	corners := newSparse(int(item))
	p.visit(func(i int64) { corners.want(i) })
	if err := l.copyTo(ctx, corners); err != nil {
		return err
	}
	p.elements = newElements(ctx, l.meta.DType, corners, l.meta.Bytes)
	p.elements.batch = 1
	return p.print()
}

// writeJSON writes the document that the verb's help describes.
func (l *storedLeaf) writeJSON(ctx context.Context, w *bufio.Writer) error {
	d, err := describeLeaf(l.meta)
	if err != nil {
		return err
	}
	head, err := json.Marshal(struct {
		Path  string  `json:"path"`
		Kind  string  `json:"kind"`
		DType *string `json:"dtype"`
		Shape []int   `json:"shape"`
	}{d.Path, d.Kind, d.DType, d.Shape})
	if err != nil {
		return err
	}
	w.Write(head[:len(head)-1])
	w.WriteString(`,"value":`)
	if err := l.writeJSONValue(ctx, w); err != nil {
		return err
	}
	_, err = w.WriteString("}\n")
	return err
}

func (l *storedLeaf) writeJSONValue(ctx context.Context, w *bufio.Writer) error {
	switch l.meta.Kind {
	case tree.KindArray, tree.KindScalar:
		s, err := l.spool(ctx)
		if err != nil {
			return err
		}
		defer s.Close()
		p := &printer{w: w, shape: l.meta.Shape, elements: newElements(ctx, l.meta.DType, s, l.meta.Bytes)}
		return p.printJSON()
	}
	v, err := l.load(ctx)
	if err != nil {
		return err
	}
	switch b := v.(type) {
	case tree.Empty:
		v = map[tree.Empty]any{tree.None: nil, tree.EmptyDict: struct{}{}, tree.EmptyList: []int{}, tree.EmptyTuple: []int{}}[b]
	case []byte:
		v = base64.StdEncoding.EncodeToString(b)
	}
	doc, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_, err = w.Write(doc)
	return err
}
