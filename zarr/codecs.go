package zarr

import (
	"fmt"
	"slices"
)

const (
	maxCodecs = 16 // in one chain; nested shards have their own chains
	maxDepth  = 8  // of shards within shards
)

// parseChain parses the codecs of format 3 for chunks of the given shape. An element has
// item bytes, and the byte order applies to units of unit bytes.
func parseChain(codecs []any, shape []int, item, unit, depth int) (*chain, error) {
	if len(codecs) > maxCodecs {
		return nil, unsupported("%d codecs, at most %d", len(codecs), maxCodecs)
	}
	size, ok := product(shape, item, maxChunkBytes)
	if !ok {
		return nil, unsupported("chunk of shape %v is too large", shape)
	}
	c := &chain{shape: shape, item: item, size: size}
	var perm []int
	stored := shape // shape after the transposes so far
	packed := false // the codec that makes bytes has occurred
	for _, v := range codecs {
		name, conf, err := codecEntry(v)
		if err != nil {
			return nil, err
		}
		label := name
		var f filter
		switch name {
		case "transpose":
			if packed {
				return nil, corrupt("codec %q after the array became bytes", name)
			}
			order, err := parseOrder(conf, len(shape))
			if err != nil {
				return nil, err
			}
			if perm == nil {
				perm = identity(len(shape))
			}
			perm, stored = pick(perm, order), pick(stored, order)
			label = fmt.Sprintf("transpose%v", order)
		case "bytes":
			if packed {
				return nil, corrupt("codec %q after the array became bytes", name)
			}
			packed = true
			endian, err := parseEndian(conf, unit)
			if err != nil {
				return nil, err
			}
			if endian == "big" {
				c.swap = unit
			}
			if endian != "" {
				label = fmt.Sprintf("bytes(%s)", endian)
			}
		case "sharding_indexed":
			if packed {
				return nil, corrupt("codec %q after the array became bytes", name)
			}
			packed = true
			if c.shard, err = parseShard(conf, stored, item, unit, depth); err != nil {
				return nil, err
			}
			label = fmt.Sprintf("%s%v(%s)", name, c.shard.inner.shape, c.shard.inner)
		case "crc32c":
			f, err = crcFilter{}, conf.only(name)
		default:
			f, err = parseCompression(name, conf, true)
			if f == nil {
				return nil, unsupported("codec %q", name)
			}
		}
		if err != nil {
			return nil, err
		}
		if f != nil {
			if !packed {
				return nil, corrupt("codec %q before one that makes bytes of the array", name)
			}
			if c.shard != nil {
				return nil, unsupported("codec %q around a shard, of which TensorStore could not read parts", name)
			}
			c.filters = append(c.filters, f)
		}
		c.labels = append(c.labels, label)
	}
	if !packed {
		return nil, corrupt("no codec makes bytes of the array")
	}
	if perm != nil && !slices.Equal(perm, identity(len(perm))) {
		c.perm = perm
	}
	return c, nil
}

func codecEntry(v any) (name string, conf object, err error) {
	entry, ok := v.(map[string]any)
	if !ok {
		return "", nil, corrupt("codec %s is not an object", show(v))
	}
	o := object(entry)
	if name, err = o.str("name"); err != nil {
		return "", nil, err
	}
	if err := o.only("codec", "name", "configuration"); err != nil {
		return "", nil, err
	}
	if _, ok := o["configuration"]; !ok {
		return name, object{}, nil
	}
	conf, err = o.obj("configuration")
	return name, conf, err
}

// parseOrder parses the order of a transpose: axis i of the result is axis order[i] of
// the argument. "C" and "F" are an older spelling.
func parseOrder(conf object, rank int) ([]int, error) {
	if err := conf.only("transpose", "order"); err != nil {
		return nil, err
	}
	switch conf["order"] {
	case "C":
		return identity(rank), nil
	case "F":
		return reversed(rank), nil
	}
	order, err := conf.ints("order")
	if err != nil {
		return nil, err
	}
	if !slices.Equal(slices.Sorted(slices.Values(order)), identity(rank)) {
		return nil, corrupt("transpose order %v is not a permutation of %d axes", order, rank)
	}
	return order, nil
}

func identity(rank int) []int {
	perm := make([]int, rank)
	for i := range perm {
		perm[i] = i
	}
	return perm
}

// pick returns s[order[0]], s[order[1]] and so on.
func pick(s, order []int) []int {
	out := make([]int, len(order))
	for i, x := range order {
		out[i] = s[x]
	}
	return out
}

// parseEndian parses the byte order. Only one-byte types may leave it out.
func parseEndian(conf object, unit int) (string, error) {
	if err := conf.only("bytes", "endian"); err != nil {
		return "", err
	}
	if _, ok := conf["endian"]; !ok && unit == 1 {
		return "", nil
	}
	endian, err := conf.str("endian")
	if err != nil {
		return "", err
	}
	if endian != "little" && endian != "big" {
		return "", corrupt(`"endian" is %q, not "little" or "big"`, endian)
	}
	return endian, nil
}

// parseShard parses the configuration of sharding_indexed for chunks of the given shape.
func parseShard(conf object, shape []int, item, unit, depth int) (*shard, error) {
	if depth >= maxDepth {
		return nil, unsupported("shards nested more than %d deep", maxDepth)
	}
	if err := conf.only("sharding_indexed", "chunk_shape", "codecs", "index_codecs", "index_location"); err != nil {
		return nil, err
	}
	innerShape, err := conf.ints("chunk_shape")
	if err != nil {
		return nil, err
	}
	if len(innerShape) != len(shape) {
		return nil, corrupt("inner chunk shape %v for chunk shape %v", innerShape, shape)
	}
	s := &shard{shape: shape, item: item, grid: make([]int, len(shape))}
	for i, d := range innerShape {
		if d < 1 || shape[i]%d != 0 {
			return nil, corrupt("inner chunk shape %v does not divide chunk shape %v", innerShape, shape)
		}
		s.grid[i] = shape[i] / d
	}
	codecs, err := conf.list("codecs")
	if err != nil {
		return nil, err
	}
	if s.inner, err = parseChain(codecs, innerShape, item, unit, depth+1); err != nil {
		return nil, err
	}

	indexCodecs, err := conf.list("index_codecs")
	if err != nil {
		return nil, err
	}
	indexShape := append(slices.Clone(s.grid), 2)
	if s.index, err = parseChain(indexCodecs, indexShape, 8, 8, maxDepth); err != nil {
		return nil, err
	}
	var fixed bool
	if s.indexSize, fixed = s.index.encodedSize(); !fixed {
		return nil, unsupported("index_codecs %s: only codecs of fixed size can be found in a shard", s.index)
	}
	if _, ok := conf["index_location"]; ok {
		location, err := conf.str("index_location")
		if err != nil {
			return nil, err
		}
		if location != "start" && location != "end" {
			return nil, corrupt(`"index_location" is %q, not "start" or "end"`, location)
		}
		s.start = location == "start"
	}
	return s, nil
}
