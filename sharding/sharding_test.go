package sharding

import (
	"encoding/json"
	"errors"
	"math"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/go-orbax/orbax/internal/fault"
	"pgregory.net/rapid"
)

// golden is testdata/shardings.json, made by JAX and Orbax.
type golden struct {
	Cases map[string]struct {
		Text   string // what Orbax writes for one array
		String string // what JAX prints
		Shape  []int
		Shard  []int
	}
	Document string // the _sharding document of all cases but "no axes"
}

func loadGolden(t testing.TB) golden {
	t.Helper()
	data, err := os.ReadFile("testdata/shardings.json")
	if err != nil {
		t.Fatal(err)
	}
	var g golden
	if err := json.Unmarshal(data, &g); err != nil {
		t.Fatal(err)
	}
	return g
}

func TestGoldenText(t *testing.T) {
	for name, c := range loadGolden(t).Cases {
		s, err := parse(c.Text)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got, err := s.Marshal(); err != nil || got != c.Text {
			t.Errorf("%s: wrote %s, %v\nwant %s", name, got, err, c.Text)
		}
		if got, err := s.ShardShape(c.Shape); err != nil || !slices.Equal(got, c.Shard) {
			t.Errorf("%s: shard of %v is %v, %v, want %v", name, c.Shape, got, err, c.Shard)
		}
		// JAX adds the kind of memory, and prints CpuDevice(id=0) where the
		// document has cpu:0.
		want := strings.Replace(c.String, ", memory_kind=device", "", 1)
		if s.Mesh == nil {
			want = "SingleDeviceSharding(device=" + s.Device + ")"
		}
		if name != "escapes" && s.String() != want {
			t.Errorf("%s: prints %s, want %s", name, s, want)
		}
	}
}

func TestGoldenDocument(t *testing.T) {
	g := loadGolden(t)
	if _, ok := scanFile([]byte(g.Document)); !ok {
		t.Error("it is read by encoding/json")
	}
	m, err := ParseFile([]byte(g.Document))
	if err != nil {
		t.Fatal(err)
	}
	if len(m) != len(g.Cases)-1 {
		t.Errorf("%d entries, want %d", len(m), len(g.Cases)-1)
	}
	for name, c := range g.Cases {
		if name == "no axes" {
			continue
		}
		if got, err := m[name].Marshal(); err != nil || got != c.Text {
			t.Errorf("%s: %s, %v", name, got, err)
		}
	}
	got, err := MarshalFile(m)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != g.Document {
		t.Errorf("wrote\n%s\nwant\n%s", got, g.Document)
	}
}

// An old document, without the optional members, and one of a kind that is not
// known are written back as they were.
func TestParseKeeps(t *testing.T) {
	for _, text := range []string{
		`{"sharding_type": "NamedSharding", "shape": [2, 4], "axis_names": ["x", "y"], "partition_spec": [null, ["x", "y"]]}`,
		`{"sharding_type": "NamedSharding", "shape": [1048576, 1048576], "axis_names": ["x", "y"], "partition_spec": []}`,
		`{"sharding_type": "NamedSharding", "shape": [2], "axis_names": ["x"], "axis_types": ["AxisTypes.Hidden"], "partition_spec": ["x"]}`,
		`{"sharding_type":"PositionalSharding","shape":[2, 2]}`,
		"{\"sharding_type\": \"GSPMDSharding\", \"hlo\": \"é\u2028\\u00e9<\"}\n",
	} {
		doc, err := json.Marshal(map[string]string{"YQ==": text})
		if err != nil {
			t.Fatal(err)
		}
		m, err := ParseFile(doc)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		data, err := MarshalFile(m)
		if err != nil {
			t.Fatal(err)
		}
		again, err := ParseFile(data)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := again["a"].Marshal(); err != nil || got != text {
			t.Errorf("%s\nbecame %s, %v", text, got, err)
		}
	}
}

func TestParseErrors(t *testing.T) {
	named := func(members string) string { return `{"sharding_type":"NamedSharding",` + members + `}` }
	deep := strings.Repeat("[", 5000) + strings.Repeat("]", 5000)
	for _, text := range []string{
		``, `null`, `3`, `[]`, `{}`, `{"sharding_type":null}`, `{"sharding_type":3}`, `{"Sharding_Type":"SingleDeviceSharding","device_str":"cpu:0"}`,
		`{"sharding_type":"SingleDeviceSharding"}`,
		`{"sharding_type":"SingleDeviceSharding","device_str":null}`,
		`{"sharding_type":"SingleDeviceSharding","device_str":7}`,
		`{"sharding_type":"SingleDeviceSharding","device_str":""}`,
		`{"sharding_type":"SingleDeviceSharding","device_str":"cpu:0"} x`,
		named(`"shape":[2],"axis_names":["x"]`),
		named(`"shape":[2],"partition_spec":[]`),
		named(`"axis_names":["x"],"partition_spec":[]`),
		named(`"shape":[2.5],"axis_names":["x"],"partition_spec":[]`),
		named(`"shape":[2,2],"axis_names":["x"],"partition_spec":[]`),
		named(`"shape":[2,2],"axis_names":["x","x"],"partition_spec":[]`),
		named(`"shape":[0],"axis_names":["x"],"partition_spec":[]`),
		named(`"shape":[-1],"axis_names":["x"],"partition_spec":[]`),
		named(`"shape":[4294967296,4294967296],"axis_names":["x","y"],"partition_spec":[]`),
		named(`"shape":[2],"axis_names":["x"],"partition_spec":["y"]`),
		named(`"shape":[2],"axis_names":["x"],"partition_spec":["x",["x"]]`),
		named(`"shape":[2],"axis_names":["x"],"partition_spec":[3]`),
		named(`"shape":[2],"axis_names":["x"],"partition_spec":{}`),
		named(`"shape":[2],"axis_names":["x"],"axis_types":["AxisType.Auto","AxisType.Auto"],"partition_spec":[]`),
		named(`"shape":[2],"axis_names":["x"],"axis_types":3,"partition_spec":[]`),
		named(`"shape":[2],"axis_names":["x"],"partition_spec":[],"device_mesh":[]`),
		named(`"shape":[2],"axis_names":["x"],"partition_spec":[],"device_mesh":{}`),
		named(`"shape":[2],"axis_names":["x"],"partition_spec":[],"device_mesh":{"mesh":[{"id":0}]}`),
		named(`"shape":[2],"axis_names":["x"],"partition_spec":[],"device_mesh":{"mesh":[{"id":0},{"id":null}]}`),
		named(`"shape":[2],"axis_names":["x"],"partition_spec":[],"device_mesh":{"mesh":[{"id":0},{}]}`),
		named(`"shape":[2],"axis_names":["x"],"partition_spec":[],"device_mesh":{"mesh":[{"id":0},[{"id":1}]]}`),
		named(`"shape":[1099511627776],"axis_names":["x"],"partition_spec":[],"device_mesh":{"mesh":[{"id":0}]}`),
		named(`"shape":[2],"axis_names":["x"],"partition_spec":[],"device_mesh":{"mesh":` + deep + `}`),
	} {
		if s, err := parse(text); !errors.Is(err, fault.ErrCorrupt) {
			t.Errorf("%.120s: %v, %v, want an error that matches ErrCorrupt", text, s, err)
		}
	}
	for _, doc := range []string{
		``, `null`, `[]`, `{"YQ==":3}`, `{"YQ==":null}`, `{"YQ":"{}"}`, `{"Pj4+Pz8=":"{}"}`, `{"_w==":"{}"}`, `{"YQ==":"{}"}`, `{"YQ==":"x`,
	} {
		if m, err := ParseFile([]byte(doc)); !errors.Is(err, fault.ErrCorrupt) {
			t.Errorf("%s: %v, %v, want an error that matches ErrCorrupt", doc, m, err)
		}
	}
}

func TestValidate(t *testing.T) {
	mesh := func(shape ...int) Mesh { return Mesh{Shape: shape, AxisNames: []string{"x", "y", "z"}[:len(shape)]} }
	withIDs := mesh(2, 2)
	withIDs.DeviceIDs = []int{0, 1, 2}
	withTypes := mesh(2, 2)
	withTypes.AxisTypes = []string{Auto, "auto"}
	tests := []struct {
		name string
		s    *Sharding
		want error
	}{
		{"nil", nil, fault.ErrStructure},
		{"none", &Sharding{}, fault.ErrStructure},
		{"two", &Sharding{Device: "cpu:0", Raw: "{}"}, fault.ErrStructure},
		{"device", &Sharding{Device: "\xff"}, fault.ErrStructure},
		{"axis", Named(Mesh{Shape: []int{1}, AxisNames: []string{"\xff"}}, nil), fault.ErrStructure},
		{"raw", &Sharding{Raw: `{"sharding_type": "new", "any": {}}`}, nil},
		{"raw axis types", &Sharding{Raw: `{"sharding_type": "NamedSharding", "axis_types": ["AxisType.New"]}`}, nil},
		{"no JSON", &Sharding{Raw: "new"}, fault.ErrStructure},
		{"no kind", &Sharding{Raw: "{}"}, fault.ErrStructure},
		{"null kind", &Sharding{Raw: `{"sharding_type": null}`}, fault.ErrStructure},
		{"not UTF-8", &Sharding{Raw: `{"sharding_type": "` + "\xff" + `"}`}, fault.ErrStructure},
		{"raw device", &Sharding{Raw: `{"sharding_type": "SingleDeviceSharding"}`}, fault.ErrStructure},
		{"raw mesh", &Sharding{Raw: `{"sharding_type": "NamedSharding"}`}, fault.ErrStructure},
		{"spec without mesh", &Sharding{Device: "cpu:0", Spec: PartitionSpec{}}, fault.ErrStructure},
		{"ids", Named(withIDs, nil), fault.ErrShape},
		{"types", Named(withTypes, nil), fault.ErrStructure},
		{"overflow", Named(mesh(math.MaxInt, 2), nil), fault.ErrShape},
		{"unknown axis", Named(mesh(2), PartitionSpec{{"y"}}), fault.ErrStructure},
		{"axis twice", Named(mesh(2), PartitionSpec{{"x"}, {"x"}}), fault.ErrStructure},
		{"single", SingleDevice("cpu:0"), nil},
		{"named", Named(mesh(2, 2), PartitionSpec{nil, {"y", "x"}}), nil},
	}
	for _, tt := range tests {
		if err := tt.s.Validate(); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.want)
		}
		if _, err := tt.s.Marshal(); !errors.Is(err, tt.want) {
			t.Errorf("%s: Marshal: %v, want %v", tt.name, err, tt.want)
		}
		if tt.s.String() == "" {
			t.Errorf("%s prints nothing", tt.name)
		}
	}
	if _, err := MarshalFile(map[string]*Sharding{"\xff": SingleDevice("cpu:0")}); !errors.Is(err, fault.ErrReservedName) {
		t.Errorf("a name that is not UTF-8: %v", err)
	}
	if _, err := MarshalFile(map[string]*Sharding{"a": nil}); !errors.Is(err, fault.ErrStructure) {
		t.Errorf("nil in a document: %v", err)
	}
}

func TestShardShapeErrors(t *testing.T) {
	s := Named(Mesh{Shape: []int{2, 4}, AxisNames: []string{"x", "y"}}, PartitionSpec{{"x"}, {"y"}})
	for _, shape := range [][]int{{7, 8}, {8, 6}, {8}, {}, {-2, 4}} {
		if got, err := s.ShardShape(shape); !errors.Is(err, fault.ErrShape) {
			t.Errorf("%v: %v, %v, want an error that matches ErrShape", shape, got, err)
		}
	}
	if _, err := (&Sharding{Raw: `{"sharding_type":"x"}`}).ShardShape(nil); !errors.Is(err, fault.ErrUnsupported) {
		t.Errorf("raw: %v", err)
	}
}

// Any valid sharding survives the document, and its shards fill the array.
func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		names := rapid.SliceOfNDistinct(rapid.String().Filter(func(s string) bool { return s != "" }), 0, 4, rapid.ID[string]).Draw(t, "names")
		m := Mesh{Shape: []int{}, AxisNames: names}
		n := 1
		for range names {
			m.Shape = append(m.Shape, rapid.IntRange(1, 4).Draw(t, "size"))
			n *= m.Shape[len(m.Shape)-1]
		}
		if rapid.Bool().Draw(t, "types") {
			m.AxisTypes = rapid.SliceOfN(rapid.SampledFrom([]string{Auto, Explicit, Manual}), len(names), len(names)).Draw(t, "axis types")
		}
		if rapid.Bool().Draw(t, "ids") {
			m.DeviceIDs = rapid.SliceOfN(rapid.Int(), n, n).Draw(t, "device ids")
		}
		spec := make(PartitionSpec, rapid.IntRange(0, 4).Draw(t, "entries"))
		split := 1
		if len(spec) > 0 {
			for i, name := range names {
				if at := rapid.IntRange(-1, len(spec)-1).Draw(t, "axis"); at >= 0 {
					spec[at] = append(spec[at], name)
					split *= m.Shape[i]
				}
			}
		}
		s := Named(m, spec)
		name := rapid.String().Draw(t, "name")
		doc, err := MarshalFile(map[string]*Sharding{name: s})
		if err != nil {
			t.Fatal(err)
		}
		back, err := ParseFile(doc)
		if err != nil {
			t.Fatalf("%v in %s", err, doc)
		}
		if got, want := back[name].String(), s.String(); got != want {
			t.Fatalf("%s became %s", want, got)
		}
		if !slices.Equal(back[name].Mesh.DeviceIDs, m.DeviceIDs) {
			t.Fatalf("ids %v became %v", m.DeviceIDs, back[name].Mesh.DeviceIDs)
		}

		shape := slices.Repeat([]int{n * 3}, len(spec)+1)
		shard, err := s.ShardShape(shape)
		if err != nil {
			t.Fatal(err)
		}
		parts := 1
		for i := range shape {
			parts *= shape[i] / shard[i]
		}
		if parts != split {
			t.Fatalf("%v splits %v into %d shards %v, want %d", s, shape, parts, shard, split)
		}
	})
}

func FuzzParse(f *testing.F) {
	for _, c := range loadGolden(f).Cases {
		f.Add(c.Text)
	}
	f.Add(`{"sharding_type":"x"}`)
	f.Fuzz(func(t *testing.T, text string) {
		s, err := parse(text)
		if err != nil {
			if !errors.Is(err, fault.ErrCorrupt) {
				t.Fatalf("%v does not match ErrCorrupt", err)
			}
			return
		}
		first, err := s.Marshal()
		if err != nil {
			t.Fatalf("parsed but does not marshal: %v", err)
		}
		again, err := parse(first)
		if err != nil {
			t.Fatalf("%v in %s", err, first)
		}
		if second, err := again.Marshal(); err != nil || second != first {
			t.Fatalf("%s became %s, %v", first, second, err)
		}
		_ = s.String()
		_, _ = s.ShardShape([]int{4, 6})
	})
}

func FuzzParseFile(f *testing.F) {
	f.Add([]byte(loadGolden(f).Document))
	f.Add([]byte(`{"YQ==":"{}"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := ParseFile(data)
		if scanned, ok := scanFile(data); ok {
			want, err := decodeFile(data)
			if err != nil || !reflect.DeepEqual(scanned, want) {
				t.Fatalf("%s\nis %v\nencoding/json has %v, %v", data, scanned, want, err)
			}
		}
		if err != nil {
			if !errors.Is(err, fault.ErrCorrupt) {
				t.Fatalf("%v does not match ErrCorrupt", err)
			}
			return
		}
		out, err := MarshalFile(m)
		if err != nil {
			t.Fatal(err)
		}
		if back, err := ParseFile(out); err != nil || len(back) != len(m) {
			t.Fatalf("%d entries became %d, %v", len(m), len(back), err)
		}
	})
}
