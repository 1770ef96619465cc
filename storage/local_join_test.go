package storage_test

import (
	"context"
	"errors"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/orbaxtest"
	"github.com/go-orbax/orbax/internal/testenv"
	"github.com/go-orbax/orbax/storage"
)

// stageKinds are the ways in which a stage is published at "ck".
func stageKinds() map[string]storage.BeginOptions {
	return map[string]storage.BeginOptions{
		"rename":  {},
		"replace": {Replace: storage.Everything},
		"into":    {Into: called("part")},
		"marker":  {Marker: "done"},
	}
}

// Another process writes to a stage, and its files are published with the rest.
func TestJoinedProcess(t *testing.T) {
	if _, ticket, ok := testenv.Child(); ok {
		j, err := storage.Local().Join(t.Context(), ticket)
		must(t, err)
		put(t, j, "d/child", "of the child")
		put(t, j, "child", "of the child")
		must(t, j.Close(t.Context()))
		return
	}
	for name, o := range stageKinds() {
		t.Run(name, func(t *testing.T) {
			top := t.TempDir()
			dir := filepath.Join(top, "ck")
			stage, err := beginWith(t, dir, o)
			must(t, err)
			put(t, stage, "d/parent", "of the parent")
			child := orbaxtest.Child(t, "TestJoinedProcess", "join", stage.Ticket())
			if out, err := child.CombinedOutput(); err != nil {
				t.Fatalf("the child: %v\n%s", err, out)
			}
			put(t, stage, "done", "")
			must(t, stage.Commit(t.Context()))
			if o.Into != nil {
				dir = filepath.Join(dir, "part")
			}
			if got, want := filesIn(t, dir), []string{"child", "d/child", "d/parent", "done"}; !slices.Equal(got, want) {
				t.Errorf("the checkpoint has %q, want %q", got, want)
			}
			if got, want := names(t, top), []string{"ck"}; !slices.Equal(got, want) {
				t.Errorf("left %q, want %q", got, want)
			}
		})
	}
}

// filesIn returns the names of the files below a directory, relative to it.
func filesIn(t *testing.T, dir string) (names []string) {
	t.Helper()
	for _, file := range filesOf(t, dir) {
		names = append(names, strings.TrimPrefix(file, filepath.ToSlash(dir)+"/"))
	}
	slices.Sort(names)
	return names
}

// When a stage is aborted, the files of all its writers are removed, also of writers that
// have not closed. A writer that goes on gets the error that the stage has ended.
func TestJoinedAbort(t *testing.T) {
	for name, o := range stageKinds() {
		t.Run(name, func(t *testing.T) {
			top := t.TempDir()
			stage, err := beginWith(t, filepath.Join(top, "ck"), o)
			must(t, err)
			put(t, stage, "d/first", "1")
			ticket := stage.Ticket()
			j, err := storage.Local().Join(t.Context(), ticket)
			must(t, err)
			put(t, j, "d/e/second", "2")
			put(t, j, "third", "3")
			must(t, stage.Abort())
			if got := names(t, top); len(got) > 0 {
				t.Errorf("left %q, want nothing", got)
			}
			_, createErr := j.Create(t.Context(), "d/late", 1)
			_, joinErr := storage.Local().Join(t.Context(), ticket)
			for what, err := range map[string]error{"Mkdir": j.Mkdir(t.Context(), "late"), "Create": createErr, "Close": j.Close(t.Context()), "Join": joinErr} {
				if !errors.Is(err, fault.ErrNotExist) {
					t.Errorf("%s after the end: %v, want ErrNotExist", what, err)
				}
			}
		})
	}
}

// A ticket is refused when the stage has been committed, even if the replaced directory
// now has the name of the temporary directory.
func TestJoinCommitted(t *testing.T) {
	for name, o := range stageKinds() {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "ck")
			stage, err := beginWith(t, dir, o)
			must(t, err)
			ticket := stage.Ticket()
			j, err := storage.Local().Join(t.Context(), ticket)
			must(t, err)
			put(t, stage, "done", "")
			must(t, stage.Commit(t.Context()))
			if err := j.Close(t.Context()); !errors.Is(err, fault.ErrNotExist) {
				t.Errorf("Close: %v, want ErrNotExist", err)
			}
			if _, err := storage.Local().Join(t.Context(), ticket); !errors.Is(err, fault.ErrNotExist) {
				t.Errorf("Join: %v, want ErrNotExist", err)
			}
		})
	}
}

// An open writer, and names that lead out of the stage, are refused for a joined writer
// as for the owner. Only the owner may write the marker.
func TestJoinedRefuses(t *testing.T) {
	stage, err := beginWith(t, filepath.Join(t.TempDir(), "ck"), storage.BeginOptions{Marker: "done"})
	must(t, err)
	j, err := storage.Local().Join(t.Context(), stage.Ticket())
	must(t, err)
	for _, name := range []string{"../x", "/x", "done"} {
		if _, err := j.Create(t.Context(), name, 1); !errors.Is(err, fault.ErrReservedName) {
			t.Errorf("Create %q: %v, want ErrReservedName", name, err)
		}
	}
	if _, err := j.Create(t.Context(), "d/open", 1); err != nil {
		t.Fatal(err)
	}
	if err := j.Close(t.Context()); err == nil {
		t.Error("closed with an open writer")
	}
	if err := j.Mkdir(t.Context(), "late"); err == nil {
		t.Error("written after Close")
	}
	ctx, cancel := context.WithCancel(t.Context())
	j, err = storage.Local().Join(t.Context(), stage.Ticket())
	must(t, err)
	put(t, j, "d/other", "1")
	cancel()
	if err := j.Close(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Close: %v, want that it was cancelled", err)
	}
}

// A ticket that somebody has made up leads nowhere but to a temporary directory beside
// its target whose writer lives.
func TestForgedTickets(t *testing.T) {
	top := filepath.ToSlash(t.TempDir())
	stage, err := beginWith(t, top+"/ck", storage.BeginOptions{})
	must(t, err)
	good := stage.Ticket()
	scheme, query, _ := strings.Cut(good, ":")
	forged := func(change func(v url.Values)) string {
		v, err := url.ParseQuery(query)
		must(t, err)
		change(v)
		return scheme + ":" + v.Encode()
	}
	must(t, os.Mkdir(top+"/secret", 0o777))
	dead := "ck" + storage.TempMarker + "-0123456789abcdef"
	must(t, os.Mkdir(top+"/"+dead, 0o777))
	for what, ticket := range map[string]string{
		"empty":             "",
		"not one":           "local-stage:%zz",
		"another scheme":    "mem-" + good,
		"an ordinary name":  forged(func(v url.Values) { v.Set("temp", "secret") }),
		"a path":            forged(func(v url.Values) { v.Set("temp", "../"+filepath.Base(top)+"/"+v.Get("temp")) }),
		"another target":    forged(func(v url.Values) { v.Set("target", top+"/secret") }),
		"an unclean target": forged(func(v url.Values) { v.Set("target", top+"/x/../ck") }),
		"a marker outside":  forged(func(v url.Values) { v.Set("marker", "../x") }),
	} {
		if _, err := storage.Local().Join(t.Context(), ticket); !errors.Is(err, fault.ErrReservedName) {
			t.Errorf("%s: %v, want ErrReservedName", what, err)
		}
	}
	ended := map[string]string{"a dead writer": forged(func(v url.Values) { v.Set("temp", dead) })}
	if !strings.HasPrefix(good, "local-stage:id=&") { // on systems that give directories numbers
		ended["another directory of the name"] = forged(func(v url.Values) { v.Set("id", "1") })
	}
	for what, ticket := range ended {
		if _, err := storage.Local().Join(t.Context(), ticket); !errors.Is(err, fault.ErrNotExist) {
			t.Errorf("%s: %v, want ErrNotExist", what, err)
		}
	}
	j, err := storage.Local().Join(t.Context(), good)
	must(t, err)
	must(t, j.Close(t.Context()))
}

// The files and directories of a joined writer are durable when it closes.
func TestJoinedOrder(t *testing.T) {
	t.Chdir(t.TempDir())
	r := &storage.Recorder{}
	stage, err := r.Store().Begin(t.Context(), "ck", storage.BeginOptions{})
	must(t, err)
	put(t, stage, "d/mine", "1")
	before := len(r.Ops())
	j, err := r.Store().Join(t.Context(), stage.Ticket())
	must(t, err)
	put(t, j, "d/e/theirs", "2")
	must(t, j.Close(t.Context()))
	var synced []string
	for _, op := range r.Ops()[before:] {
		if op.Kind == "sync" || op.Kind == "syncdir" {
			synced = append(synced, strings.TrimPrefix(filepath.ToSlash(op.Name), stage.Dir()+"/"))
		}
	}
	slices.Sort(synced)
	if want := []string{stage.Dir(), "d", "d/e", "d/e/theirs"}; !slices.Equal(synced, want) {
		t.Errorf("synced %q, want %q", synced, want)
	}
	must(t, stage.Commit(t.Context()))
}

// TestForgedTicketProcess checks that no ticket leads another process into a directory
// that is committed, though the forger knows everything that the ticket could name.
func TestForgedTicketProcess(t *testing.T) {
	if job, ticket, ok := testenv.Child(); ok {
		j, err := storage.Local().Join(t.Context(), ticket)
		if errors.Is(err, fault.ErrReservedName) && job == "changed" || errors.Is(err, fault.ErrNotExist) && job == "ended" {
			return
		}
		t.Errorf("Join: %v", err)
		if err == nil {
			put(t, j, "evil", "x")
			put(t, j, "d/evil", "x")
			must(t, j.Close(t.Context()))
		}
		return
	}
	replaces := storage.BeginOptions{Replace: storage.Everything}
	marked := storage.BeginOptions{Replace: storage.Everything, Marker: "done"}
	// with returns a ticket with other values, and with the identity of the target.
	with := func(t *testing.T, ticket, dir string, values ...string) string {
		scheme, query, _ := strings.Cut(ticket, ":")
		v, err := url.ParseQuery(query)
		must(t, err)
		v.Set("in", storage.TicketID(t, dir))
		for i := 0; i < len(values); i += 2 {
			v.Set(values[i], values[i+1])
		}
		return scheme + ":" + v.Encode()
	}
	for name, c := range map[string]struct {
		o     storage.BeginOptions
		job   string
		forge func(t *testing.T, ticket, dir string) string
	}{
		"a marker put in": {replaces, "changed", func(t *testing.T, ticket, dir string) string {
			return with(t, ticket, dir, "marker", "done")
		}},
		"the marker of an entry": {storage.BeginOptions{Into: called("part")}, "changed", func(t *testing.T, ticket, dir string) string {
			return with(t, ticket, dir, "marker", "done")
		}},
		"another marker": {marked, "changed", func(t *testing.T, ticket, dir string) string {
			return with(t, ticket, dir, "marker", "other")
		}},
		"no marker": {marked, "changed", func(t *testing.T, ticket, dir string) string {
			return with(t, ticket, dir, "marker", "")
		}},
		"a directory that has its marker": {marked, "ended", func(t *testing.T, ticket, dir string) string {
			must(t, os.WriteFile(dir+"/done", nil, 0o666))
			return ticket
		}},
		"a target that was replaced": {marked, "ended", func(t *testing.T, ticket, dir string) string {
			if storage.TicketID(t, dir) == "" {
				t.Skip("the system gives directories no numbers")
			}
			must(t, os.Rename(dir, dir+"-away"))
			must(t, os.Mkdir(dir, 0o777))
			return ticket
		}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.ToSlash(t.TempDir()) + "/ck"
			stage, err := beginWith(t, dir, storage.BeginOptions{})
			must(t, err)
			put(t, stage, "committed", "1")
			must(t, stage.Commit(t.Context()))
			stage, err = beginWith(t, dir, c.o)
			must(t, err)
			defer stage.Abort()
			child := orbaxtest.Child(t, "TestForgedTicketProcess", c.job, c.forge(t, stage.Ticket(), dir))
			if out, err := child.CombinedOutput(); err != nil {
				t.Errorf("the child: %v\n%s", err, out)
			}
			for _, file := range filesOf(t, filepath.Dir(dir)) {
				if strings.HasSuffix(file, "/evil") {
					t.Errorf("the ticket has led to %s", file)
				}
			}
		})
	}
}

// TestJoinedTargetReplaced checks that a writer that has joined notices that another
// directory has taken the place of the one that it writes to.
func TestJoinedTargetReplaced(t *testing.T) {
	dir := filepath.ToSlash(t.TempDir()) + "/ck"
	stage, err := beginWith(t, dir, storage.BeginOptions{Marker: "done"})
	must(t, err)
	defer stage.Abort()
	j, err := storage.Local().Join(t.Context(), stage.Ticket())
	must(t, err)
	put(t, j, "d/first", "1")
	if err := os.Rename(dir, dir+"-away"); err != nil {
		t.Skip(err) // Windows cannot rename a directory that is open
	}
	must(t, os.Mkdir(dir, 0o777))
	_, err = j.Create(t.Context(), "d/late", 1)
	for what, err := range map[string]error{"Create": err, "Mkdir": j.Mkdir(t.Context(), "late"), "Close": j.Close(t.Context())} {
		if !errors.Is(err, fault.ErrNotExist) {
			t.Errorf("%s: %v, want ErrNotExist", what, err)
		}
	}
}
