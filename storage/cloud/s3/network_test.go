package s3_test

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/internal/testenv"
	"github.com/go-orbax/orbax/storage/cloud/s3"
	"github.com/go-orbax/orbax/storage/object"
)

// badNetwork fails some requests, in all the ways that networks and services have.
type badNetwork struct {
	next http.RoundTripper

	mu     sync.Mutex
	random *rand.Rand
	faults map[string]int // how often there was each
	good   bool           // there are no faults
}

func (n *badNetwork) Do(r *http.Request) (*http.Response, error) {
	switch fault, at := n.choose(); fault {
	case "throttled":
		return n.answer(r, http.StatusServiceUnavailable, "SlowDown"), nil
	case "not sent":
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNRESET}
	case "answer lost":
		answer, err := n.next.RoundTrip(r)
		if err == nil {
			answer.Body.Close()
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	case "done, but says no":
		answer, err := n.next.RoundTrip(r)
		if err != nil {
			return nil, err
		}
		answer.Body.Close()
		return n.answer(r, http.StatusInternalServerError, "InternalError"), nil
	case "sent damaged":
		if r.Body != nil && r.Header.Get("X-Amz-Checksum-Crc32c") != "" && r.ContentLength > 0 {
			r.Body = &flip{r.Body, at % r.ContentLength}
		}
	case "answer cut":
		answer, err := n.next.RoundTrip(r)
		if err == nil && answer.ContentLength > 0 {
			answer.Body = &cut{answer.Body, int(at % answer.ContentLength)}
		}
		return answer, err
	}
	return n.next.RoundTrip(r)
}

// choose returns the fault of a request, and a place for it.
func (n *badNetwork) choose() (fault string, at int64) {
	faults := []string{"throttled", "not sent", "answer lost", "done, but says no", "sent damaged", "answer cut"}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.good || n.random.IntN(100) >= 15 {
		return "", 0
	}
	fault = faults[n.random.IntN(len(faults))]
	n.faults[fault]++
	return fault, n.random.Int64N(1 << 40)
}

// answer returns an answer of the service that it has not made.
func (n *badNetwork) answer(r *http.Request, status int, code string) *http.Response {
	body := "<Error><Code>" + code + "</Code></Error>"
	return &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body)), Request: r, ContentLength: int64(len(body))}
}

// Over a bad network, saves, overwrites, loads and deletions succeed, and leave nothing.
func TestBadNetwork(t *testing.T) {
	for seed := range uint64(testenv.Pick(40, 1)) {
		network := &badNetwork{next: &http.Transport{MaxIdleConnsPerHost: 64}, random: rand.New(rand.NewPCG(seed, 1)), faults: map[string]int{}, good: true}
		c, name := newBucket(t, func(o *awss3.Options) { o.HTTPClient = network })
		network.good = false
		store := orbax.In(object.New(s3.New(c, name), object.Options{}))
		fails := func(what string, err error) {
			t.Helper()
			if err != nil {
				t.Fatalf("seed %d: %s: %v; the faults were %v", seed, what, err, network.faults)
			}
		}
		for step := range 3 {
			want := newState(step)
			if step == 0 {
				fails("Save", orbax.Save(t.Context(), "run/1", want, store))
			} else {
				fails("Save", orbax.Save(t.Context(), "run/1", want, store, orbax.Overwrite()))
			}
			got, err := orbax.LoadAs[state](t.Context(), "run/1", store)
			fails("Load", err)
			if got.Step != step || !slices.Equal(got.Params["w"].Bytes(), want.Params["w"].Bytes()) {
				t.Fatalf("seed %d: step %d loads as step %d, or its bytes differ", seed, step, got.Step)
			}
		}
		fails("Delete", orbax.Delete(t.Context(), "run/1", store))
		network.mu.Lock()
		network.good = true
		network.mu.Unlock()
		t.Logf("seed %d: %v", seed, network.faults)
		for _, left := range everything(t, c, name) {
			t.Errorf("seed %d: %s is left", seed, left)
		}
		if t.Failed() {
			return
		}
	}
}

// everything returns the keys of the objects and uploads of a bucket.
func everything(t *testing.T, c *awss3.Client, bucket string) (all []string) {
	t.Helper()
	objects, err := c.ListObjectsV2(t.Context(), &awss3.ListObjectsV2Input{Bucket: &bucket})
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range objects.Contents {
		all = append(all, *o.Key)
	}
	uploads, err := c.ListMultipartUploads(t.Context(), &awss3.ListMultipartUploadsInput{Bucket: &bucket})
	if err != nil {
		t.Fatal(err)
	}
	for _, u := range uploads.Uploads {
		all = append(all, fmt.Sprint("the upload of ", *u.Key))
	}
	return all
}
