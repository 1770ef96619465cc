package training

import (
	"bytes"
	"compress/flate"
	"encoding/json"
	"errors"
	"math"
	"strconv"
	"time"

	"github.com/go-orbax/orbax/internal/fault"
	"github.com/go-orbax/orbax/internal/layout"
)

// listing is the list of steps on its way from rank 0 to the other processes of the group.
// It is compressed, because coordination services limit the size of a value.
type listing struct {
	// Version counts the listings. A process ignores one that is older than its own,
	// because the order of operations in the background is not known.
	Version int             `json:"version"`
	Steps   []listedStep    `json:"steps,omitempty"`
	Ignored []listedIgnored `json:"ignored,omitempty"`
	None    *listedError    `json:"none,omitempty"` // for LatestStep if there is no step
}

type listedStep struct {
	Step    int          `json:"step"`
	Entry   string       `json:"entry"` // its name in the root
	Time    time.Time    `json:"time"`
	Metrics []byte       `json:"metrics,omitempty"`
	Err     *listedError `json:"error,omitempty"`
}

type listedIgnored struct {
	Entry string      `json:"entry"`
	Err   listedError `json:"error"`
}

type listedError struct {
	Text    string   `json:"text"`
	Classes []string `json:"classes,omitempty"`
}

func listError(err error) *listedError {
	if err == nil {
		return nil
	}
	return &listedError{err.Error(), fault.ClassesOf(err)}
}

func (e *listedError) err() error {
	if e == nil {
		return nil
	}
	return fault.Remote(e.Text, e.Classes)
}

// listingJSON is a listing without its methods.
type listingJSON listing

// MarshalJSON returns the compressed JSON of the list.
func (l listing) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	w, err := flate.NewWriter(&b, flate.DefaultCompression)
	if err == nil {
		err = errors.Join(json.NewEncoder(w).Encode(listingJSON(l)), w.Close())
	}
	if err != nil {
		return nil, err
	}
	return json.Marshal(b.Bytes())
}

// UnmarshalJSON reads what MarshalJSON returns.
func (l *listing) UnmarshalJSON(doc []byte) error {
	var packed []byte
	if err := json.Unmarshal(doc, &packed); err != nil {
		return err
	}
	return json.NewDecoder(flate.NewReader(bytes.NewReader(packed))).Decode((*listingJSON)(l))
}

// listing returns the list for the other processes.
func (s *steps) listing() listing {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.version++
	l := listing{Version: s.version, None: listError(s.none)}
	for _, at := range s.listed {
		step := listedStep{Step: at.Step, Entry: s.entries[at.Path], Time: at.Time, Err: listError(at.Err)}
		if at.Metrics != nil {
			step.Metrics, _ = layout.EncodePython(withPoints(at.Metrics)) // it comes from such a document
		}
		l.Steps = append(l.Steps, step)
	}
	for _, i := range s.ignored {
		l.Ignored = append(l.Ignored, listedIgnored{s.entries[i.Path], *listError(i.Err)})
	}
	return l
}

// withPoints returns metrics in which whole floats have a point, so that they stay floats.
func withPoints(v any) any {
	switch v := v.(type) {
	case map[string]any:
		all := make(map[string]any, len(v))
		for name, value := range v {
			all[name] = withPoints(value)
		}
		return all
	case []any:
		all := make([]any, len(v))
		for i, value := range v {
			all[i] = withPoints(value)
		}
		return all
	case float64:
		if v == math.Trunc(v) && math.Abs(v) < 1e21 {
			return json.Number(strconv.FormatFloat(v, 'f', 1, 64))
		}
	}
	return v
}

// adopt makes the list of rank 0 that of this process, unless it has a newer one.
func (s *steps) adopt(l listing) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l.Version <= s.version {
		return
	}
	list := l.list(s.root)
	s.version, s.listed, s.none = l.Version, list.steps, list.none
	s.ignored = nil
	for _, i := range l.Ignored {
		s.ignored = append(s.ignored, Ignored{s.root.path(i.Entry), i.Err.err()})
	}
}

// list returns the steps.
func (l listing) list(root *root) stepList {
	list := stepList{none: l.None.err()}
	for _, at := range l.Steps {
		step := Step{Step: at.Step, Path: root.path(at.Entry), Time: at.Time, Err: at.Err.err()}
		if at.Metrics != nil {
			step.Metrics, _ = layout.DecodeJSON(at.Metrics)
		}
		list.steps = append(list.steps, step)
	}
	return list
}
