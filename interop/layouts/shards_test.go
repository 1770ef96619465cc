package layouts

import (
	"testing"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/coord"
	"github.com/go-orbax/orbax/multihost"
	"github.com/go-orbax/orbax/sharding"
	"github.com/go-orbax/orbax/tree"
)

// checkShards loads each array in shards, as three processes do: into new shards, and
// into these again after they have been overwritten.
func checkShards(t *testing.T, s *stored) {
	r := s.random()
	abstract, err := s.metadata(t).Abstract()
	if err != nil {
		t.Fatal(err)
	}
	var wanted []tree.Leaf
	whole := map[string]*array.Array{}
	for _, l := range s.values(t) {
		want := at(abstract, l.Path)
		if a := elements(l.Value); a != nil {
			mesh := sharding.Mesh{AxisNames: []string{"x", "y"}, Shape: []int{2, 3}}
			spec := make(sharding.PartitionSpec, a.Rank())
			for _, name := range mesh.AxisNames {
				if k := r.IntN(a.Rank()+1) - 1; k >= 0 {
					spec[k] = append(spec[k], name)
				}
			}
			want = array.ShapeDtypeStruct{DType: a.DType(), Shape: a.Shape(), Sharding: sharding.Named(mesh, spec)}
			whole[key(l.Path)] = a
		}
		wanted = append(wanted, tree.Leaf{Path: l.Path, Value: want})
	}
	owners := r.Perm(6) // two devices for each process
	for _, group := range coord.InProcess(3) {
		together := multihost.Together{Group: group, Owner: func(device int) int { return owners[device] / 2 }}
		v, err := orbax.LoadAbstract(t.Context(), s.path, build(t, wanted), s.options(together)...)
		if err != nil {
			t.Fatal(err)
		}
		compareShards(t, v, wanted, whole)
		for _, l := range wanted {
			if a, ok := at(v, l.Path).(*array.Sharded); ok {
				for _, shard := range a.Shards() {
					clear(shard.Array.Bytes())
				}
			}
		}
		if err := orbax.LoadInto(t.Context(), s.path, &v, s.options()...); err != nil {
			t.Fatal(err)
		}
		compareShards(t, v, wanted, whole)
	}
}

// compareShards compares the shards in v with the same boxes of whole arrays.
func compareShards(t *testing.T, v any, leaves []tree.Leaf, whole map[string]*array.Array) {
	t.Helper()
	for _, l := range leaves {
		want := whole[key(l.Path)]
		if want == nil {
			continue
		}
		a, ok := at(v, l.Path).(*array.Sharded)
		if !ok || a.PRNGImpl() != want.PRNGImpl() {
			t.Errorf("%v is %v, want shards of %v", l.Path, at(v, l.Path), want)
			continue
		}
		for _, shard := range a.Shards() {
			box, err := array.New(want.DType(), shard.Array.Shape(), nil)
			if err == nil {
				err = want.ReadRegion(t.Context(), box.Bytes(), shard.Offset, shard.Array.Shape())
			}
			if err != nil || !box.Equal(shard.Array) {
				t.Errorf("%v: the shard %v at %v differs: %v", l.Path, shard.Array, shard.Offset, err)
			}
		}
	}
}
