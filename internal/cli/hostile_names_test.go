package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/internal/inspect"
	"github.com/go-orbax/orbax/internal/testenv"
)

// hostileNames are names that control a terminal, or that look like lines of the command
// line itself.
var hostileNames = []string{
	"\x1b[31mX\x1b]0;t\x07", "\u009b31mY", "\u202egnp", "n\nOK  forged", "r\rOK  forged", "\u2028OK  forged", "hidden\u200b\U000e0041",
}

// orbaxCommand returns the command line as a process.
func orbaxCommand(t *testing.T, args ...string) *exec.Cmd {
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), program, args...)
	cmd.Args[0] = "orbax" // by this name the test program knows its role
	return cmd
}

// acting returns the characters of a text that control a terminal.
func acting(text []byte) (found []string) {
	for i := 0; i < len(text); {
		r, n := utf8.DecodeRune(text[i:])
		if r == utf8.RuneError && n == 1 || r != '\n' && r != '\t' && unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp) {
			found = append(found, fmt.Sprintf("%+q", text[i:i+n]))
		}
		i += n
	}
	return found
}

// hostileCheckpoints makes a checkpoint with hostile names everywhere, a checkpoint that
// differs from it, and damaged copies of it.
func hostileCheckpoints(t *testing.T, dir string) (whole, other string, damaged []string) {
	ctx := context.Background()
	for i, gen := range []float32{1, 2} {
		state := map[string]any{"plain": array.Of([]float32{gen}, 1)}
		for _, name := range hostileNames {
			state[name] = array.Of([]float32{gen, 2, 3}, 3)
		}
		state["below"] = map[string]any{hostileNames[0]: name(i), hostileNames[3]: []byte(hostileNames[1])}
		parts := map[string]any{"state": state, "doc": map[string]any{"x": 1}}
		for j, name := range hostileNames {
			parts[name] = map[string]any{"a": array.Of([]int32{int32(j)}, 1)}
		}
		doc, err := json.Marshal(map[string]any{hostileNames[1]: hostileNames[2]})
		if err != nil {
			t.Fatal(err)
		}
		parts["json"] = json.RawMessage(doc)
		path := filepath.Join(dir, fmt.Sprint("ck", i))
		if err := orbax.SaveCheckpointables(ctx, path, parts, orbax.CustomMetadata(map[string]any{hostileNames[0]: hostileNames[1]})); err != nil {
			t.Fatal(err)
		}
	}
	whole, other = filepath.Join(dir, "ck0"), filepath.Join(dir, "ck1")
	for i, damage := range []func(string, []byte) []byte{
		func(path string, b []byte) []byte { // every data file
			if filepath.Base(filepath.Dir(path)) != "d" {
				return b
			}
			for i := 0; i < len(b); i += 7 {
				b[i] ^= 0x55
			}
			return b
		},
		func(path string, b []byte) []byte { // documents of trees; without digests
			switch filepath.Base(path) {
			case "digests.sha256":
				return nil
			case "_METADATA":
				return []byte("{\x1b[31m")
			}
			return b
		},
		func(path string, b []byte) []byte { // kinds of checkpointables
			switch filepath.Base(path) {
			case "digests.sha256":
				return nil
			case "_CHECKPOINT_METADATA":
				return bytes.ReplaceAll(b, []byte("orbax.checkpoint"), []byte(`evil\u001b[31m\nOK  forged`))
			}
			return b
		},
		func(path string, b []byte) []byte { // kinds of leaves
			switch filepath.Base(path) {
			case "digests.sha256":
				return nil
			case "_METADATA":
				return bytes.ReplaceAll(b, []byte("np.ndarray"), []byte(`ty\u001b[31m\nOK  forged`))
			}
			return b
		},
		func(path string, b []byte) []byte { // documents differ from their digests
			if strings.HasSuffix(path, "_METADATA") {
				return append(b, ' ')
			}
			return b
		},
	} {
		path := filepath.Join(dir, fmt.Sprintf("damaged%d", i)+hostileNames[i%len(hostileNames)])
		copyDamaged(t, whole, path, damage)
		damaged = append(damaged, path)
	}
	return whole, other, damaged
}

func name(i int) string { return hostileNames[i] }

// copyDamaged copies a directory after a change by damage to each file. It leaves a file
// out if damage returns nil.
func copyDamaged(t *testing.T, from, to string, damage func(path string, b []byte) []byte) {
	t.Helper()
	err := filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		if d.IsDir() {
			return os.MkdirAll(filepath.Join(to, rel), 0o755)
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if b = damage(path, b); b == nil {
			return nil
		}
		return os.WriteFile(filepath.Join(to, rel), b, 0o644)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestHostileNames runs every verb on checkpoints with hostile names, and checks that the
// output has no characters that control a terminal and no line that a name has forged.
func TestHostileNames(t *testing.T) {
	dir := t.TempDir()
	whole, other, damaged := hostileCheckpoints(t, dir)
	out := 0
	fresh := func() string { out++; return filepath.Join(dir, fmt.Sprint("out", out)) }
	var lines [][]string
	for _, ck := range append([]string{whole}, damaged...) {
		lines = append(lines,
			[]string{"ls", ck}, []string{"ls", "--json", ck}, []string{"verify", ck}, []string{"verify", "--json", ck},
			[]string{"hash", ck}, []string{"hash", "--leaves", ck}, []string{"hash", "--json", "--leaves", ck},
			[]string{"diff", ck, other}, []string{"diff", "--json", ck, other}, []string{"diff", other, ck},
			[]string{"convert", ck, fresh()}, []string{"convert", ck, fresh() + ".safetensors"}, []string{"convert", ck, fresh(), "--name", "doc"},
			[]string{"cat", ck, "below"}, []string{"cat", ck, "nope"}, []string{"cat", ck, "json"}, []string{"cat", "--json", ck, "json"},
			[]string{"repair", ck}, []string{"repair", "--json", ck}, []string{"partial", "ls", ck},
		)
		for _, name := range hostileNames {
			lines = append(lines,
				[]string{"ls", ck, "--name", name}, []string{"ls", ck, "--name", "no" + name}, []string{"cat", ck, name}, []string{"cat", "--json", ck, name},
				[]string{"cat", ck, "no" + name}, []string{"cat", ck, "below." + name}, []string{"convert", ck, fresh(), "--select", "no" + name},
				[]string{"convert", ck, fresh() + ".safetensors", "--name", name}, []string{"convert", ck, fresh() + name, "--name", name},
				[]string{"rm", ck, "--name", "no" + name}, []string{name, ck}, []string{"ls", "--no" + name, ck},
			)
		}
	}
	for _, name := range hostileNames {
		for _, verb := range []string{"ls", "verify", "hash", "rm", "repair"} {
			lines = append(lines, []string{verb, filepath.Join(dir, "none"+name)})
		}
	}
	if !testenv.Long() {
		lines = slices.DeleteFunc(lines, func([]string) bool { out++; return out%8 != 0 })
	}
	// A string leaf is printed unchanged if the output is not a terminal.
	raw := func(args []string) bool {
		return len(args) == 3 && args[0] == "cat" && strings.HasPrefix(args[2], "below.")
	}
	for _, args := range lines {
		var stdout, stderr bytes.Buffer
		cmd := orbaxCommand(t, args...)
		cmd.Stdout, cmd.Stderr = &stdout, &stderr
		_ = cmd.Run() // with any status
		for what, b := range map[string][]byte{"stdout": stdout.Bytes(), "stderr": stderr.Bytes()} {
			if what == "stdout" && raw(args) {
				continue
			}
			if found := acting(b); len(found) > 0 {
				t.Errorf("orbax %q: %s has %v:\n%q", args, what, found, b)
			}
			for line := range strings.Lines(string(b)) {
				if strings.HasPrefix(line, "OK  forged") {
					t.Errorf("orbax %q: %s has a forged line:\n%q", args, what, b)
				}
			}
		}
		if slices.Contains(args, "--json") && cmd.ProcessState.ExitCode() == 0 && !json.Valid(stdout.Bytes()) {
			t.Errorf("orbax %q: the output is no JSON:\n%q", args, stdout.Bytes())
		}
	}
}

// TestEscapedJSON checks that a document with escaped characters has the same values.
func TestEscapedJSON(t *testing.T) {
	want := strings.Join(hostileNames, "") + "größe 😀 \x00\xff"
	var b bytes.Buffer
	if err := inspect.WriteJSON(&b, map[string]string{"v": want}); err != nil {
		t.Fatal(err)
	}
	if found := acting(b.Bytes()); len(found) > 0 {
		t.Errorf("%q has %v", b.Bytes(), found)
	}
	var got map[string]string
	if err := json.Unmarshal(b.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if want = strings.ToValidUTF8(want, "\ufffd"); got["v"] != want {
		t.Errorf("got %q, want %q", got["v"], want)
	}
}

// TestHostilePaths gives advice about checkpoints with hostile names: the name of a
// checkpoint is a part of one line.
func TestHostilePaths(t *testing.T) {
	t.Chdir(t.TempDir())
	for i, name := range hostileNames {
		ck := filepath.Join(fmt.Sprint(i), name)
		if err := orbax.Save(t.Context(), ck, map[string]any{"a": 1}); err != nil {
			t.Fatal(err)
		}
		for hint, args := range map[string][]string{
			"did you mean ":                {"verify", ck + "x"},
			"give the checkpoint's path: ": {"cat", filepath.Join(ck, "state", "no"), "a"},
		} {
			var out bytes.Buffer
			Run(t.Context(), args, Config{Out: &out, Err: &out})
			if !strings.Contains(out.String(), "\nhint: "+hint+`"`) || strings.Contains(out.String(), "\nOK  forged") {
				t.Errorf("orbax %q: %q, want a hint that quotes the path", args, &out)
			}
		}
	}
}
