package training

import "time"

// Checkpoint is a step of a run: what a listing tells of it.
type Checkpoint struct {
	Step    int
	Path    string
	Time    time.Time
	Metrics any
	Err     error
}
