package object

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/go-orbax/orbax/storage"
)

// record is the contents of a claim: an object beside a directory whose maker is the only
// one who may change the directory. Its maker renews it, which gives it another version.
// A record that was not renewed for long is that of a dead writer, and says what the next
// one has to undo or to finish.
type record struct {
	Writer string        `json:"writer"`          // 16 hexadecimal digits
	Owner  string        `json:"owner,omitempty"` // for people
	Lease  time.Duration `json:"lease_ns"`
	Begun  time.Time     `json:"begun,omitzero"` // when Writer began, by its own clock, for people
	Beat   int           `json:"beat"`           // counts the writes of the claim, so that each has other bytes
	State  state         `json:"state"`
	// Entry, if not "", is the entry of the directory in which Writer adds objects.
	Entry string `json:"entry,omitempty"`
	// Since is when Writer began, by the clock of the service. Older objects are not its own.
	Since time.Time `json:"since,omitzero"`
	// Change is what is to be done in the state changing.
	Change *change `json:"change,omitempty"`
	// Undo is the record of a dead writer whose work this one undoes or finishes.
	Undo *record `json:"undo,omitempty"`
}

// state is what the maker of a claim does.
type state string

const (
	preparing  state = "preparing"  // nothing has been changed
	writing    state = "writing"    // objects are added; all of them go if the writer dies
	changing   state = "changing"   // the change is finished whatever happens
	recovering state = "recovering" // Undo is undone or finished
)

// change is the change of a directory that was there before.
type change struct {
	Marker Ref `json:"marker"` // the old marker, which goes first; no Version: there is none
	// From is the new marker in the temporary directory, which comes last, and Writer its
	// maker; no Key: there is none.
	From   Ref    `json:"from"`
	Writer string `json:"writer,omitempty"`
	steps
	// List is the object that has the steps, if they are many. A claim is written often.
	List string `json:"list,omitempty"`
}

// steps are what is done between the removal of the old marker and the making of the new.
type steps struct {
	Copies []copied `json:"copies,omitempty"` // from the temporary directory
	Remove []Ref    `json:"remove,omitempty"`
}

type copied struct {
	From Ref    `json:"from"`
	To   string `json:"to"`
	Was  string `json:"was,omitempty"` // the version that is replaced; "": none
	Size int64  `json:"size"`
}

// manySteps is the number of steps from which on they have an object of their own.
const manySteps = 100

// claimDir returns the directory of the claim of a directory, which also has what the
// writer must keep apart from the directory. It has the name of a temporary directory, so
// that everybody ignores it.
func claimDir(dir string) string {
	return dir + storage.TempMarker + "-" + hexOf(sha256.Sum256([]byte("claim of "+dir)))
}

// claimed returns the directory whose claimDir has the name.
func claimed(name string) (dir string, ok bool) {
	at := strings.LastIndex(name, storage.TempMarker)
	if at <= 0 {
		return "", false
	}
	return name[:at], claimDir(name[:at]) == name
}

// claimName is the name of a claim in its directory. No Writer has it.
const claimName = "/claim"

func claimKey(dir string) string { return claimDir(dir) + claimName }

// isClaim reports whether a key is that of a claim.
func isClaim(key string) bool {
	dir, ok := strings.CutSuffix(key, claimName)
	if ok {
		_, ok = claimed(dir)
	}
	return ok
}

// tempKey returns the directory of what a writer must keep apart, without a slash at its end.
func tempKey(dir, writer string) string { return claimDir(dir) + "/" + writer }

// hexOf returns 16 hexadecimal digits, one of them a letter, as the names of temporary
// directories have them.
func hexOf(b [32]byte) string { return "a" + hex.EncodeToString(b[:8])[1:] }

func newWriter() string {
	var b [32]byte
	rand.Read(b[:]) // does not fail
	return hexOf(b)
}

func isWriter(s string) bool { return len(s) == 16 && isHex(s) }

func isHex(s string) bool { return strings.Trim(s, "0123456789abcdef") == "" }

// owner describes this process.
var owner = sync.OnceValue(func() string {
	host, _ := os.Hostname()
	return fmt.Sprintf("process %d on %s", os.Getpid(), host)
})

// lease returns the lease, or a long one if the record is damaged.
func (r *record) lease() time.Duration {
	if r.Lease <= 0 || r.Lease > 24*time.Hour {
		return time.Minute
	}
	return r.Lease
}

// patience is how long a claim counts after its last renewal.
func (r *record) patience() time.Duration { return r.lease()*3/2 + time.Second }

// window is how long a writer relies on the last request that found its claim intact,
// before it makes something new.
func (r *record) window() time.Duration { return min(time.Second, r.lease()/30) }

// valid reports whether all that a record of the claim of dir names belongs to the writers
// of dir.
func (r *record) valid(dir string) bool {
	if !isWriter(r.Writer) || r.Undo != nil && !r.Undo.valid(dir) || r.Entry != "" && !isEntry(r.Entry) {
		return false
	}
	ch := r.Change
	if ch == nil {
		return r.State != changing && (r.State != recovering || r.Undo != nil)
	}
	makes := ch.From.Key != "" || len(ch.Copies) > 0
	if makes && !isWriter(ch.Writer) || ch.From.Key != "" && !isBelow(claimDir(dir), ch.From.Key) || ch.Marker.Key != "" && !isBelow(dir, ch.Marker.Key) {
		return false
	}
	return (ch.List == "" || isBelow(claimDir(dir), ch.List)) && ch.steps.valid(dir)
}

func (s steps) valid(dir string) bool {
	for _, c := range s.Copies {
		if !isBelow(claimDir(dir), c.From.Key) || !isBelow(dir, c.To) {
			return false
		}
	}
	for _, r := range s.Remove {
		if !isBelow(dir, r.Key) {
			return false
		}
	}
	return true
}

// isEntry reports whether name is that of an entry of a directory.
func isEntry(name string) bool {
	return fs.ValidPath(name) && name != "." && !strings.Contains(name, "/")
}

func isBelow(dir, key string) bool { return strings.HasPrefix(key, dir+"/") }

// held is a claim as it was read.
type held struct {
	record
	info Info
}

// left returns how long the claim counts unless it is renewed.
func (h *held) left() time.Duration { return h.info.Modified.Add(h.patience()).Sub(h.info.Now) }

// maxClaim is the size up to which a claim is read. A change of a hundred thousand files
// is some tens of megabytes.
const maxClaim = 256 << 20

// readClaim reads the claim of a directory. One that is not valid has an empty record.
func (s *Store) readClaim(ctx context.Context, dir string) (*held, error) {
	text, info, err := s.readAll(ctx, claimKey(dir))
	if err != nil {
		return nil, err
	}
	h := &held{info: info}
	if json.Unmarshal(text, &h.record) != nil || !h.valid(dir) {
		h.record = record{}
	}
	return h, nil
}

// readAll reads an object. Of one that is too large it returns the beginning.
func (s *Store) readAll(ctx context.Context, key string) ([]byte, Info, error) {
	text := make([]byte, headBytes)
	n, info, err := s.get(ctx, key, "", [][]byte{text}, 0)
	if err == nil && info.Size > int64(n) && info.Size <= maxClaim {
		text = make([]byte, info.Size)
		n, info, err = s.get(ctx, key, info.Version, [][]byte{text}, 0)
	}
	return text[:n], info, err
}
