package storage

import (
	"cmp"
	"fmt"
	"time"
)

// Work is what a writer does to a directory, or was doing when it died. Stores in which
// writers leave claims know it; see [Store].Work.
type Work struct {
	Task Task
	// Decided says that the work is finished whatever happens: by the writer, or by the next
	// Begin or Edit of the directory. Until then the directory may lack its marker. Work that
	// is not decided is undone if the writer dies.
	Decided bool
	Writer  string    // describes the process, for people; "" is unknown
	Dead    string    // describes the dead writer whose work Writer finishes or undoes; "" if there is none
	Since   time.Time // when the work began, by the clock of whoever began it; zero is unknown
	Claim   string    // the name of the claim in the store
	// Until is when the claim ends unless it is renewed, by the clock of the store, and Left
	// how long that is from now on. If Left is not positive, the writer has died. Otherwise
	// it may be alive, and Begin and Edit of the directory fail with ErrBusy.
	Until time.Time
	Left  time.Duration
}

// Task is the purpose of [Work].
type Task string

const (
	TaskUnknown Task = ""        // nothing has been changed yet
	TaskSave    Task = "save"    // a new directory is written
	TaskReplace Task = "replace" // the directory is exchanged for a new one
	TaskRemove  Task = "remove"  // the directory, or a part of it, is removed
)

// Alive reports whether the writer may be alive.
func (w *Work) Alive() bool { return w.Left > 0 }

// Publishes reports whether a new directory will be in its place, whatever happens.
func (w *Work) Publishes() bool { return w.Decided && w.Task != TaskRemove }

// String says who does what, since when, and whether the writer has died.
func (w *Work) String() string {
	if w.Alive() {
		return fmt.Sprintf("%s began%s to %s (its claim %s counts until %s, and longer if it is renewed)", w.who(), w.since(), w.what(), w.Claim, stamp(w.Until))
	}
	return fmt.Sprintf("%s began%s to %s, and has died (its claim %s ended at %s)", w.who(), w.since(), w.what(), w.Claim, stamp(w.Until))
}

// Recovered says what has become of the work of a writer that has died, after an [Edit]
// has finished or undone it.
func (w *Work) Recovered() string {
	verb := "undid"
	switch {
	case w.Decided:
		verb = "finished"
	case w.Task == TaskUnknown:
		return fmt.Sprintf("ended the claim that %s, which has died, had made%s", w.who(), w.since())
	}
	return fmt.Sprintf("%s what %s, which has died, had begun%s: to %s", verb, w.who(), w.since(), w.what())
}

func (w *Work) who() string {
	if w.Dead != "" {
		return fmt.Sprintf("%s, in the place of %s that has died,", cmp.Or(w.Writer, "a writer"), w.Dead)
	}
	return cmp.Or(w.Writer, "another writer")
}

func (w *Work) since() string {
	if w.Since.IsZero() {
		return ""
	}
	return " at " + stamp(w.Since)
}

func (w *Work) what() string {
	switch w.Task {
	case TaskSave:
		return "save to it"
	case TaskReplace:
		return "exchange it for a new checkpoint"
	case TaskRemove:
		return "remove it"
	}
	return "work on it"
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 MST") }
