package zarr

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/internal/fault"
)

// Parse parses a metadata document: "zarr.json" for format 3, ".zarray" for format 2. It
// is as strict as TensorStore, so Orbax can load every array whose document Parse
// accepts. A malformed document is an error that matches orbax.ErrCorrupt. A document
// that asks for a feature that is not implemented, such as an unknown codec, is an error
// that matches orbax.ErrUnsupported.
func Parse(format int, doc []byte) (*Metadata, error) {
	if format != 2 && format != 3 {
		return nil, fmt.Errorf("%w: zarr format %d, want 2 or 3", fault.ErrUnsupported, format)
	}
	o, err := parseObject(doc)
	if err != nil {
		return nil, err
	}
	if err := o.intIn("zarr_format", format, format); err != nil {
		return nil, err
	}
	m := &Metadata{Format: format, doc: slices.Clone(doc)}
	if format == 2 {
		err = m.parse2(o)
	} else {
		err = m.parse3(o)
	}
	if err != nil {
		return nil, err
	}
	return m, nil
}

// parse2 parses a .zarray. It ignores unknown members.
func (m *Metadata) parse2(o object) (err error) {
	if m.Shape, err = o.ints("shape"); err != nil {
		return err
	}
	if m.ChunkShape, err = o.ints("chunks"); err != nil {
		return err
	}
	name, err := o.get("dtype")
	if err != nil {
		return err
	}
	s, ok := name.(string)
	if !ok {
		return unsupported("dtype %s", show(name))
	}
	d, big, err := parseName2(s)
	if err != nil {
		return err
	}
	m.DType = d
	size, err := m.check()
	if err != nil {
		return err
	}

	fill, err := o.get("fill_value")
	if err != nil {
		return err
	}
	if m.fill, err = parseFill2(fill, d, big); err != nil {
		return err
	}

	filters, err := o.get("filters")
	if err != nil {
		return err
	}
	if l, ok := filters.([]any); ok && len(l) > 0 {
		return unsupported("filter %s", nameOf(l[0], "id"))
	} else if !ok && filters != nil {
		return unsupported("filters %s", show(filters))
	}

	m.keys.separator = "."
	if v, ok := o["dimension_separator"]; ok {
		if v != "." && v != "/" {
			return corrupt(`"dimension_separator" is %s, not "." or "/"`, show(v))
		}
		m.keys.separator = v.(string)
	}

	order, err := o.str("order")
	if err != nil {
		return err
	}
	m.chain = &chain{shape: m.ChunkShape, item: d.Size(), size: size}
	switch order {
	case "C":
	case "F":
		if len(m.Shape) > 1 {
			m.chain.perm = reversed(len(m.Shape))
		}
	default:
		return corrupt(`"order" is %q, not "C" or "F"`, order)
	}
	m.chain.labels = append(m.chain.labels, order)
	if big {
		m.chain.swap = swapUnit(d)
		m.chain.labels = append(m.chain.labels, "big-endian")
	}
	return m.parseCompressor(o)
}

func reversed(rank int) []int {
	perm := make([]int, rank)
	for i := range perm {
		perm[i] = rank - 1 - i
	}
	return perm
}

// parseCompressor parses the one codec of format 2.
func (m *Metadata) parseCompressor(o object) error {
	v, err := o.get("compressor")
	if err != nil {
		return err
	}
	if v == nil {
		return nil
	}
	c, ok := v.(map[string]any)
	if !ok {
		return corrupt(`"compressor" is %s, not an object`, show(v))
	}
	id, err := object(c).str("id")
	if err != nil {
		return err
	}
	f, err := parseCompression(id, object(c), false)
	if err != nil {
		return err
	}
	if f == nil {
		return unsupported("compressor %q", id)
	}
	m.chain.filters = []filter{f}
	m.chain.labels = append(m.chain.labels, id)
	m.level, _ = integer(c["level"])
	return nil
}

// parseCompression checks the parameters of a compressor, which decoding does not need.
// It returns the filter, or nil for an unknown name. Format 2 has defaults for the
// parameters and keeps the name among them, as "id". Format 3 requires the parameters;
// strict is for format 3.
func parseCompression(name string, conf object, strict bool) (filter, error) {
	level := func(lo, hi int, others ...string) error {
		if !strict {
			others = append(others, "id")
		}
		if err := conf.only(name, append(others, "level")...); err != nil {
			return err
		}
		if _, ok := conf["level"]; !ok && !strict {
			return nil
		}
		return conf.intIn("level", lo, hi)
	}
	switch {
	case name == "zstd" && strict:
		if v, ok := conf["checksum"]; ok {
			if _, ok := v.(bool); !ok {
				return nil, corrupt(`"checksum" is %s, not a boolean`, show(v))
			}
		}
		return zstdFilter{}, level(minZstdLevel, maxZstdLevel, "checksum")
	case name == "zstd":
		return zstdFilter{}, level(minZstdLevel, maxZstdLevel)
	case name == "gzip":
		return gzipFilter{}, level(0, 9)
	case name == "zlib" && !strict:
		return zlibFilter{}, level(0, 9)
	case name == "bz2" && !strict:
		return bzip2Filter{}, level(1, 9)
	case name == "blosc":
		return bloscFilter{}, checkBlosc(conf, strict)
	}
	return nil, nil
}

// IsGroup reports whether doc, a "zarr.json", is the document of a group and not of an
// array. [Parse] returns an error for it.
func IsGroup(doc []byte) bool {
	if !bytes.Contains(doc, []byte("group")) && !bytes.Contains(doc, []byte{'\\'}) {
		return false // neither the word nor an escape that could spell it occurs
	}
	o, err := parseObject(doc)
	return err == nil && o["node_type"] == "group"
}

// parse3 parses a zarr.json.
func (m *Metadata) parse3(o object) (err error) {
	if node, err := o.str("node_type"); err != nil {
		return err
	} else if node != "array" {
		return unsupported("node_type %q, want \"array\"", node)
	}
	if m.Shape, err = o.ints("shape"); err != nil {
		return err
	}
	if err := m.parseGrid(o); err != nil {
		return err
	}
	if err := m.parseKeys(o); err != nil {
		return err
	}
	name, err := o.get("data_type")
	if err != nil {
		return err
	}
	s, ok := name.(string)
	if !ok {
		return unsupported("data_type %s", nameOf(name, "name"))
	}
	if m.DType, err = array.ParseDType(s); err != nil {
		return unsupported("data_type %q", s)
	}
	if _, err := m.check(); err != nil {
		return err
	}
	fill, err := o.get("fill_value")
	if err != nil {
		return err
	}
	if m.fill, err = parseFill3(fill, m.DType); err != nil {
		return err
	}
	codecs, err := o.list("codecs")
	if err != nil {
		return err
	}
	m.chain, err = parseChain(codecs, m.ChunkShape, m.DType.Size(), swapUnit(m.DType), 0)
	if err != nil {
		return err
	}
	return checkOptional(o, len(m.Shape))
}

func (m *Metadata) parseGrid(o object) error {
	grid, err := o.obj("chunk_grid")
	if err != nil {
		return err
	}
	name, err := grid.str("name")
	if err != nil {
		return err
	}
	if name != "regular" {
		return unsupported("chunk_grid %q", name)
	}
	if err := grid.only("chunk_grid", "name", "configuration"); err != nil {
		return err
	}
	conf, err := grid.obj("configuration")
	if err != nil {
		return err
	}
	if err := conf.only("chunk_grid", "chunk_shape"); err != nil {
		return err
	}
	m.ChunkShape, err = conf.ints("chunk_shape")
	return err
}

func (m *Metadata) parseKeys(o object) error {
	enc, err := o.obj("chunk_key_encoding")
	if err != nil {
		return err
	}
	name, err := enc.str("name")
	if err != nil {
		return err
	}
	switch name {
	case "default":
		m.keys = keyEncoding{prefix: "c", separator: "/"}
	case "v2":
		m.keys = keyEncoding{separator: "."}
	default:
		return unsupported("chunk_key_encoding %q", name)
	}
	if err := enc.only("chunk_key_encoding", "name", "configuration"); err != nil {
		return err
	}
	if _, ok := enc["configuration"]; !ok {
		return nil
	}
	conf, err := enc.obj("configuration")
	if err != nil {
		return err
	}
	if err := conf.only("chunk_key_encoding", "separator"); err != nil {
		return err
	}
	if v, ok := conf["separator"]; ok {
		if v != "." && v != "/" {
			return corrupt(`"separator" is %s, not "." or "/"`, show(v))
		}
		m.keys.separator = v.(string)
	}
	return nil
}

// checkOptional checks the members that do not influence the data. It accepts unknown
// members that say that a reader may ignore them.
func checkOptional(o object, rank int) error {
	for name, v := range o {
		switch name {
		case "zarr_format", "node_type", "shape", "chunk_grid", "chunk_key_encoding", "data_type", "fill_value", "codecs":
		case "attributes":
			if _, ok := v.(map[string]any); !ok {
				return corrupt(`"attributes" is %s, not an object`, show(v))
			}
		case "dimension_names":
			l, ok := v.([]any)
			if !ok || len(l) != rank {
				return corrupt(`"dimension_names" is %s, not %d names`, show(v), rank)
			}
			for _, n := range l {
				if _, ok := n.(string); n != nil && !ok {
					return corrupt(`"dimension_names" holds %s`, show(n))
				}
			}
		case "storage_transformers":
			if l, ok := v.([]any); !ok || len(l) > 0 {
				return unsupported("storage_transformers %s", show(v))
			}
		default:
			if ext, ok := v.(map[string]any); !ok || ext["must_understand"] != false {
				return unsupported("unknown member %q", name)
			}
		}
	}
	return nil
}
