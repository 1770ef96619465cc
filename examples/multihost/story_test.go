package main

import (
	"bufio"
	"bytes"
	"io"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"
)

// TestMain lets the test binary be the example, and its workers.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "worker" {
		main()
		return
	}
	if os.Getenv(storyOf) != "" {
		os.Args = os.Args[:1]
		main()
		return
	}
	os.Exit(m.Run())
}

// storyOf is the variable that makes the test binary tell the story.
const storyOf = "ORBAX_MULTIHOST_STORY"

// place finds the directory of the checkpoints in the output.
var place = regexp.MustCompile(`checkpoints are in (\S+)`)

// The story ends well and leaves nothing.
func TestStory(t *testing.T) {
	var out bytes.Buffer
	err := tell(t.Context(), &out)
	t.Log(out.String())
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`wrote +1[34]\.\d MiB +1[34]\.\d MiB +1[34]\.\d MiB +1[34]\.\d MiB, together 5[67]\.\d MiB`, // of 56 MiB
		`read +3[23]\.\d MiB +3[23]\.\d MiB, together 6[45]\.\d MiB`,
		`ls: 1  2\.orbax-checkpoint-tmp-`,
		`process 0: .* process 2 is lost in phase written`,
		`process 1: .* process 2 is lost in phase written`,
		`process 3: .* process 2 is lost in phase written\n   \$ ls: 1\n`,
		`\$ ls: 1  2\n   step 2 is intact\n$`,
	} {
		if !regexp.MustCompile(want).MatchString(out.String()) {
			t.Errorf("the output lacks %s", want)
		}
	}
	if _, err := os.Stat(place.FindStringSubmatch(out.String())[1]); !os.IsNotExist(err) {
		t.Errorf("the checkpoints are left: %v", err)
	}
}

// If the example is interrupted, it removes everything. If it is killed, its workers end.
func TestEndsEarly(t *testing.T) {
	for _, c := range []struct {
		name  string
		at    string // the line after which it ends
		end   func(p *os.Process) error
		clean bool
	}{
		{"interrupted", "1.", func(p *os.Process) error { return p.Signal(os.Interrupt) }, true},
		{"interrupted while it waits", "   $ ls: 1  2.", func(p *os.Process) error { return p.Signal(os.Interrupt) }, true},
		{"killed", "   $ ls: 1  2.", func(p *os.Process) error { return p.Kill() }, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.clean && runtime.GOOS == "windows" {
				t.Skip("no signals between processes")
			}
			temp := t.TempDir()
			cmd := exec.Command(os.Args[0])
			cmd.Env = append(os.Environ(), storyOf+"=1", "TMPDIR="+temp, "TMP="+temp)
			stdout, err := cmd.StdoutPipe()
			must(t, err)
			stderr, workers, err := os.Pipe() // every process has its other end
			must(t, err)
			cmd.Stderr = workers
			must(t, cmd.Start())
			workers.Close()
			defer cmd.Process.Kill()
			scan, said := bufio.NewScanner(stdout), ""
			for scan.Scan() && !strings.HasPrefix(scan.Text(), c.at) {
				said += scan.Text() + "\n"
			}
			must(t, c.end(cmd.Process))
			ended := make(chan string, 1)
			go func() {
				text, _ := io.ReadAll(stderr)
				ended <- string(text)
			}()
			select {
			case text := <-ended:
				if c.clean && !strings.Contains(text, "interrupted") {
					t.Errorf("it says %q", text)
				}
			case <-time.After(30 * time.Second):
				t.Fatal("a process does not end")
			}
			if err := cmd.Wait(); err == nil {
				t.Errorf("it has not ended early: %s", said)
			}
			left, err := os.ReadDir(temp)
			must(t, err)
			if c.clean && len(left) > 0 {
				t.Errorf("it has left %v", left)
			}
		})
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
