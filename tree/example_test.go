package tree_test

import (
	"fmt"

	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/tree"
)

func ExampleFlatten() {
	type Adam struct {
		_     struct{} `orbax:",seq"` // optax saves a tuple
		Count int32
		Mu    map[string][]float32
	}
	state := struct {
		Params map[string]*array.Array `orbax:"params"`
		Opt    Adam                    `orbax:"opt_state"`
		Done   *bool                   `orbax:"done"`
	}{
		Params: map[string]*array.Array{"w": array.Of([]float32{1, 2, 3, 4}, 2, 2)},
		Opt:    Adam{Count: 7, Mu: map[string][]float32{"w": {0, 0}}},
	}
	leaves, err := tree.Flatten(&state)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, l := range leaves {
		fmt.Println(l.Path, "=", l.Spec())
	}
	// Output:
	// done = None
	// opt_state.0 = a scalar int32
	// opt_state.1.w = an array float32[2]
	// params.w = an array float32[2 2]
}

func ExampleFlatten_errors() {
	_, err := tree.Flatten(map[string]any{
		"callback": func() {},
		"a":        map[string]any{"b": 1},
		"a.b":      2,
	})
	fmt.Println(err)
	// Output:
	// leaf a.b: key collision: the keys ["a" "b"] and ["a.b"] have the same name
	// leaf callback: unsupported leaf type: func()
}

func ExampleBuild() {
	v, err := tree.Build([]tree.Leaf{
		{Path: tree.Path{{Name: "step"}}, Value: int64(3)},
		{Path: tree.Path{{Name: "opt"}, {Name: "0", Seq: true}}, Value: "adam"},
		{Path: tree.Path{{Name: "opt"}, {Name: "1", Seq: true}}, Value: tree.None},
	})
	fmt.Println(v, err)
	// Output: map[opt:[adam <nil>] step:3] <nil>
}

func ExampleBind() {
	var state struct {
		Step    int
		Weights []float32
	}
	slots, finish, err := tree.Bind(&state, []tree.Spec{
		{Path: tree.Path{{Name: "Step"}}, Kind: tree.KindScalar, DType: array.Int64},
		{Path: tree.Path{{Name: "Weights"}}, Kind: tree.KindArray, DType: array.Float32, Shape: []int{2}},
	}, tree.BindOptions{})
	if err != nil {
		fmt.Println(err)
		return
	}
	loaded := []any{int64(7), array.Of([]float32{0.5, 1.5})} // what the reader got
	for i, s := range slots {
		if err := s.Set(loaded[i]); err != nil {
			fmt.Println(err)
			return
		}
	}
	if err := finish(); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(state.Step, state.Weights)
	// Output: 7 [0.5 1.5]
}

func ExampleBind_mismatches() {
	var state struct {
		Step    int
		Weights [3]float32
	}
	_, _, err := tree.Bind(&state, []tree.Spec{
		{Path: tree.Path{{Name: "Weights"}}, Kind: tree.KindArray, DType: array.Float32, Shape: []int{2}},
		{Path: tree.Path{{Name: "epoch"}}, Kind: tree.KindScalar, DType: array.Int64},
	}, tree.BindOptions{})
	fmt.Println(err)
	// Output:
	// leaf Step: structure mismatch: missing key: the checkpoint has nothing here, the target is int; transform.Default gives it a value
	// leaf Weights: shape mismatch: the checkpoint has an array float32[2], the target has shape [3]; orbax.PadOrTruncate() accepts that
	// leaf epoch: structure mismatch: unexpected key: the checkpoint has a scalar int64, the target nothing; orbax.Partial() leaves it out
}

func ExampleBindAbstract() {
	specs := []tree.Spec{
		{Path: tree.Path{{Name: "w"}}, Kind: tree.KindArray, DType: array.Float32, Shape: []int{2}},
		{Path: tree.Path{{Name: "step"}}, Kind: tree.KindScalar, DType: array.Int64},
		{Path: tree.Path{{Name: "opt"}, {Name: "mu"}}, Kind: tree.KindArray, DType: array.Float32, Shape: []int{2}},
	}
	slots, build, err := tree.BindAbstract(map[string]any{
		"w":    array.ShapeDtypeStruct{Shape: []int{2}, DType: array.BFloat16},
		"step": 0,
		"opt":  tree.Placeholder,
	}, specs, tree.BindOptions{Cast: true})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(slots[0].Want, slots[1].Want, slots[2].Skip) // what is to be read
	read := []any{array.Of([]array.BF16{0x3f80, 0x4000}), int64(7), nil}
	for i, s := range slots {
		if s.Set == nil {
			continue
		}
		if err := s.Set(read[i]); err != nil {
			fmt.Println(err)
			return
		}
	}
	fmt.Println(build())
	// Output:
	// bfloat16[2] int64[] true
	// map[opt:... step:7 w:bfloat16[2]] <nil>
}

func ExampleParsePattern() {
	p, err := tree.ParsePattern("{params,opt.*}.**.kernel")
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, path := range []tree.Path{
		{{Name: "params"}, {Name: "dense"}, {Name: "kernel"}},
		{{Name: "opt"}, {Name: "0", Seq: true}, {Name: "kernel"}},
		{{Name: "params"}, {Name: "dense"}, {Name: "bias"}},
	} {
		fmt.Println(path, p.Match(path))
	}
	// Output:
	// params.dense.kernel true
	// opt.0.kernel true
	// params.dense.bias false
}
