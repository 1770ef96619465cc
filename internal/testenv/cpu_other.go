//go:build !unix

package testenv

import "time"

// CPUTime returns the CPU time that this operating-system process has used, or 0 where that
// is not known.
func CPUTime() time.Duration { return 0 }
