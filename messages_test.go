package orbax_test

import (
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// notRead are the directories whose messages no user of the library or of the command
// line reads: those of tests and of the programs beside them.
var notRead = []string{"bench", "examples", "interop", "internal/failstore", "internal/heap", "internal/pyenv", "internal/testall", "internal/testenv",
	"storage/cloud/internal/servers", "storage/object/buckettest"}

// TestMessages holds each text of an error against testdata/messages.txt, so that a
// change of what users read is seen where the change is looked at. With -update it
// rewrites the file.
func TestMessages(t *testing.T) {
	got := strings.Join(messages(t), "\n") + "\n"
	golden := filepath.Join("testdata", "messages.txt")
	if *update {
		if err := os.WriteFile(golden, []byte(got), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	b, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	want := strings.Split(string(b), "\n")
	have := strings.Split(got, "\n")
	for _, line := range have {
		if !slices.Contains(want, line) {
			t.Errorf("%s lacks the message that the source has: %s", golden, line)
		}
	}
	for _, line := range want {
		if !slices.Contains(have, line) {
			t.Errorf("%s has a message that the source lacks: %s", golden, line)
		}
	}
	if t.Failed() {
		t.Log("if the new messages are meant: go test . -run TestMessages -update")
	}
}

// messages returns the texts of all errors in the source, each with its package.
func messages(t *testing.T) []string {
	t.Helper()
	sources := map[string][]*ast.File{} // by directory
	set := token.NewFileSet()
	err := fs.WalkDir(os.DirFS("."), ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (slices.Contains(notRead, name) || d.Name() == "testdata" || len(name) > 1 && strings.HasPrefix(d.Name(), ".")):
			return fs.SkipDir
		case d.IsDir() || path.Ext(name) != ".go" || strings.HasSuffix(name, "_test.go"):
			return nil
		}
		f, err := parser.ParseFile(set, name, nil, parser.SkipObjectResolution)
		sources[path.Dir(name)] = append(sources[path.Dir(name)], f)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]bool{}
	for dir, files := range sources {
		formats, constants := formatters(files), constants(files)
		for _, f := range files {
			ast.Inspect(f, func(n ast.Node) bool {
				if text, ok := literal(message(n, formats), constants); ok {
					found[fmt.Sprintf("%s: %q", strings.TrimSuffix(dir, "/."), text)] = true
				}
				return true
			})
		}
	}
	return slices.Sorted(maps.Keys(found))
}

// formatters returns the functions that make an error or a hint of a text, with the
// position of the text among their arguments: those of the standard library and of
// package fault, and what the package itself declares as (…, format string, args ...any).
func formatters(files []*ast.File) map[string]int {
	found := map[string]int{"fmt.Errorf": 0, "errors.New": 0, "fault.Advise": 2}
	declared := func(name string, f *ast.FuncType) {
		at := 0
		for i, param := range f.Params.List {
			if len(param.Names) == 1 && param.Names[0].Name == "format" && i+1 < len(f.Params.List) {
				if _, variadic := f.Params.List[i+1].Type.(*ast.Ellipsis); variadic {
					found[name] = at
				}
			}
			at += len(param.Names)
		}
	}
	for _, f := range files {
		ast.Inspect(f, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.FuncDecl:
				declared(n.Name.Name, n.Type)
			case *ast.AssignStmt:
				if name, ok := n.Lhs[0].(*ast.Ident); ok && len(n.Rhs) == 1 {
					if f, ok := n.Rhs[0].(*ast.FuncLit); ok {
						declared(name.Name, f.Type)
					}
				}
			}
			return true
		})
	}
	return found
}

// constants returns the constants of files by their names.
func constants(files []*ast.File) map[string]ast.Expr {
	found := map[string]ast.Expr{}
	for _, f := range files {
		ast.Inspect(f, func(n ast.Node) bool {
			if d, ok := n.(*ast.GenDecl); ok && d.Tok == token.CONST {
				for _, spec := range d.Specs {
					spec := spec.(*ast.ValueSpec)
					for i, value := range spec.Values {
						found[spec.Names[i].Name] = value
					}
				}
			}
			return true
		})
	}
	return found
}

// message returns the text that n makes an error of: an argument of one of formats, or
// the first member of a class of errors. It is nil if n makes none.
func message(n ast.Node, formats map[string]int) ast.Expr {
	switch n := n.(type) {
	case *ast.CallExpr:
		name := ""
		switch f := n.Fun.(type) {
		case *ast.Ident:
			name = f.Name
		case *ast.SelectorExpr:
			name = f.Sel.Name
			if of, ok := f.X.(*ast.Ident); ok && slices.Contains([]string{"fmt", "errors", "fault"}, of.Name) {
				name = of.Name + "." + name
			}
		}
		if at, ok := formats[name]; ok && at < len(n.Args) {
			return n.Args[at]
		}
	case *ast.CompositeLit:
		if of, ok := n.Type.(*ast.Ident); ok && of.Name == "class" && len(n.Elts) > 0 {
			return n.Elts[0]
		}
	}
	return nil
}

// literal returns the value of a string: a literal, a constant, or several that are
// joined; what is neither among them is an ellipsis.
func literal(e ast.Expr, constants map[string]ast.Expr) (string, bool) {
	switch e := e.(type) {
	case *ast.BasicLit:
		text, err := strconv.Unquote(e.Value)
		return text, err == nil && e.Kind == token.STRING
	case *ast.Ident:
		return literal(constants[e.Name], nil)
	case *ast.ParenExpr:
		return literal(e.X, constants)
	case *ast.BinaryExpr:
		left, ok1 := literal(e.X, constants)
		right, ok2 := literal(e.Y, constants)
		switch {
		case ok1 && !ok2:
			right = "…"
		case ok2 && !ok1:
			left = "…"
		}
		return left + right, ok1 || ok2
	}
	return "", false
}
