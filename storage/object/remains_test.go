package object_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/testenv"
	"github.com/go-orbax/orbax/storage"
	"github.com/go-orbax/orbax/storage/object"
)

func put(t *testing.T, s *service, key, text string) {
	t.Helper()
	_, err := s.Bucket.Put(t.Context(), key, [][]byte{[]byte(text)}, object.PutOptions{})
	must(t, err)
}

// A claim that is damaged, or names what is not of its directory, makes nobody remove
// anything, and keeps the directory from others no longer than a claim of a dead writer.
func TestDamagedClaims(t *testing.T) {
	temp := object.ClaimDir(ck)
	id := "a123456789abcdef"
	other := object.Ref{Key: "run/other/file", Version: ""}
	changeOf := func(change map[string]any) map[string]any {
		return map[string]any{"writer": id, "lease_ns": time.Second, "state": "changing", "change": change}
	}
	claims := map[string]any{
		"no JSON":       nil,
		"empty":         map[string]any{},
		"a list":        []int{1},
		"no writer":     map[string]any{"state": "writing"},
		"a path":        map[string]any{"writer": "../../run/other", "state": "writing", "lease_ns": time.Second},
		"a path of 16":  map[string]any{"writer": "/../../run/other", "state": "writing", "lease_ns": time.Second},
		"no change":     map[string]any{"writer": id, "state": "changing"},
		"nothing to do": map[string]any{"writer": id, "state": "recovering"},
		"endless lease": map[string]any{"writer": id, "state": "writing", "lease_ns": int64(1) << 62},
		"entry":         map[string]any{"writer": id, "state": "writing", "entry": "../other"},
		"removes":       changeOf(map[string]any{"remove": []object.Ref{other}}),
		"its own marker": changeOf(map[string]any{"marker": object.Ref{Key: "run/other/file", Version: "1"},
			"from": object.Ref{Key: temp + "/x"}, "writer": id}),
		"copies to":              changeOf(map[string]any{"copies": []any{map[string]any{"from": object.Ref{Key: temp + "/x"}, "to": other.Key}}, "writer": id}),
		"copies from":            changeOf(map[string]any{"copies": []any{map[string]any{"from": other, "to": ck + "/doc"}}, "writer": id}),
		"no maker":               changeOf(map[string]any{"copies": []any{map[string]any{"from": object.Ref{Key: temp + "/x"}, "to": ck + "/doc"}}}),
		"a list elsewhere":       changeOf(map[string]any{"list": other.Key, "writer": id}),
		"a list that is missing": changeOf(map[string]any{"list": temp + "/none", "writer": id}),
		"a list that is damaged": changeOf(map[string]any{"list": temp + "/damaged", "writer": id}),
		"new files that are gone": changeOf(map[string]any{"from": object.Ref{Key: temp + "/gone"}, "writer": id,
			"copies": []any{map[string]any{"from": object.Ref{Key: temp + "/gone", Version: "5"}, "to": ck + "/new"}}}),
		"another that undoes": map[string]any{"writer": id, "state": "recovering", "undo": changeOf(map[string]any{"remove": []object.Ref{other}})},
	}
	var group sync.WaitGroup
	defer group.Wait() // they wait more than they work
	for name, claim := range claims {
		group.Go(func() {
			s := newService(false)
			store := object.New(newClient(s, nil), options)
			must(t, save(t.Context(), store, ck, oldFiles, nil))
			put(t, s, other.Key, "other")
			put(t, s, temp+"/damaged", "{")
			text, err := json.Marshal(claim)
			must(t, err)
			if claim == nil {
				text = []byte("{\"writer\":")
			}
			put(t, s, object.ClaimKey(ck), string(text))
			if err := save(t.Context(), store, ck, newFiles, everything(s)); !errors.Is(err, fault.ErrBusy) {
				t.Errorf("%s: a save while the claim is young: %v", name, err)
			}
			if left, err := store.Left(t.Context(), ck); err != nil || len(left) > 0 {
				t.Errorf("%s: Left while the claim is young: %q, %v", name, left, err)
			}
			s.wait(10 * time.Minute)
			if left, err := store.Left(t.Context(), ck); err != nil || len(left) != 1 {
				t.Errorf("%s: Left: %q, %v", name, left, err)
			}
			must(t, save(t.Context(), store, ck, newFiles, everything(s)))
			if got := contents(s, ck); !maps.Equal(got, newFiles) {
				t.Errorf("%s: there are %q", name, slices.Sorted(maps.Keys(got)))
			}
			if want := append(keysOf(ck, newFiles), other.Key); !slices.Equal(s.Keys(), want) || read(s, other.Key) != "other" {
				t.Errorf("%s: there are %q, want %q", name, s.Keys(), want)
			}
		})
	}
}

// A ticket that was changed is refused.
func TestDamagedTickets(t *testing.T) {
	s := newService(false)
	store := object.New(s, options)
	g, err := store.Begin(t.Context(), ck, storage.BeginOptions{Marker: marker})
	must(t, err)
	defer g.Abort()
	coded := strings.TrimPrefix(g.Ticket(), "object-store:")
	text, err := base64.RawURLEncoding.DecodeString(coded)
	must(t, err)
	for _, change := range []map[string]any{
		{"dir": "a/../b"}, {"dir": ""}, {"dir": "/run"}, {"writer": "../../run/other/"}, {"writer": ""}, {"writer": "A123456789ABCDEF"},
		{"marker": "a/b"}, {"marker": ""}, {"marker": ".."}, {"entry": ".."}, {"entry": "a/b"}, {"dir": 5},
	} {
		var fields map[string]any
		must(t, json.Unmarshal(text, &fields))
		maps.Copy(fields, change)
		changed, err := json.Marshal(fields)
		must(t, err)
		ticket := "object-store:" + base64.RawURLEncoding.EncodeToString(changed)
		_, jerr := store.Join(t.Context(), ticket)
		if rerr := store.Revoke(t.Context(), ticket); !errors.Is(jerr, fault.ErrReservedName) || !errors.Is(rerr, fault.ErrReservedName) {
			t.Errorf("%v: Join: %v, Revoke: %v", change, jerr, rerr)
		}
	}
}

// Names have any characters that a key may have.
func TestOddNames(t *testing.T) {
	files := map[string]string{marker: "x"}
	for i, name := range []string{
		"keep", "claim", "new", "change", "a b", "a+b", "a%2Fb", "a?b#c", "ä/ö", "日本", "-", "~", "...", "a\\b", "'\"", "\x01", "a\nb", "d/" + marker,
		"deep/" + strings.Repeat("x/", 40) + "x", "x.orbax-checkpoint-tmp", "x.orbax-checkpoint-tmp-0123456789abcdef/claim", strings.Repeat("n", 250), "&<>;=,", " ", "a ",
	} {
		files[name] = fmt.Sprint(i) + long(name[:min(len(name), 9)])
	}
	for _, dir := range []string{ck, "a b/c?d#e", "日本", "x", "%2e%2e/y", "a.orbax-checkpoint-tmp/5"} {
		s := newService(false)
		store := object.New(s, options)
		must(t, save(t.Context(), store, dir, files, nil))
		if got := contents(s, dir); !maps.Equal(got, files) || len(s.Keys()) != len(files) {
			t.Errorf("%s: there are %q", dir, s.Keys())
		}
		must(t, save(t.Context(), store, dir, files, everything(s)))
		if got := contents(s, dir); !maps.Equal(got, files) || len(s.Keys()) != len(files) {
			t.Errorf("%s, replaced: there are %q", dir, s.Keys())
		}
		e, err := store.Edit(t.Context(), dir)
		must(t, err)
		must(t, e.RemoveAll(t.Context(), everything(s)))
		must(t, e.Close())
		if len(s.Keys()) > 0 {
			t.Errorf("%s, removed: there are %q", dir, s.Keys())
		}
	}
}

// Who removes or replaces a directory ends the saves of directories in it, at whatever
// request they are stopped.
func TestParentGoes(t *testing.T) {
	for _, how := range []string{"removed", "replaced"} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			for n := 1; ; n++ {
				for _, a := range []act{pauses, delayed} {
					s := newService(false)
					outer := object.New(newClient(s, nil), options)
					must(t, save(t.Context(), outer, "run", map[string]string{marker: "x", "doc": "x"}, nil))
					inner := newClient(s, once(n, a))
					done := make(chan error, 1)
					go func() { done <- save(context.Background(), object.New(inner, options), ck, newFiles, nil) }()
					select {
					case <-inner.stopped:
					case err := <-done:
						must(t, err)
						return
					}
					committed := false
					for _, key := range s.Keys() {
						committed = committed || key == ck+"/"+marker
					}
					want := map[string]string{}
					if how == "removed" {
						e, err := outer.Edit(t.Context(), "run")
						must(t, err)
						must(t, e.RemoveAll(t.Context(), everything(s)))
						must(t, e.Close())
					} else {
						want = map[string]string{marker: "y", "doc": "y"}
						must(t, save(t.Context(), outer, "run", want, everything(s)))
					}
					inner.resume()
					err := <-done
					left := contents(s, "run")
					if err == nil && n > 2 && !committed {
						t.Errorf("the save that stopped at request %d, %v, succeeds", n, a)
					}
					if n > 2 && !maps.Equal(left, want) || n > 2 && len(s.Keys()) != len(want) || s.Uploads() > 0 {
						_, log := inner.requests()
						t.Errorf("the save that stopped at request %d, %v, ends with %v and leaves %q and %d uploads\n%s", n, a, err, s.Keys(), s.Uploads(), strings.Join(log, "\n"))
					}
				}
			}
		})
	}
}

// A directory of very many files is replaced and removed, also after the death of the
// process that began it.
func TestManyFiles(t *testing.T) {
	many := testenv.Pick(100_000, 3_000)
	s := newService(false)
	o := options
	o.Lease = time.Minute
	was := map[string]string{marker: "old"}
	for i := range many {
		name := fmt.Sprintf("d/%d", i)
		was[name] = "old"
		put(t, s, ck+"/"+name, "old")
	}
	put(t, s, ck+"/"+marker, "old")
	for _, what := range []string{"replaced", "removed"} {
		c := newClient(s, func(n int, op, key string) act {
			if op == "delete" && strings.Contains(key, ck+"/d/") {
				return diesAfter
			}
			return succeeds
		})
		most := 0
		c.sees = func(key string, size int) {
			if key == object.ClaimKey(ck) {
				most = max(most, size)
			}
		}
		store := object.New(c, o)
		var err error
		if what == "replaced" {
			err = save(t.Context(), store, ck, map[string]string{marker: "new", "d/1": "new", "d/x": "new"}, everything(s))
		} else {
			for i := range many {
				put(t, s, fmt.Sprintf(ck+"/d/%d", i), "old")
			}
			e, eerr := store.Edit(t.Context(), ck)
			must(t, eerr)
			err = errors.Join(e.RemoveAll(t.Context(), everything(s)), e.Close())
		}
		if err == nil {
			t.Errorf("%s: the process has not died", what)
		}
		if most > 64<<10 {
			t.Errorf("%s: the claim has %d bytes", what, most)
		}
		s.wait(time.Hour)
		e, err := object.New(newClient(s, nil), o).Edit(t.Context(), ck)
		if err == nil {
			must(t, e.Close())
		} else if !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		var want []string
		if what == "replaced" {
			want = []string{ck + "/" + marker, ck + "/d/1", ck + "/d/x"}
		}
		if keys := s.Keys(); !slices.Equal(keys, want) {
			t.Errorf("%s: %d keys are there, such as %q", what, len(keys), keys[:min(5, len(keys))])
		}
	}
}
