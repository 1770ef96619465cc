package orbax_test

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// imports is which packages of the module a package may import, and which of
// other modules. Imports point down only.
var imports = map[string]string{
	"internal/fault":           "",
	"internal/jsonscan":        "",
	"internal/lfs":             "internal/fault",
	"internal/memory":          "internal/fault golang.org/x/sys",
	"sharding":                 "internal/fault internal/jsonscan",
	"internal/region":          "internal/fault",
	"array":                    "internal/fault internal/region sharding",
	"internal/castlog":         "array",
	"tree":                     "internal/fault array sharding",
	"storage":                  "internal/fault internal/parallel golang.org/x/sys",
	"storage/mem":              "internal/fault storage",
	"storage/object":           "internal/fault internal/parallel storage",
	"storage/object/membucket": "storage/object",
	"internal/transfer":        "internal/fault internal/lfs internal/memory internal/parallel storage golang.org/x/sync",
	"ocdbt":                    "internal/fault internal/lfs internal/memory github.com/klauspost/compress",
	"zarr":                     "internal/fault internal/memory array github.com/klauspost/compress github.com/cespare/xxhash/v2",
	"safetensors":              "internal/fault internal/lfs internal/memory array",
	"internal/layout":          "internal/fault internal/jsonscan storage tree",
	"internal/frozen":          "internal/fault storage",
	"internal/proof":           "internal/fault internal/layout internal/msgpack internal/parallel internal/transfer storage",
	"internal/documents":       "internal/fault internal/layout internal/parallel internal/transfer storage",
	"internal/strided":         "internal/fault internal/region array",
	"internal/mmap":            "golang.org/x/sys",
	"internal/msgpack":         "internal/fault",
	"internal/parallel":        "",
	"internal/future":          "internal/fault internal/parallel",
	"coord":                    "internal/fault",
	"internal/exchanged":       "internal/fault",
	"internal/compare":         "coord internal/exchanged internal/fault",
	"internal/handover":        "coord internal/compare internal/exchanged internal/fault internal/parallel sharding",
	"internal/handover/tcp":    "internal/handover",
	"internal/flax":            "internal/fault internal/msgpack internal/region internal/transfer array storage tree",
	"view":                     "internal/castlog internal/compare internal/fault internal/handover internal/memory internal/mmap internal/parallel internal/region internal/strided internal/transfer array sharding storage tree",
	"internal/ckdir":           "internal/fault internal/transfer sharding storage tree",
	"internal/binscan":         "internal/fault",
	"internal/places":          "internal/binscan internal/fault internal/layout",
	"internal/reuse":           "internal/binscan internal/ckdir internal/fault internal/layout internal/places array storage zarr",
	"internal/database":        "internal/ckdir internal/fault internal/layout internal/parallel internal/transfer ocdbt storage",
	"internal/rawarray":        "internal/ckdir internal/fault array storage view zarr",
	"internal/zarray":          "internal/ckdir internal/fault internal/places internal/rawarray internal/region internal/transfer array tree view zarr",
	"internal/tensors":         "internal/ckdir internal/fault internal/layout internal/lfs internal/rawarray array safetensors storage tree view",
	"internal/pytree": "internal/ckdir internal/database internal/fault internal/flax internal/layout internal/lfs internal/parallel internal/places internal/rawarray " +
		"internal/region internal/reuse internal/tensors internal/transfer internal/zarray array ocdbt sharding storage tree view zarr",
	"internal/treesave": "internal/binscan internal/castlog internal/ckdir internal/database internal/fault internal/layout internal/parallel internal/places internal/region internal/reuse " +
		"internal/transfer array ocdbt sharding storage tree zarr",
	"internal/union": "internal/ckdir internal/database internal/fault internal/layout internal/pytree internal/transfer internal/treesave internal/zarray " +
		"ocdbt sharding storage tree zarr",
	"handler": "internal/ckdir internal/fault internal/layout internal/pytree internal/transfer internal/treesave array storage tree view zarr " +
		"google.golang.org/protobuf",
	"transform":           "internal/fault array tree view",
	"multihost":           "coord internal/config internal/handover/tcp internal/save sharding",
	"internal/config":     "coord sharding internal/fault internal/handover internal/transfer handler storage view",
	"internal/save":       "coord internal/ckdir internal/compare internal/config internal/documents internal/exchanged internal/fault internal/found internal/layout internal/parallel internal/proof internal/transfer handler storage tree",
	"internal/found":      "internal/ckdir internal/fault internal/flax internal/layout internal/parallel internal/pytree internal/transfer handler ocdbt safetensors storage",
	"":                    "internal/ckdir internal/config internal/database internal/documents internal/fault internal/found internal/frozen internal/future internal/handover internal/layout internal/parallel internal/proof internal/pytree internal/save internal/transfer internal/union array handler ocdbt safetensors storage transform tree view",
	"internal/replica":    "internal/documents internal/fault internal/layout internal/parallel internal/proof internal/transfer storage",
	"training":            "github.com/go-orbax/orbax coord internal/ckdir internal/config internal/documents internal/exchanged internal/fault internal/future internal/layout internal/parallel internal/proof internal/replica internal/save internal/transfer storage",
	"partial":             "github.com/go-orbax/orbax coord internal/ckdir internal/config internal/documents internal/fault internal/found internal/frozen internal/future internal/layout internal/proof internal/save internal/transfer internal/union handler storage tree",
	"guest":               "github.com/go-orbax/orbax internal/documents internal/fault internal/found internal/layout internal/proof internal/save internal/transfer storage",
	"internal/inspect":    "github.com/go-orbax/orbax array handler internal/config internal/documents internal/fault internal/flax internal/layout internal/parallel internal/proof internal/transfer partial sharding storage training tree view",
	"internal/atomicfile": "",
	"convert":             "github.com/go-orbax/orbax array handler internal/atomicfile internal/castlog internal/ckdir internal/config internal/fault internal/inspect internal/layout safetensors storage tree view zarr",
	"internal/cli":        "github.com/go-orbax/orbax array convert internal/config internal/fault internal/inspect internal/layout partial safetensors storage tree view zarr github.com/spf13/cobra",
}

// networked are the packages that import package net, however indirectly: those for programs
// in which several processes work together, and the command line by way of cobra.
var networked = []string{"multihost", "internal/handover/tcp", "internal/cli"}

// free are the packages that may import everything: programs, and what only tests import.
var free = []string{
	"bench", "cmd/orbax", "examples/quickstart", "internal/failstore", "internal/heap",
	"internal/orbaxtest", "internal/pyenv", "internal/race", "internal/testall", "internal/testenv",
	"internal/testenv/fewchecks", "internal/testenv/python", "interop", "interop/layouts",
	"storage/storetest", "storage/object/buckettest", "coord/coordtest",
}

const module = "github.com/go-orbax/orbax"

// packages returns the packages of the module with a list that go list has of each.
func packages(t *testing.T, list string) map[string][]string {
	t.Helper()
	if _, err := exec.LookPath("go"); err != nil {
		t.Skip(err)
	}
	out, err := exec.Command("go", "list", "-f", "{{.ImportPath}}{{range ."+list+"}} {{.}}{{end}}", "./...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	all := map[string][]string{}
	for line := range strings.Lines(string(out)) {
		fields := strings.Fields(line)
		all[fields[0]] = fields[1:]
	}
	return all
}

func TestImportsPointDown(t *testing.T) {
	seen := 0
	for path, imported := range packages(t, "Imports") {
		name := strings.TrimPrefix(strings.TrimPrefix(path, module), "/")
		allowed, ok := imports[name]
		if !ok {
			if !slices.Contains(free, name) {
				t.Errorf("package %q is in no list of this test", name)
			}
			continue
		}
		seen++
		may := strings.Fields(allowed)
		for _, p := range imported {
			if first, _, _ := strings.Cut(p, "/"); !strings.Contains(first, ".") {
				continue // the standard library
			}
			p = strings.TrimPrefix(p, module+"/")
			if !slices.ContainsFunc(may, func(m string) bool { return p == m || strings.HasPrefix(p, m+"/") }) {
				t.Errorf("package %q imports %s", name, p)
			}
		}
	}
	if seen != len(imports) {
		t.Errorf("go list has %d of the %d packages", seen, len(imports))
	}
}

// libraries are the modules that a program gets with the library. All others of go.mod
// belong to the command line and to tests.
var libraries = []string{
	"github.com/cespare/xxhash/v2",
	"github.com/klauspost/compress",
	"golang.org/x/sync",
	"golang.org/x/sys",
	"google.golang.org/protobuf",
}

// Whoever imports a package of the library builds nothing that only the command line
// needs, however indirectly.
func TestCommandLineStaysOutOfTheLibrary(t *testing.T) {
	within := func(p string, roots ...string) bool {
		return slices.ContainsFunc(roots, func(r string) bool { return p == r || strings.HasPrefix(p, r+"/") })
	}
	seen := false
	for name, deps := range packages(t, "Deps") {
		if within(name, module+"/cmd", module+"/internal/cli") {
			seen = seen || slices.Contains(deps, "github.com/spf13/cobra")
			continue
		}
		if name == module+"/internal/testenv/fewchecks" {
			continue // which tests alone import
		}
		for _, p := range deps {
			first, _, _ := strings.Cut(p, "/")
			if strings.Contains(first, ".") && !within(p, module) && !within(p, libraries...) {
				t.Errorf("package %s depends on %s, which only the command line and tests may use", name, p)
			}
		}
	}
	if !seen {
		t.Error("the command line does not depend on cobra: is this test looking at the right packages?")
	}
}

// A program of one process links no code for networks, and so no C, which package net
// brings along.
func TestNetworkStaysOutOfTheLibrary(t *testing.T) {
	for path, deps := range packages(t, "Deps") {
		name := strings.TrimPrefix(strings.TrimPrefix(path, module), "/")
		if _, ok := imports[name]; !ok {
			continue
		}
		may, has := slices.Contains(networked, name), slices.Contains(deps, "net")
		switch {
		case has && !may:
			t.Errorf("package %q depends on package net", name)
		case may && !has:
			t.Errorf("package %q does not depend on package net: is this test looking at the right packages?", name)
		case !may && slices.Contains(deps, "runtime/cgo"):
			t.Errorf("package %q links C", name)
		}
	}
}
