package servers

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// S3Key and S3Secret are the credentials of [S3].
const (
	S3Key    = "orbaxtestkey"
	S3Secret = "orbaxtestsecret0123"
)

// S3 is versitygw, a server of the API of S3 over a directory, whose file system must have
// extended attributes. It has no bucket at first.
var S3 = &Server{
	Command: func(t testing.TB, addr, data string) *exec.Cmd {
		files := filepath.Join(data, "files")
		if err := os.Mkdir(files, 0o755); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(versitygw.Program(t, "versitygw"), "--port", addr, "--quiet", "--health", "/healthz", "posix", files)
		cmd.Env = append(os.Environ(), "ROOT_ACCESS_KEY="+S3Key, "ROOT_SECRET_KEY="+S3Secret)
		cmd.Dir = data
		return cmd
	},
	Ready: func(ctx context.Context, addr string) error {
		return answers(ctx, "http://"+addr+"/healthz", "VERSITYGW")
	},
}

var versitygw = GoTool("versitygw", "github.com/versity/versitygw/cmd/versitygw", "v1.8.0")

// answers returns nil if a server answers a GET of url, whatever the status. Its header says
// that it is name: another program may have taken the port before this server could.
func answers(ctx context.Context, url, name string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	r, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	if server := r.Header.Get("Server"); !strings.HasPrefix(server, name) {
		return errors.Join(fmt.Errorf("the server at %s is %q, not %s", url, server, name), r.Body.Close())
	}
	return r.Body.Close()
}
