package jsonscan_test

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/go-orbax/orbax/internal/jsonscan"
)

// entry is of every kind that a Scanner reads.
type entry struct {
	Name  string
	Shape []int
	Size  int
	On    bool
	Kids  []entry
	None  any
}

// scan reads an entry: all members, each at most once, in any order.
func scan(s *jsonscan.Scanner, depth int) (e entry) {
	if depth > 100 {
		s.Fail()
	}
	seen := map[string]bool{}
	for s.Begin('{'); s.Next('}'); {
		name := string(s.Name())
		if seen[name] {
			s.Fail()
		}
		seen[name] = true
		switch name {
		case "Name":
			e.Name = string(s.Text())
		case "Shape":
			e.Shape = s.AppendInts([]int{})
		case "Size":
			e.Size = s.Int()
		case "On":
			e.On = s.Bool()
		case "None":
			s.Null()
		case "Kids":
			e.Kids = []entry{}
			for s.Begin('['); s.Next(']'); {
				e.Kids = append(e.Kids, scan(s, depth+1))
			}
		default:
			s.Fail()
		}
	}
	return e
}

func TestAcceptsWhatItKnows(t *testing.T) {
	for _, doc := range []string{
		`{}`,
		" {\t\"Name\" : \"a b\" ,\r\n \"Shape\":[ ] } ",
		`{"Name": "\"\\\u00e9\ud83d\ude00é", "Shape": [0, -0, -1, 123456789012345678], "Size": 7}`,
		`{"Kids": [{"On": true}, {"On": false, "None": null}, {}], "On": true}`,
	} {
		s := jsonscan.New([]byte(doc))
		got := scan(s, 0)
		var want entry
		if err := json.Unmarshal([]byte(doc), &want); err != nil {
			t.Fatal(err)
		}
		if !s.Done() || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, done %v; want %+v", doc, got, s.Done(), want)
		}
	}
}

func TestRefusesTheRest(t *testing.T) {
	for _, doc := range []string{
		``, ` `, `{`, `[]`, `null`, `{}{}`, `{} x`, "{}\x00", `{,}`, `{"On": true,}`, `{"On" true}`, `{"On": True}`, `{"On": tru`, `{"On": null}`,
		`{"Size": 01}`, `{"Size": -}`, `{"Size": - 1}`, `{"Size": 1.0}`, `{"Size": 1e3}`, `{"Size": 1234567890123456789}`, `{"Size": "1"}`, `{"Size": +1}`,
		`{"Shape": [1,]}`, `{"Shape": [1 2]}`, `{"Shape": [,1]}`, `{"Shape": [1}`, `{"Shape": null}`,
		"{\"Name\": \"a\nb\"}", `{"Name": "\x"}`, `{"Name": "\u12"}`, `{"Name": "a`, `{"Name": "a\`, `{"Name": "a\"`, "{\"Name\": \"\xff\"}", `{Name: "a"}`,
		`{"name": "a"}`, `{"None": 0}`, `{"Other": 1}`, `{"On": true, "On": true}`,
	} {
		s := jsonscan.New([]byte(doc))
		if e := scan(s, 0); s.Done() {
			t.Errorf("%s was read as %+v", doc, e)
		}
	}
}

func TestLiteral(t *testing.T) {
	s := jsonscan.New([]byte(`["a\n", "", "\x", "\\\""]`))
	var spelled []string
	for s.Begin('['); s.Next(']'); {
		spelled = append(spelled, string(s.Literal()))
	}
	if want := []string{`"a\n"`, `""`, `"\x"`, `"\\\""`}; !s.Done() || !reflect.DeepEqual(spelled, want) {
		t.Errorf("literals %s, want %s", spelled, want)
	}
}

// What is accepted means the same to encoding/json.
func FuzzScan(f *testing.F) {
	f.Add([]byte(`{"Name": "a\n", "Shape": [1, 2], "Size": -5, "On": true, "Kids": [{"None": null}, {}]}`))
	f.Add([]byte(`{"Name": "\ud800", "Size": 00}`))
	f.Fuzz(func(t *testing.T, doc []byte) {
		s := jsonscan.New(doc)
		got := scan(s, 0)
		if !s.Done() {
			return
		}
		var want entry
		if err := json.Unmarshal(doc, &want); err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("%s is %+v, encoding/json has %+v, %v", doc, got, want, err)
		}
	})
}

func ExampleScanner() {
	s := jsonscan.New([]byte(`{"sizes": [1, 2], "name": "w"}`))
	for s.Begin('{'); s.Next('}'); {
		switch string(s.Name()) {
		case "sizes":
			fmt.Println(s.AppendInts(nil))
		case "name":
			fmt.Printf("%s\n", s.Text())
		default:
			s.Fail()
		}
	}
	fmt.Println(s.Done())
	// Output:
	// [1 2]
	// w
	// true
}

func BenchmarkScan(b *testing.B) {
	doc := []byte(`{"Kids": [` + strings.Repeat(`{"Name": "layer.kernel", "Shape": [128, 256], "Size": 32768, "On": false}, `, 1000) + `{}]}`)
	b.SetBytes(int64(len(doc)))
	for b.Loop() {
		s := jsonscan.New(doc)
		scan(s, 0)
		if !s.Done() {
			b.Fatal("not read")
		}
	}
}
