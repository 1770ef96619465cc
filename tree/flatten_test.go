package tree_test

import (
	"errors"
	"fmt"
	"math"
	"math/big"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/tree"
)

// show spells leaves as "path=type:value", positions in brackets.
func show(leaves []tree.Leaf) string {
	var lines []string
	for _, l := range leaves {
		var path strings.Builder
		for _, k := range l.Path {
			if k.Seq {
				fmt.Fprintf(&path, "[%s]", k.Name)
			} else {
				fmt.Fprintf(&path, "/%s", k.Name)
			}
		}
		switch v := l.Value.(type) {
		case *array.Array:
			lines = append(lines, fmt.Sprintf("%s=%v%v:%x", &path, v.DType(), v.Shape(), v.Bytes()))
		case tree.Empty:
			lines = append(lines, fmt.Sprintf("%s=%v", &path, v))
		default:
			lines = append(lines, fmt.Sprintf("%s=%T:%v", &path, v, v))
		}
	}
	return strings.Join(lines, " ")
}

type (
	myInt    int16
	myString string
	myByte   byte
	myFloats []float32

	base struct {
		Lr   float32 `orbax:"lr"`
		note string
	}
	Base struct{ Mu, nu int8 }

	trainState struct {
		Step   int
		Params map[string]*array.Array `orbax:"params"`
		Skip   chan int                `orbax:"-"`
		Dash   bool                    `orbax:"-,"`
		Opt    int                     `orbax:"opt,omitempty"`
		hidden int
		base
		*Base
	}

	pair struct {
		_      struct{} `orbax:",seq"`
		Second int
		First  string
		Base
		Left int `orbax:"-"`
	}
	unit    struct{}
	seqUnit struct {
		_ struct{} `orbax:",seq"`
	}
	allOmit struct {
		X int `orbax:",omitempty"`
	}
	shadowed struct {
		Base
		Mu string
	}
	tagWins struct {
		Base
		Other struct{ Mu int } `orbax:"-"`
		twin
	}
	twin struct {
		X int8 `orbax:"Mu"`
	}
)

func TestFlatten(t *testing.T) {
	f32 := []float32{1, 2}
	n := 7
	pn := &n
	big64, _ := new(big.Int).SetString("18446744073709551615", 10)
	tests := []struct {
		name string
		in   any
		want string
	}{
		{"nil", nil, "=None"},
		{"bare", 3.5, "=float64:3.5"},
		{"empty map", map[string]any{}, "=Dict"},
		{"nil map", map[string]any(nil), "=None"},
		{"map", map[string]any{"b": 1, "a": true, "B": "x"}, "/B=string:x /a=bool:true /b=int:1"},
		{"code points", map[string]int{"é": 1, "z": 2, "\U0001F600": 3, "\uffee": 4}, "/z=int:2 /é=int:1 /\uffee=int:4 /\U0001F600=int:3"},
		{"named keys", map[myString]int8{"k": 1}, "/k=int8:1"},
		{"int keys", map[int]any{10: 1, -2: 2, 9: 3}, "/-2=int:2 /10=int:1 /9=int:3"},
		{"uint keys", map[uint8]any{200: 1}, "/200=int:1"},
		{"scalars", []any{int8(1), int16(2), int32(3), int64(4), uint(5), uint8(6), uint16(7), uint32(8), uint64(9), uintptr(10), float32(1), 2.0, complex64(1), 2i},
			"[0]=int8:1 [1]=int16:2 [2]=int32:3 [3]=int64:4 [4]=uint:5 [5]=uint8:6 [6]=uint16:7 [7]=uint32:8 [8]=uint64:9 [9]=uint64:10 [10]=float32:1 [11]=float64:2 [12]=complex64:(1+0i) [13]=complex128:(0+2i)"},
		{"named scalars", []any{myInt(1), myString("s"), time.Second}, "[0]=int16:1 [1]=string:s [2]=int64:1000000000"},
		{"special scalar", array.BF16(0x3f80), "=bfloat16[]:803f"},
		{"numbers", f32, "=float32[2]:0000803f00000040"},
		{"named numbers", myFloats{1}, "=float32[1]:0000803f"},
		{"named elements", []myInt{1}, "=int16[1]:0100"},
		{"ints", []int{-1}, "=int64[1]:ffffffffffffffff"},
		{"uints", []uint{1}, "=uint64[1]:0100000000000000"},
		{"bools", []bool{true, false}, "=bool[2]:0100"},
		{"special elements", []array.F8E5M2{1}, "=float8_e5m2[1]:01"},
		{"no numbers", []float32{}, "=float32[0]:"},
		{"nil numbers", []float32(nil), "=None"},
		{"bytes", []byte("ab"), "=[]uint8:[97 98]"},
		{"no bytes", []byte{}, "=[]uint8:[]"},
		{"nil bytes", []byte(nil), "=None"},
		{"named bytes", []myByte{1}, "=uint8[1]:01"},
		{"go array", [2]int8{1, 2}, "=int8[2]:0102"},
		{"go array of bytes", [2]byte{1, 2}, "=uint8[2]:0102"},
		{"go array of strings", [2]string{"a", "b"}, "[0]=string:a [1]=string:b"},
		{"empty go arrays", []any{[0]int8{}, [0]string{}}, "[0]=int8[0]: [1]=List"},
		{"lists", map[string]any{"s": []string{"x"}, "n": [][]int8{{1}, {}, nil}, "e": []any{}, "nil": []any(nil)},
			"/e=List /n[0]=int8[1]:01 /n[1]=int8[0]: /n[2]=None /nil=None /s[0]=string:x"},
		{"tuples", tree.Tuple{1, tree.Tuple{}, tree.Tuple(nil)}, "[0]=int:1 [1]=Tuple [2]=None"},
		{"long list", make([]string, 11), "[0]=string: [1]=string: [2]=string: [3]=string: [4]=string: [5]=string: [6]=string: [7]=string: [8]=string: [9]=string: [10]=string:"},
		{"pointers", []any{&n, &pn, (*int)(nil), &f32}, "[0]=int:7 [1]=int:7 [2]=None [3]=float32[2]:0000803f00000040"},
		{"shared", map[string]any{"a": pn, "b": pn, "c": f32, "d": f32[:1]}, "/a=int:7 /b=int:7 /c=float32[2]:0000803f00000040 /d=float32[1]:0000803f"},
		{"arrays", []*array.Array{array.Scalar(int8(3)), nil}, "[0]=int8[]:03 [1]=None"},
		{"big", []*big.Int{big.NewInt(-5), big64, nil}, "[0]=int:-5 [1]=uint64:18446744073709551615 [2]=None"},
		{"big by value", *big.NewInt(5), "=int:5"},
		{"empties", []tree.Empty{tree.None, tree.EmptyTuple}, "[0]=None [1]=Tuple"},
		{"struct", trainState{Step: 1, hidden: 1, base: base{Lr: 2, note: "n"}, Base: &Base{Mu: 3}}, "/-=bool:false /Mu=int8:3 /Step=int:1 /lr=float32:2 /params=None"},
		{"struct with nil embedded pointer", &trainState{Opt: 4}, "/-=bool:false /Step=int:0 /lr=float32:0 /opt=int:4 /params=None"},
		{"sequence struct", pair{Second: 1, First: "f"}, "[0]=int:1 [1]=string:f [2]/Mu=int8:0"},
		{"unit structs", []any{unit{}, seqUnit{}, allOmit{}, allOmit{1}}, "[0]=Dict [1]=Tuple [2]=Dict [3]/X=int:1"},
		{"shadowed", shadowed{Mu: "m"}, "/Mu=string:m"},
		{"tag wins", tagWins{}, "/Mu=int8:0"},
		{"node", []any{&node{kids: []any{1, "x"}}, node{kids: 2}, (*node)(nil)}, "[0][0]=int:1 [0][1]=string:x [1]=int:2 [2]=None"},
		{"embedded leaf types", struct{ *array.Array }{array.Scalar(int8(1))}, "/Array=int8[]:01"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			leaves, err := tree.Flatten(tt.in)
			if err != nil {
				t.Fatal(err)
			}
			if got := show(leaves); got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

// node is a custom node that stands for its kids.
type node struct{ kids any }

func (n *node) TreeFlatten() (any, error) {
	if err, ok := n.kids.(error); ok {
		return nil, err
	}
	return n.kids, nil
}

func (n *node) TreeUnflatten(kids any) error {
	if s, ok := kids.(string); ok && s == "refuse" {
		return errors.New("node: refused")
	}
	n.kids = kids
	return nil
}

// loop is a node that stands for itself.
type loop struct{ X *loop }

func (l *loop) TreeFlatten() (any, error) { return l, nil }
func (l *loop) TreeUnflatten(any) error   { return nil }

// endless is a node that stands for ever new ones.
type endless int

func (e endless) TreeFlatten() (any, error) { return []any{e + 1}, nil }
func (e endless) TreeUnflatten(any) error   { return nil }

func TestFlattenRefuses(t *testing.T) {
	type cyclic struct{ Next *cyclic }
	ptr := &cyclic{}
	ptr.Next = ptr
	m := map[string]any{}
	m["m"] = []any{1, m}
	s := []any{nil}
	s[0] = s
	var self any
	self = &self
	huge := new(big.Int).Lsh(big.NewInt(1), 64)
	tests := []struct {
		name string
		in   any
		want string // the error, lines joined by |
	}{
		{"unsupported", map[string]any{"f": func() {}, "c": make(chan int), "p": unsafe.Pointer(nil), "ok": 1},
			"leaf c: unsupported leaf type: chan int|leaf f: unsupported leaf type: func()|leaf p: unsupported leaf type: unsafe.Pointer"},
		{"time", map[string]any{"t": time.Time{}},
			"leaf t: unsupported leaf type: time.Time has only unexported fields; implement tree.Node, pass an adapter, or leave it out with the tag `orbax:\"-\"`"},
		{"embedded opaque", struct{ time.Time }{},
			"leaf at the root: embedded field Time: unsupported leaf type: time.Time has only unexported fields; implement tree.Node, pass an adapter, or leave it out with the tag `orbax:\"-\"`"},
		{"hidden in embedded", struct{ hiddenInside }{hiddenInside{1}}, "has only unexported fields"},
		{"map keys", map[string]any{"x": map[float64]int{}, "y": map[any]int{}},
			"leaf x: unsupported leaf type: map[float64]int: keys must be strings or integers|leaf y: unsupported leaf type: map[interface {}]int: keys must be strings or integers"},
		{"order of errors", tree.Tuple{1, 2, func() {}, 3, 4, 5, 6, 7, 8, 9, func() {}},
			"leaf 2: unsupported leaf type: func()|leaf 10: unsupported leaf type: func()"},
		{"pointer cycle", map[string]any{"a": ptr}, `leaf a.Next: unsupported leaf type: the value contains itself: this *tree_test.cyclic is the one at "a"`},
		{"map cycle", m, "leaf m.1: unsupported leaf type: the value contains itself"},
		{"slice cycle", s, "leaf 0: unsupported leaf type: the value contains itself"},
		{"interface cycle", self, "leaf at the root: unsupported leaf type: the value contains itself"},
		{"node cycle", &loop{}, "the value contains itself"},
		{"endless node", endless(0), "nested more than 4096 levels deep"},
		{"node error", []any{&node{errors.New("boom")}}, "leaf 0: boom"},
		{"bad key", map[string]any{"\xff": 1}, `unsupported leaf type: the key "\xff" is not valid UTF-8`},
		{"bad string", []string{"\xff"}, "leaf 0: unsupported leaf type: a string that is not valid UTF-8; use []byte"},
		{"big", huge, "leaf at the root: unsupported leaf type: integer over 64 bits (65 bits)"},
		{"zero array", &array.Array{}, "unsupported leaf type: the zero array.Array"},
		{"array by value", []any{*array.Scalar(1.0)}, "unsupported leaf type: array.Array by value"},
		{"collision", map[string]any{"a.b": 1, "a": map[string]any{"b": 2}}, `leaf a.b: key collision: the keys ["a" "b"] and ["a.b"] have the same name`},
		{"field collision", struct {
			A int `orbax:"x"`
			B int `orbax:"x"`
		}{}, `key collision`},
		{"embedded collision", struct {
			Base
			Twin struct{ Mu int }
			other
		}{}, `key collision`},
		{"tag option", struct {
			A int `orbax:"a,omitemtpy"`
		}{}, `field A has the unknown tag option "omitemtpy"`},
		{"seq on a field", struct {
			A []int `orbax:",seq"`
		}{}, "field A has the tag option seq"},
		{"omitempty in a sequence", struct {
			_ struct{} `orbax:",seq"`
			A int      `orbax:",omitempty"`
		}{}, "has omitempty, which would move the fields after it"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			leaves, err := tree.Flatten(tt.in)
			if err == nil {
				t.Fatalf("no error; leaves %s", show(leaves))
			}
			if got := strings.ReplaceAll(err.Error(), "\n", "|"); !strings.Contains(got, tt.want) {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
			var leaf *fault.Leaf
			if !errors.As(err, &leaf) {
				t.Errorf("%v is not a *fault.Leaf", err)
			}
		})
	}
}

type other struct{ Mu string }
type hiddenInside struct{ x int }

func TestFlattenSharesMemory(t *testing.T) {
	state := struct {
		S []int
		A [2]float64
		B []byte
	}{[]int{1, 2}, [2]float64{}, []byte{1}}
	leaves, err := tree.Flatten(&state)
	if err != nil {
		t.Fatal(err)
	}
	state.S[0], state.A[0], state.B[0] = 5, 6, 7
	if got, want := show(leaves), "/A=float64[2]:00000000000018400000000000000000 /B=[]uint8:[7] /S=int64[2]:05000000000000000200000000000000"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestOmitEmpty(t *testing.T) {
	type all struct {
		B bool            `orbax:",omitempty"`
		I int8            `orbax:",omitempty"`
		U uint            `orbax:",omitempty"`
		F float32         `orbax:",omitempty"`
		C complex128      `orbax:",omitempty"`
		S string          `orbax:",omitempty"`
		P *int            `orbax:",omitempty"`
		E any             `orbax:",omitempty"`
		L []string        `orbax:",omitempty"`
		M map[string]int  `orbax:",omitempty"`
		A [0]int8         `orbax:",omitempty"`
		N struct{ X int } `orbax:",omitempty"`
	}
	negative := math.Copysign(0, -1)
	for _, tt := range []struct {
		in   all
		want string
	}{
		{all{L: []string{}, M: map[string]int{}}, "/N/X=int:0"},
		{all{F: float32(negative), C: complex(0, negative)}, "/C=complex128:(0-0i) /F=float32:-0 /N/X=int:0"},
		{all{B: true, I: 1, U: 1, S: "s", E: 0}, "/B=bool:true /E=int:0 /I=int8:1 /N/X=int:0 /S=string:s /U=uint:1"},
	} {
		if got := show(flatten(t, tt.in)); got != tt.want {
			t.Errorf("got %s, want %s", got, tt.want)
		}
	}
}

func TestPathID(t *testing.T) {
	paths := []tree.Path{
		nil, {{Name: ""}}, {{Name: ""}, {Name: ""}}, {{Name: "a.b"}}, {{Name: "a"}, {Name: "b"}}, {{Name: `a" "b`}},
	}
	ids := map[string]tree.Path{}
	for _, p := range paths {
		if other, taken := ids[p.ID()]; taken {
			t.Errorf("%v and %v have the ID %s", p, other, p.ID())
		}
		ids[p.ID()] = p
	}
	if key, position := (tree.Path{{Name: "0"}}), (tree.Path{{Name: "0", Seq: true}}); key.ID() != position.ID() {
		t.Errorf("%s is not %s", key.ID(), position.ID())
	}
}

func TestPathOrder(t *testing.T) {
	leaves := flatten(t, map[string]any{"b": make([]string, 12), "a": 1, "a.": 2, "c": map[string]any{"x": 1}})
	for i, l := range leaves[1:] {
		if leaves[i].Path.Compare(l.Path) >= 0 || l.Path.Compare(leaves[i].Path) <= 0 || l.Path.Compare(l.Path) != 0 {
			t.Errorf("%v is not before %v", leaves[i].Path, l.Path)
		}
	}
}
