// Command orbax is the command line github.com/go-orbax/orbax/cmd/orbax with the drivers of
// object stores: every path may also be the URL of a bucket.
//
//	orbax ls gs://bucket/run/step_100
//	orbax verify s3://bucket/run/step_100
//
// The documentation of that command describes the verbs, and docs/clouds.md the set-up of
// each cloud.
package main

import (
	"os"

	"github.com/go-orbax/orbax/internal/cli"
	_ "github.com/go-orbax/orbax/storage/cloud/azure"
	_ "github.com/go-orbax/orbax/storage/cloud/gcs"
	_ "github.com/go-orbax/orbax/storage/cloud/s3"
)

func main() { os.Exit(cli.Main()) }
