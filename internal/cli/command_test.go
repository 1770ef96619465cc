package cli

import (
	"os/exec"
	"strings"
	"testing"
)

// TestCommandsCanBePasted gives the words of command lines to a shell.
func TestCommandsCanBePasted(t *testing.T) {
	shell, err := exec.LookPath("sh")
	if err != nil {
		t.Skip(err)
	}
	for _, word := range []string{"", "/ckpt/step_1", "c d", "a'b", `a"b`, "$HOME", "`id`", "~", "a;b", "*", "größe", `a\b`, "#", "--name=x", "x&", "!!", "{a,b}"} {
		line := strings.Trim(command("rm", word), "`")
		if word == "`id`" {
			line = "orbax rm '`id`'"
			if got := command("rm", word); got != "`"+line+"`" {
				t.Errorf("%s", got)
			}
		}
		out, err := exec.Command(shell, "-c", "orbax() { printf '%s|' \"$@\"; }; "+line).Output()
		if want := "rm|" + word + "|"; err != nil || string(out) != want {
			t.Errorf("%s gives %q, %v; want %q", line, out, err, want)
		}
	}
	if got, want := command("rm", "a\x1bb"), "`orbax rm \"a\\x1bb\"`"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}
