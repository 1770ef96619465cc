package cli

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/tree"
	"github.com/go-orbax/orbax/view"
)

func newCat() *cobra.Command {
	var all, raw, asJSON bool
	var name string
	var fill fillFlag
	cmd := &cobra.Command{
		Use:   "cat CKPT LEAF[REGION]",
		Short: "Print a leaf or a region of it, or write its bytes",
		Long: `Cat prints one leaf of a checkpoint: numbers and strings as they are, arrays in
NumPy's form, with at most 8 digits behind the point (6 digits in all for bfloat16 and
other types of ml_dtypes), of which those with more than
1000 elements are abridged, byte strings quoted. --json has all digits. Characters of a string that act on a terminal are escaped if the
output is one.

LEAF is a path as ls prints it: that of a leaf in the part that --name says, else
the name of a part, a slash, and a leaf's path in it. The name of a part that is a
JSON document prints the document, with numbers that JSON does not have as
strings; where the checkpoint is the document itself that name is ''. The name
metrics prints the metrics of a step in the same way. So does that of a stateful part
whose files are JSON documents, as the positions of data iterators are: of several it
prints an object by their names.

REGION is a part of an array, as Python writes it: in brackets, for each of the
leading axes an index or START:STOP:STEP. What is left out is the whole axis and
the step 1; negative numbers count from the end; the step is at least 1. Only the
chunks that overlap the region are read. The region of a byte string is an array.
A leaf whose name ends with these very brackets comes first.

With --raw the output is the leaf's bytes: an array's elements row-major and
little-endian, a string's or byte string's contents. All checksums of what is
read are verified before the first byte is written; for that more than 64 MiB
pass through a temporary file.

With --json the output is one document, with the whole value whatever its size:

  path, kind, dtype, shape   as in ls --json; the path with the region
  value    arrays as nested lists, those without elements as []; complex numbers
           as [real, imaginary], byte strings in base64, None as null; numbers
           that JSON does not have as "NaN", "Infinity" and "-Infinity"

Of a part that is a JSON document the path is its name, the kind "json" or
"stateful" and the value the document.` + exitHelp,
		Example: `  orbax cat /ckpt/step_100 step
  orbax cat /ckpt/step_100 params.dense.kernel
  orbax cat /ckpt/step_100 ema/dense.kernel
  orbax cat /ckpt/step_100 config
  orbax cat /ckpt/step_100 'params.dense.kernel[:2, -1]'
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
			f := &finder{ck: ck, path: args[0], part: name, options: optionsOf[orbax.LoadOption](fill.options())}
			c, err := f.find(ctx, args[1])
			if err != nil {
				return err
			}
			to := cmd.OutOrStdout()
			switch {
			case asJSON:
				to = forJSON(to)
			case raw || !isTerminal(asIs(to)):
				to = asIs(to)
			}
			out := bufio.NewWriter(to)
			switch {
			case raw:
				err = c.writeRaw(ctx, out)
			case asJSON:
				err = c.writeJSON(ctx, out)
			default:
				err = c.print(ctx, out, all)
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
	fill.add(cmd)
	cmd.Flags().StringVar(&name, "name", "", "the part of the checkpoint (default: state if there is one, else the first pytree)")
	return cmd
}

// load reads the leaf as a whole; it is for leaves without a large array.
func (l *storedLeaf) load(ctx context.Context) (any, error) {
	v, err := l.leaf.Load(ctx)
	return v, inCheckpoint(l.checkpoint, err)
}

// copyTo reads the leaf's elements, row-major and little-endian.
func (l *storedLeaf) copyTo(ctx context.Context, w io.WriterAt) error {
	alone := view.New("", []*view.Leaf{l.leaf})
	return inCheckpoint(l.checkpoint, alone.CopyTo(ctx, w, func(*view.LeafMetadata) (int64, bool) { return 0, true }))
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
		return fmt.Errorf("%s: leaf %s has no bytes: it is %v", l.checkpoint, shown(l.meta.Path.String()), l.meta.Spec())
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
		return withHint(fmt.Errorf("%s: an array of shape %s has no useful preview", l.checkpoint, shapeText(shape)), "--all prints every element, --raw writes the bytes")
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
	return writeValue(w, l.name, d.Kind, d.DType, d.Shape, func() error { return l.writeJSONValue(ctx, w) })
}

// writeValue writes the document of --json, with the value that is written by
// value.
func writeValue(w *bufio.Writer, path, kind string, dtype *string, shape []int, value func() error) error {
	head, err := json.Marshal(struct {
		Path  string  `json:"path"`
		Kind  string  `json:"kind"`
		DType *string `json:"dtype"`
		Shape []int   `json:"shape"`
	}{path, kind, dtype, shape})
	if err != nil {
		return err
	}
	w.Write(head[:len(head)-1])
	w.WriteString(`,"value":`)
	if err := value(); err != nil {
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
