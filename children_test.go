package orbax_test

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/internal/orbaxtest"
	"github.com/go-orbax/orbax/internal/testenv"
)

// saveFresh returns a child that saves to path-1, path-2 and so on.
func saveFresh(options ...orbax.SaveOption) func(path string) error {
	return func(path string) error {
		for version := 1; ; version++ {
			if err := orbax.Save(context.Background(), fmt.Sprintf("%s-%d", path, version), crashState(version), options...); err != nil {
				return err
			}
			fmt.Println("saved", version)
		}
	}
}

// children are what a child process can do with a path; it ends by itself or
// is killed.
var children = map[string]func(path string) error{
	"fresh":  saveFresh(),
	"marker": saveFresh(byMarker),
	"overwrite": func(path string) error {
		for version := 2; ; version++ {
			if err := orbax.Save(context.Background(), path, crashState(version), orbax.Overwrite()); err != nil {
				return err
			}
			fmt.Println("saved", version)
		}
	},
	"hold": func(path string) error {
		if _, _, err := hold(context.Background(), path); err != nil {
			return err
		}
		fmt.Println("saved", 0)
		time.Sleep(time.Hour)
		return nil
	},
	"exit": func(path string) error {
		_, _, err := hold(context.Background(), path)
		return err
	},
}

// TestCrashChild is the child process.
func TestCrashChild(t *testing.T) {
	mode, path, ok := testenv.Child()
	if !ok {
		t.Skip("only for the tests of crashes")
	}
	if err := children[mode](path); err != nil {
		t.Fatal(err)
	}
}

// child is a process that runs one of children.
type child struct {
	*orbaxtest.Process
	saved   atomic.Int64  // the last version that it says it has saved
	started chan struct{} // closed when it has said so once, or has ended
	ended   chan struct{} // closed when it has ended
}

func startChild(t *testing.T, mode, path string) *child {
	t.Helper()
	c := &child{Process: orbaxtest.StartChild(t, "TestCrashChild", mode, path), started: make(chan struct{}), ended: make(chan struct{})}
	go func() {
		defer close(c.ended)
		start := sync.OnceFunc(func() { close(c.started) })
		defer start()
		for line := range c.Lines {
			if n, ok := strings.CutPrefix(line, "saved "); ok {
				version, _ := strconv.Atoi(n)
				c.saved.Store(int64(version))
				start()
			} else {
				t.Log("child: ", line)
			}
		}
	}()
	return c
}

// wait returns the exit code of a child that ends by itself.
func (c *child) wait() int {
	<-c.ended
	return c.Wait()
}

func (c *child) kill(t *testing.T) {
	t.Helper()
	c.Kill(t)
	<-c.ended
}
