package orbax_test

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"strings"
	"testing"
)

// The shape of the source that docs/design.md promises.
const (
	maxFileLines    = 400
	maxHandlerFiles = 12 // what the author of a handler reads
)

// TestShape checks that files are of one concept each, as far as their length shows it,
// and that package handler stays what one can read at a sitting.
func TestShape(t *testing.T) {
	files := 0
	err := fs.WalkDir(os.DirFS("."), ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == "testdata" || len(name) > 1 && strings.HasPrefix(d.Name(), ".")):
			return fs.SkipDir
		case d.IsDir() || path.Ext(name) != ".go" || strings.HasSuffix(name, "_test.go"):
			return nil
		}
		text, err := os.ReadFile(name)
		if n := bytes.Count(text, []byte("\n")); n > maxFileLines {
			t.Errorf("%s has %d lines, at most %d are wanted: move a concept to a file of its own", name, n, maxFileLines)
		}
		if path.Dir(name) == "handler" {
			files++
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if files == 0 || files > maxHandlerFiles {
		t.Errorf("package handler has %d files, from 1 to %d are wanted: what its authors need not read belongs to an internal package", files, maxHandlerFiles)
	}
}

// public are the packages that other modules import.
var public = []string{
	".", "array", "convert", "handler", "multihost", "ocdbt", "partial", "safetensors", "sharding", "storage", "storage/mem",
	"storage/storetest", "training", "transform", "tree", "view", "zarr",
}

// options are the methods by which options fill settings that only this module can name.
var options = map[string]bool{"ApplySave": true, "ApplyLoad": true, "ApplyDelete": true, "ApplyOpen": true, "ApplyVerify": true, "ApplyRepair": true, "ApplyDiff": true}

// TestPublicHidesInternals checks that no exported function, method or field of a public
// package has a type of an internal package, which its users could not name.
func TestPublicHidesInternals(t *testing.T) {
	checked := 0
	for _, dir := range public {
		names, err := fs.Glob(os.DirFS("."), path.Join(dir, "*.go"))
		if err != nil || len(names) == 0 {
			t.Fatalf("package %s: %d files, %v", dir, len(names), err)
		}
		for _, name := range names {
			if !strings.HasSuffix(name, "_test.go") {
				checked += checkHidden(t, name)
			}
		}
	}
	if checked < 800 {
		t.Errorf("%d functions and fields were checked, more are wanted", checked)
	}
}

// checkHidden checks one file and returns how many types it has checked.
func checkHidden(t *testing.T, name string) (checked int) {
	set := token.NewFileSet()
	f, err := parser.ParseFile(set, name, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	internal := map[string]bool{} // packages, by their names in the file
	for _, i := range f.Imports {
		if p := strings.Trim(i.Path.Value, `"`); strings.Contains(p, "/internal/") {
			internal[path.Base(p)] = true
		}
	}
	check := func(what string, typ ast.Node) {
		checked++
		ast.Inspect(typ, func(n ast.Node) bool {
			if s, ok := n.(*ast.SelectorExpr); ok {
				if x, ok := s.X.(*ast.Ident); ok && internal[x.Name] {
					t.Errorf("%s: %s has the type %s.%s", set.Position(n.Pos()), what, x.Name, s.Sel.Name)
				}
			}
			return true
		})
	}
	fields := func(what string, list *ast.FieldList) {
		for _, field := range list.List {
			exported := len(field.Names) == 0 // embedded
			for _, n := range field.Names {
				exported = exported || n.IsExported() && !options[n.Name]
			}
			if exported {
				check(what, field.Type)
			}
		}
	}
	for _, d := range f.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			if d.Name.IsExported() && (d.Recv == nil || ast.IsExported(receiver(d.Recv.List[0].Type))) && !options[d.Name.Name] {
				check(d.Name.Name, d.Type)
			}
		case *ast.GenDecl:
			for _, s := range d.Specs {
				s, ok := s.(*ast.TypeSpec)
				if !ok || !s.Name.IsExported() {
					continue
				}
				switch typ := s.Type.(type) {
				case *ast.StructType:
					fields(s.Name.Name, typ.Fields)
				case *ast.InterfaceType:
					fields(s.Name.Name, typ.Methods)
				case *ast.FuncType:
					check(s.Name.Name, typ)
				case *ast.SelectorExpr: // its methods and fields are not those of the other
					if s.Assign.IsValid() && s.Name.Name != "LeafError" { // every package makes it
						check(s.Name.Name, typ)
					}
				}
			}
		}
	}
	return checked
}

// receiver returns the name of a method's receiver type.
func receiver(typ ast.Expr) string {
	switch typ := typ.(type) {
	case *ast.StarExpr:
		return receiver(typ.X)
	case *ast.IndexExpr:
		return receiver(typ.X)
	case *ast.Ident:
		return typ.Name
	}
	return ""
}
