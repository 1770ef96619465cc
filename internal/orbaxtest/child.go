package orbaxtest

import (
	"bufio"
	"os"
	"os/exec"
	"testing"

	"github.com/go-orbax/orbax/internal/testenv"
)

// Child returns a command that runs one test of the test's own program, as a child process
// that is to do a job. That test learns the job from [testenv.Child].
func Child(t testing.TB, test, job, arg string) *exec.Cmd {
	t.Helper()
	exe, err := os.Executable()
	Must(t, err)
	cmd := exec.Command(exe, "-test.run=^"+test+"$")
	testenv.SetChild(cmd, job, arg)
	return cmd
}

// Process is a child process that has been started.
type Process struct {
	*exec.Cmd
	// Lines are what the process prints. It is closed when the process has ended.
	Lines <-chan string
	ended chan struct{}
}

// StartChild starts the [Child]. It is killed when the test ends, at the latest.
func StartChild(t testing.TB, test, job, arg string) *Process {
	t.Helper()
	cmd := Child(t, test, job, arg)
	out, err := cmd.StdoutPipe()
	cmd.Stderr = cmd.Stdout
	if err == nil {
		err = cmd.Start()
	}
	Must(t, err)
	t.Cleanup(func() { cmd.Process.Kill() })
	lines := make(chan string, 1<<16) // enough for those who wait before they read
	p := &Process{cmd, lines, make(chan struct{})}
	go func() {
		defer close(p.ended)
		defer close(lines)
		for scan := bufio.NewScanner(out); scan.Scan(); {
			lines <- scan.Text()
		}
	}()
	return p
}

// Wait waits until the process ends, and returns its exit code: -1 if it was killed.
func (p *Process) Wait() int {
	<-p.ended
	p.Cmd.Wait()
	return p.ProcessState.ExitCode()
}

// Kill kills the process. It fails the test if the process had ended by itself.
func (p *Process) Kill(t testing.TB) {
	t.Helper()
	p.Process.Kill()
	if code := p.Wait(); code >= 0 {
		t.Errorf("the child ended with exit code %d before it was killed", code)
	}
}
