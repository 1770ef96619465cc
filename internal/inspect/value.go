package inspect

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"strconv"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/tree"
	"github.com/go-orbax/orbax/view"
)

// load reads the leaf as a whole. It is for leaves that are not large arrays.
func (l *storedLeaf) load(ctx context.Context) (any, error) {
	v, err := l.leaf.Load(ctx)
	return v, InCheckpoint(l.checkpoint, err)
}

// copyTo writes the leaf's elements to w, row-major and little-endian.
func (l *storedLeaf) copyTo(ctx context.Context, w io.WriterAt) error {
	alone := view.New("", []*view.Leaf{l.leaf})
	return InCheckpoint(l.checkpoint, alone.CopyTo(ctx, w, func(*view.LeafMetadata) (int64, bool) { return 0, true }))
}

// spool reads the leaf's elements into a new spool.
func (l *storedLeaf) spool(ctx context.Context) (*spool, error) {
	s, err := newSpool(l.meta.Bytes)
	if err != nil {
		return nil, err
	}
	if err := l.fill(ctx, s); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// fill writes the leaf's elements to s.
func (l *storedLeaf) fill(ctx context.Context, s *spool) error {
	to := NewDestination(s)
	err := l.copyTo(ctx, to)
	if failed := to.Err(); failed != nil {
		return needsTemporary(failed, l.meta.Bytes)
	}
	return err
}

// WriteRaw writes the bytes of the leaf: the elements of an array, or the contents of a
// string.
func (l *storedLeaf) WriteRaw(ctx context.Context, w io.Writer) error {
	switch l.meta.Kind {
	case tree.KindEmpty:
		return fmt.Errorf("%s: leaf %s has no bytes: it is %v", l.checkpoint, fault.Shown(l.meta.Path.String()), l.meta.Spec())
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

// Print writes the leaf for people.
func (l *storedLeaf) Print(ctx context.Context, w *bufio.Writer, all bool) error {
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
		return withNames(fmt.Errorf("%s: an array of shape %s has no useful preview", l.checkpoint, ShapeText(shape)), NoPreview)
	}
	// Keep only the elements that are shown.
	corners := newSparse(int(item))
	p.visit(func(i int64) { corners.want(i) })
	if err := l.copyTo(ctx, corners); err != nil {
		return err
	}
	p.elements = newElements(ctx, l.meta.DType, corners, l.meta.Bytes)
	p.elements.batch = 1
	return p.print()
}

// WriteJSON writes the document that the help of orbax cat describes.
func (l *storedLeaf) WriteJSON(ctx context.Context, w *bufio.Writer) error {
	d, err := describeLeaf(l.meta)
	if err != nil {
		return err
	}
	return writeValue(w, l.name, d.Kind, d.DType, d.Shape, func() error { return l.writeJSONValue(ctx, w) })
}

// writeValue writes the document of --json. The function value writes its value.
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
