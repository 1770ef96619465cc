package servers

import (
	"context"
	"encoding/base64"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// AzureAccount is the account of [Azure], and AzureKey its key.
const AzureAccount = "orbaxtest"

var AzureKey = base64.StdEncoding.EncodeToString([]byte(strings.Repeat("an account key for tests, ", 4)))

// Azure is azurite, an emulator of Azure Blob Storage. Its service is
// http://ADDRESS/orbaxtest. It has no container at first.
var Azure = &Server{
	Command: func(t testing.TB, addr, data string) *exec.Cmd {
		script := filepath.Join(azurite.Dir(t), "node_modules", "azurite", "dist", "src", "blob", "main.js")
		host, port, _ := strings.Cut(addr, ":")
		// It checks the versions of the interface that it knows, and the client may be newer.
		cmd := exec.Command("node", script, "--blobHost", host, "--blobPort", port, "--location", data,
			"--silent", "--skipApiVersionCheck", "--disableTelemetry")
		cmd.Env = append(os.Environ(), "AZURITE_ACCOUNTS="+AzureAccount+":"+AzureKey)
		cmd.Dir = data
		return cmd
	},
	Ready: func(ctx context.Context, addr string) error { return answers(ctx, "http://"+addr) },
}

var azurite = NpmTool("azurite", "3.37.0")
