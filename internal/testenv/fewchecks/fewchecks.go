// Package fewchecks makes a quick run of the tests try fewer random cases: a test
// imports it for that alone.
//
//	import _ "github.com/go-orbax/orbax/internal/testenv/fewchecks"
//
// A property of package rapid is tried 20 times, and in a long run as often as rapid
// does by itself, which is 100 times. The flag -rapid.checks overrides both.
package fewchecks

import (
	"flag"

	_ "pgregory.net/rapid" // registers the flag

	"github.com/go-orbax/orbax/internal/testenv"
)

func init() {
	if testenv.Long() {
		return
	}
	if err := flag.Set("rapid.checks", "20"); err != nil {
		panic(err) // of the tests alone, which would otherwise try too much
	}
}
