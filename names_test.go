package orbax_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"slices"
	"strings"
	"testing"
)

// maxNames is how many functions and types the package may export: what a reader of the
// documentation holds in mind. The values of a type count with it, and the classes of
// errors are a list of their own.
const maxNames = 70

// TestNames counts the exported names of the package. What is new takes the place of
// something, belongs to another package, or is a method.
func TestNames(t *testing.T) {
	names := exportedNames(t)
	if len(names) > maxNames {
		t.Errorf("%d exported names, want at most %d: %s", len(names), maxNames, strings.Join(names, " "))
	}
	t.Logf("%d functions and types", len(names))
}

// exportedNames returns the functions and types that the package exports, and its
// variables except the sentinel errors.
func exportedNames(t *testing.T) (names []string) {
	t.Helper()
	files, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	set := token.NewFileSet()
	add := func(id *ast.Ident) {
		if id.IsExported() {
			names = append(names, id.Name)
		}
	}
	for _, file := range files {
		if !strings.HasSuffix(file.Name(), ".go") || strings.HasSuffix(file.Name(), "_test.go") {
			continue
		}
		f, err := parser.ParseFile(set, file.Name(), nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range f.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				if d.Recv == nil {
					add(d.Name)
				}
			case *ast.GenDecl:
				for _, s := range d.Specs {
					switch s := s.(type) {
					case *ast.TypeSpec:
						add(s.Name)
					case *ast.ValueSpec:
						for _, id := range s.Names {
							if d.Tok == token.VAR && !strings.HasPrefix(id.Name, "Err") {
								add(id)
							}
						}
					}
				}
			}
		}
	}
	slices.Sort(names)
	return names
}
