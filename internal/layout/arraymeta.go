package layout

import (
	"fmt"

	"github.com/go-orbax/orbax/internal/fault"
)

// ArrayMetadata is a jax.Array's entry in array_metadatas/process_<i>.
type ArrayMetadata struct {
	Name       string
	WriteShape []int
	ChunkShape []int
	PRNGImpl   string // of a typed PRNG key, or ""
}

type arrayDoc struct {
	Arrays []arrayEntry `json:"array_metadatas"`
}

type arrayEntry struct {
	Array struct {
		Name       string    `json:"param_name"`
		WriteShape []int     `json:"write_shape"`
		ChunkShape []int     `json:"chunk_shape"`
		Ext        *arrayExt `json:"ext_metadata"`
	} `json:"array_metadata"`
}

type arrayExt struct {
	PRNGImpl string `json:"random_key_impl,omitempty"`
}

// ArraysDocument returns array_metadatas/process_0.
func ArraysDocument(arrays []ArrayMetadata) ([]byte, error) {
	d := arrayDoc{Arrays: make([]arrayEntry, len(arrays))}
	for i, a := range arrays {
		e := &d.Arrays[i].Array
		e.Name, e.WriteShape, e.ChunkShape = a.Name, nonNil(a.WriteShape), nonNil(a.ChunkShape)
		if a.PRNGImpl != "" {
			e.Ext = &arrayExt{a.PRNGImpl}
		}
	}
	return EncodeJSON(d)
}

// nonNil keeps the shape of a scalar from becoming null.
func nonNil(shape []int) []int {
	if shape == nil {
		return []int{}
	}
	return shape
}

// ParseArrays parses array_metadatas/process_<i>, keyed by parameter name.
func ParseArrays(doc []byte) (map[string]ArrayMetadata, error) {
	var d arrayDoc
	if err := unmarshal(doc, &d); err != nil {
		return nil, fmt.Errorf("%w: array_metadatas: %v", fault.ErrCorrupt, err)
	}
	m := make(map[string]ArrayMetadata, len(d.Arrays))
	for _, e := range d.Arrays {
		a := ArrayMetadata{Name: e.Array.Name, WriteShape: e.Array.WriteShape, ChunkShape: e.Array.ChunkShape}
		if e.Array.Ext != nil {
			a.PRNGImpl = e.Array.Ext.PRNGImpl
		}
		m[a.Name] = a
	}
	return m, nil
}
