package inspect

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/layout"
	"github.com/go-orbax/orbax/view"
)

// keySeparator separates the keys of a leaf's path.
const keySeparator = "."

// Content is the target of an address in a checkpoint: a leaf, a region of a leaf, or a
// document.
type Content interface {
	// Print writes the content for people. If all is set, it writes every element of an
	// array.
	Print(ctx context.Context, w *bufio.Writer, all bool) error
	// WriteRaw writes the bytes of a leaf.
	WriteRaw(ctx context.Context, w io.Writer) error
	// WriteJSON writes the JSON document that the help of orbax cat describes.
	WriteJSON(ctx context.Context, w *bufio.Writer) error
}

// storedLeaf is a leaf of an open pytree, or a region of one.
type storedLeaf struct {
	leaf       *view.Leaf
	meta       *view.LeafMetadata
	name       string // path of the leaf, and the region
	checkpoint string // path of the checkpoint
}

// err returns the error if the leaf is known to be unreadable, else nil.
func (l *storedLeaf) err() error {
	if l.meta.Err == nil {
		return nil
	}
	return InCheckpoint(l.checkpoint, &orbax.LeafError{Path: l.name, Err: l.meta.Err})
}

// finder finds the content at an address in a checkpoint.
type finder struct {
	in      Inspector
	ck      *orbax.Checkpoint
	path    string // of the checkpoint
	part    string // checkpointable to search; "" is the one that Orbax loads
	options []orbax.LoadOption
}

// noLeafError reports that there is no leaf of the given name.
type noLeafError struct{ error }

func (e noLeafError) Unwrap() error { return e.error }

// Find returns the content at the address leaf in an open checkpoint, which is at path.
// The address is a leaf of the checkpointable called part ("" for the one that Orbax
// loads); or the name of a checkpointable, a slash and a leaf of it; or the name of a
// checkpointable that is a document. If nothing has that name, the brackets at its end
// name a region, and the rest is the address of a leaf.
func (in Inspector) Find(ctx context.Context, ck *orbax.Checkpoint, path, part, leaf string) (Content, error) {
	f := &finder{in: in, ck: ck, path: path, part: part, options: OptionsOf[orbax.LoadOption](in.Fill())}
	return f.find(ctx, leaf)
}

// find finds leaf as a whole, or, if there is no such leaf, the region in the brackets at
// the end of leaf.
func (f *finder) find(ctx context.Context, leaf string) (Content, error) {
	c, err := f.exactly(ctx, leaf)
	base, text, ok := cutRegion(leaf)
	if !ok || !errors.As(err, new(noLeafError)) {
		return c, err
	}
	c, baseErr := f.exactly(ctx, base)
	r, regionErr := parseRegion(text)
	switch {
	case baseErr != nil && regionErr != nil:
		return nil, err // nothing has the rest as its name either, so the brackets belong to a name that does not exist
	case baseErr != nil:
		return nil, baseErr
	case regionErr != nil:
		return nil, regionErr
	}
	l, ok := c.(*storedLeaf)
	if !ok {
		return nil, fmt.Errorf("%s: %s is a JSON document, which has no regions", f.path, fault.Shown(base))
	}
	return l.region(r, text)
}

// exactly returns the content with the name leaf: a leaf of the part to search, or the
// metrics; or, in the form that ls prints, the leaf of another part, after the part's name
// and a slash; or a part that is a document.
func (f *finder) exactly(ctx context.Context, leaf string) (Content, error) {
	other, isPart := f.partIn(ctx, leaf)
	t, err := f.in.OpenTree(ctx, f.ck, f.path, f.part, f.options...)
	if err != nil && !(isPart && (errors.Is(err, ErrNoPytree) || errors.Is(err, orbax.ErrStructure))) {
		return nil, err
	}
	if err == nil {
		if l := f.leaf(t, leaf); l != nil {
			return l, l.err()
		}
	}
	if isPart && (err != nil || leaf != "") {
		return f.ofPart(ctx, other)
	}
	if leaf == layout.MetricsName && f.part == "" {
		if d, err := f.metrics(ctx); d != nil || err != nil {
			return d, err
		}
	}
	return nil, f.noLeaf(ctx, t, f.part, "", leaf)
}

// partAddress is the address of a part, or of a leaf in it.
type partAddress struct {
	part, leaf string
	isLeaf     bool
}

// partIn returns the address leaf as one that begins with the name of a part. ok is false
// if leaf begins with no part that may be searched.
func (f *finder) partIn(ctx context.Context, leaf string) (a partAddress, ok bool) {
	a.part, a.leaf, a.isLeaf = strings.Cut(leaf, "/")
	names := f.ck.Names()
	if len(names) == 0 {
		return a, leaf == "" // the checkpoint itself
	}
	if len(names) == 1 && leaf == "" && !f.isTree(ctx, names[0]) {
		return partAddress{part: names[0]}, true // the path of a document stands for the document
	}
	return a, slices.Contains(names, a.part) && (f.part == "" || f.part == a.part)
}

// ofPart returns a part, which must be a document, or a leaf of a part.
func (f *finder) ofPart(ctx context.Context, a partAddress) (Content, error) {
	if !a.isLeaf {
		return f.document(ctx, a.part)
	}
	t, err := f.in.OpenTree(ctx, f.ck, f.path, a.part, f.options...)
	if err != nil {
		return nil, err
	}
	if l := f.leaf(t, a.leaf); l != nil {
		return l, l.err()
	}
	return nil, f.noLeaf(ctx, t, a.part, a.part+"/", a.leaf)
}

func (f *finder) isTree(ctx context.Context, name string) bool {
	m, err := Look(ctx, f.ck, name)
	return err == nil && TreeOf(m, name) != nil
}

// leaf returns the leaf of t called name, or nil.
func (f *finder) leaf(t *view.Tree, name string) *storedLeaf {
	l, err := t.Leaf(name)
	if err != nil {
		return nil
	}
	return &storedLeaf{l, l.Metadata(), name, f.path}
}

// metrics returns the metrics of a step as a document. It returns nil if there are none.
func (f *finder) metrics(ctx context.Context) (Content, error) {
	m, err := f.ck.CheckpointablesMetadata(ctx)
	if err != nil || m.Metrics == nil {
		return nil, err
	}
	text, err := layout.EncodeJSON(finite(m.Metrics))
	return &document{f.path, layout.MetricsName, KindJSON, text}, err
}

// document returns the checkpointable called name as a document.
func (f *finder) document(ctx context.Context, name string) (Content, error) {
	m, err := Look(ctx, f.ck, name)
	if err != nil {
		return nil, err
	}
	if t := TreeOf(m, name); t != nil {
		return nil, f.notLeaf(name, name+"/", leafNames(t))
	}
	kind := f.in.KindOf(ctx, m, name)
	if kind == KindStateful {
		if d, err := readState(ctx, f.ck, f.path, name); d != nil || err != nil {
			return d, err
		}
	}
	if kind != KindJSON {
		return nil, fmt.Errorf("%s: %s is of kind %s, which cannot be printed", f.path, partTitle(name), kind)
	}
	return readDocument(ctx, f.ck, f.path, name)
}

func leafNames(m *view.TreeMetadata) []string {
	names := make([]string, len(m.Leaves))
	for i := range m.Leaves {
		names[i] = m.Leaves[i].Path.String()
	}
	return names
}

// notLeaf returns the error for a path with leaves below it. The hint has the names of
// such leaves with prefix, as an address has them.
func (f *finder) notLeaf(path, prefix string, leaves []string) error {
	err := fmt.Errorf("%s: %s is not a leaf: it holds %s", f.path, fault.Shown(path), Plural(len(leaves), "leaf"))
	return withNames(err, LeavesBelow, prefixed(prefix, leaves[:min(3, len(leaves))])...)
}

// noLeaf returns the error for a leaf that the checkpointable called name does not have.
// The hint has leaves that may have been meant.
func (f *finder) noLeaf(ctx context.Context, t *view.Tree, name, prefix, leaf string) error {
	names := leafNames(t.Metadata())
	var under []string
	for _, n := range names {
		if strings.HasPrefix(n, leaf+keySeparator) {
			under = append(under, n)
		}
	}
	if len(under) > 0 {
		return f.notLeaf(prefix+leaf, prefix, under)
	}
	searched, others := f.others(ctx, name, leaf)
	where := ""
	if searched != "" {
		where = " in checkpointable " + fault.Shown(searched)
	}
	err := error(noLeafError{fmt.Errorf("%s: no leaf %s%s", f.path, fault.Shown(leaf), where)})
	if len(others) > 0 {
		return withNames(err, OtherHasLeaf, others[0])
	}
	near := endingWith(leaf, names)
	if len(near) == 0 && prefix == "" {
		if other := f.elsewhere(ctx, leaf); other != "" {
			return withNames(err, SimilarLeaves, other)
		}
	}
	if len(near) == 0 {
		near = Closest(leaf, names, 3)
	}
	if len(near) > 0 {
		return withNames(err, SimilarLeaves, prefixed(prefix, near)...)
	}
	return withNames(err, AnyLeaf)
}

// elsewhere returns the leaf of another part that may have been meant by leaf, or "": the
// name of the part has a dot after it instead of a slash, or is spelled wrong.
func (f *finder) elsewhere(ctx context.Context, leaf string) string {
	part, rest, ok := strings.Cut(leaf, keySeparator)
	if ok && slices.Contains(f.ck.Names(), part) && f.hasLeaf(ctx, part, rest) {
		return part + "/" + rest
	}
	part, rest, ok = strings.Cut(leaf, "/")
	if !ok || f.part != "" {
		return ""
	}
	near := Closest(part, f.ck.Names(), 1)
	if len(near) > 0 && f.hasLeaf(ctx, near[0], rest) {
		return near[0] + "/" + rest
	}
	return ""
}

// hasLeaf reports whether a part has a leaf.
func (f *finder) hasLeaf(ctx context.Context, part, leaf string) bool {
	t, err := f.in.OpenTree(ctx, f.ck, f.path, part, f.options...)
	return err == nil && f.leaf(t, leaf) != nil
}

// endingWith returns up to three of names whose last keys are leaf.
func endingWith(leaf string, names []string) (near []string) {
	for _, n := range names {
		if leaf != "" && strings.HasSuffix(n, keySeparator+leaf) && len(near) < 3 {
			near = append(near, n)
		}
	}
	return near
}

// others returns the name of the pytree that was searched under name, and the names of
// the other pytrees that have the leaf.
func (f *finder) others(ctx context.Context, name, leaf string) (searched string, others []string) {
	for _, n := range f.ck.Names() {
		m, err := f.ck.Metadata(ctx, orbax.Name(n))
		if err != nil || m.Tree == nil {
			continue // the result is used for a hint only
		}
		if name == "" && (searched == "" || n == layout.DefaultName) {
			searched = n
		}
		if slices.Contains(leafNames(m.Tree), leaf) {
			others = append(others, n)
		}
	}
	if name != "" {
		searched = name
	}
	return searched, others
}

// prefixed adds prefix to each of names, as an address of a leaf has it.
func prefixed(prefix string, names []string) []string {
	full := make([]string, len(names))
	for i, n := range names {
		full[i] = prefix + n
	}
	return full
}

// ErrNoPytree: a checkpointable is of another kind.
var ErrNoPytree = errors.New("no pytree")

// OpenTree opens the pytree called name in the checkpoint ck, which is at path. "" is the
// pytree that Orbax loads.
func (in Inspector) OpenTree(ctx context.Context, ck *orbax.Checkpoint, path, name string, options ...orbax.LoadOption) (*view.Tree, error) {
	t, err := ck.Tree(ctx, append([]orbax.LoadOption{orbax.Name(name)}, options...)...)
	if err == nil {
		return t, nil
	}
	if name == "" && len(ck.Names()) > 0 {
		return nil, err
	}
	m, lookErr := Look(ctx, ck, name)
	switch {
	case lookErr != nil && name != "":
		return nil, lookErr
	case lookErr != nil || TreeOf(m, name) != nil:
		return nil, err
	}
	kind := in.KindOf(ctx, m, name)
	err = fmt.Errorf("%s: %s is %w: its kind is %s", path, partTitle(name), ErrNoPytree, kind)
	if kind == KindJSON {
		return nil, hintError{err, Hint{Kind: PrintsDocument, Checkpoint: path, Names: []string{name}}}
	}
	return nil, err
}

// partTitle returns the name of a checkpointable for messages.
func partTitle(name string) string {
	if name == "" {
		return "it"
	}
	return "checkpointable " + fault.Shown(name)
}
