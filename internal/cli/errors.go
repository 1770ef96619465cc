package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/layout"
	"github.com/go-orbax/orbax/storage"
)

// The exit statuses, as the help of every verb lists them.
const (
	exitOK          = 0
	exitDamaged     = 1
	exitDiffer      = 1 // of diff
	exitFailed      = 2
	exitInterrupted = 130
)

var errInterrupted = errors.New("interrupted")

// errDamaged ends a verify that has told already what is damaged, errUnchecked
// one that has told what it could not check.
var (
	errDamaged   = errors.New("damaged")
	errUnchecked = errors.New("not checked")
)

// usageError is a command line that makes no sense.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// hinted is an error with advice on what to do.
type hinted struct {
	error
	hint string
}

func (e hinted) Unwrap() error { return e.error }

func withHint(err error, format string, args ...any) error {
	return hinted{err, fmt.Sprintf(format, args...)}
}

func exitStatus(err error) int {
	var t trouble
	switch {
	case errors.Is(err, errInterrupted):
		return exitInterrupted
	case err == errDiffer:
		return exitDiffer
	case errors.As(err, &t):
		return exitFailed
	case damaged(err):
		return exitDamaged
	}
	return exitFailed
}

// damaged reports whether err says that data is not what was written, or not
// all of it.
func damaged(err error) bool {
	return errors.Is(err, errDamaged) || errors.Is(err, orbax.ErrCorrupt) || errors.Is(err, orbax.ErrIncomplete)
}

// report tells a person what went wrong.
func report(w io.Writer, command string, err error) {
	if err == errDamaged || err == errUnchecked || err == errDiffer {
		return
	}
	fmt.Fprintf(w, "%s: %s\n", command, describe(err))
	if hint := hintOf(err); hint != "" {
		fmt.Fprintf(w, "hint: %s\n", hint)
	}
	var usage usageError
	if errors.As(err, &usage) {
		fmt.Fprintf(w, "Run '%s --help' for usage.\n", command)
	}
}

// describe returns the message of err: the path that it is about, then what is
// wrong with it, one line for each problem if there are several.
func describe(err error) string {
	prefix := ""
	var lib *orbax.Error
	if errors.As(err, &lib) {
		prefix = fault.Printable(lib.Path) + ": "
	}
	lines := problems(err)
	if len(lines) == 1 {
		return prefix + strings.TrimPrefix(lines[0], prefix)
	}
	return fmt.Sprintf("%s%d problems:\n  %s", prefix, len(lines), strings.Join(lines, "\n  "))
}

// problems returns the messages of err's problems, each once, without the path of the
// checkpoint and without advice for programs; see hintOf.
func problems(err error) []string {
	var lib *orbax.Error
	if !errors.As(err, &lib) {
		return []string{fault.Printable(err.Error())}
	}
	var lines []string
	for _, p := range lib.Problems() {
		lines = append(lines, fault.Printable(fault.WithoutAdvice(p)))
	}
	return unique(lines)
}

// hintOf returns what can be done about err, or "".
func hintOf(err error) string {
	var h hinted
	var lib *orbax.Error
	switch {
	case errors.As(err, &h):
		return h.hint
	case !errors.As(err, &lib):
		return ""
	case errors.Is(err, orbax.ErrUnsupported) && isURL(lib.Path):
		if _, diskErr := onDisk(lib.Path); errors.Is(diskErr, orbax.ErrUnsupported) {
			return noStoreHint
		}
	case errors.Is(err, fault.ErrNoMatch):
		return leavesHint
	case errors.Is(err, orbax.ErrLink):
		return "--follow-links reads what links lead to; give it for a checkpoint that you trust"
	case fault.RemedyOf(err) == fault.FillMissing:
		return "--fill-missing takes missing chunks for the fill value, as zarr does"
	case errors.Is(err, fault.ErrUnfinished):
		return "`orbax rm " + shown(lib.Path) + "` removes it"
	case errors.Is(err, orbax.ErrIncomplete) && strings.Contains(filepath.Base(lib.Path), storage.TempMarker):
		return "the save into it is still running, or was killed; a complete checkpoint has the name without that ending"
	case errors.Is(err, orbax.ErrIncomplete) && strings.HasSuffix(lib.Path, layout.PartialSuffix) && lib.Op == "delete":
		return "`orbax partial abort " + lib.Path + "` removes it with all its parts"
	case errors.Is(err, orbax.ErrIncomplete) && strings.HasSuffix(lib.Path, layout.PartialSuffix):
		return "`orbax partial finalize " + lib.Path + "` makes the checkpoint of its parts"
	case errors.Is(err, orbax.ErrNotExist) && !damaged(err):
		name, diskErr := onDisk(lib.Path)
		if diskErr != nil {
			return ""
		}
		if _, statErr := os.Stat(name); statErr == nil {
			return "" // it is something in it that is not there
		}
		if info, statErr := os.Stat(name + layout.PartialSuffix); statErr == nil && info.IsDir() {
			return "`orbax partial finalize " + lib.Path + "` makes the checkpoint of its session's parts"
		}
		if near := closestPath(name, mayBeCheckpoint); near != "" && lib.Op != "delete" {
			return "did you mean " + near + "?"
		}
		return besideHint(name, lib.Op == "delete")
	case errors.Is(err, orbax.ErrInvalidCheckpoint) && lib.Op != "delete" && lib.Op != "save":
		if name, diskErr := onDisk(lib.Path); diskErr == nil {
			return cmp.Or(newestHint(name), insideHint(lib.Path, name))
		}
	}
	return ""
}

// openOptions returns the options by which the flags of the command line open a
// checkpoint.
func openOptions(ctx context.Context) []orbax.OpenOption {
	if ctx.Value(followLinks{}) == nil {
		return nil
	}
	return []orbax.OpenOption{orbax.FollowLinks()}
}

// openCheckpoint opens a checkpoint for reading. Its errors speak of the
// command line, not of the library.
func openCheckpoint(ctx context.Context, path string) (*orbax.Checkpoint, error) {
	ck, err := orbax.Open(ctx, path, openOptions(ctx)...)
	missing := errors.Is(err, orbax.ErrNotExist)
	if !missing && !errors.Is(err, orbax.ErrInvalidCheckpoint) {
		return ck, err
	}
	if dir := enclosing(ctx, path); dir != "" {
		if !missing {
			err = fmt.Errorf("%s: it is inside of the checkpoint %s", path, dir)
		}
		if inner, absErr := filepath.Abs(path); absErr == nil && inner == filepath.Join(dir, layout.MetricsName) {
			return nil, withHint(err, "`orbax cat %s %s` prints the metrics", dir, layout.MetricsName)
		}
		return nil, withHint(err, "give the checkpoint's path: %s", dir)
	}
	return nil, err
}

// orbaxMarks are files by which the checkpoints of Orbax are told from stores of
// arrays of others, which any directory above may seem to be.
var orbaxMarks = []string{"_CHECKPOINT_METADATA", "_METADATA"}

// enclosing returns the checkpoint of Orbax that path is inside of, at any depth,
// or "".
func enclosing(ctx context.Context, path string) string {
	inner, err := onDisk(path)
	if err == nil {
		inner, err = filepath.Abs(inner)
	}
	if err != nil {
		return ""
	}
	for dir := filepath.Dir(inner); dir != inner; inner, dir = dir, filepath.Dir(dir) {
		for _, mark := range orbaxMarks {
			if _, err := os.Stat(filepath.Join(dir, mark)); err != nil {
				continue
			}
			if ok, _ := orbax.IsCheckpoint(ctx, dir); ok {
				return dir
			}
		}
	}
	return ""
}
