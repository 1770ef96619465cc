package cloud_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/internal/race"
	"github.com/go-orbax/orbax/internal/testenv"
	"github.com/go-orbax/orbax/storage/object"
)

var (
	benchMiB   = flag.Int("mib", 256, "the MiB of the state of the benchmarks, a multiple of 16")
	benchDelay = flag.Duration("delay", 25*time.Millisecond, "what the benchmarks add to the time of every request")
	benchSDK   = flag.Bool("sdk", true, "compare with the client libraries of the clouds too")
)

// BenchmarkClouds saves and loads a state through a network that adds a delay to every
// request, in turns with the parallel transfers of the client libraries: of the same number
// of bytes as one object, in parts of the same size, as many at the same time. Each runs in
// a process of its own; the servers and the network are other processes. It reports medians:
//
//   - s and sdk-s: the seconds of this module and of the library
//   - time-ratio and cpu-ratio: the ratio of the times, and of the processor times, of two
//     neighbours
//   - cpu-s: the seconds of processor time
//   - beyond-MiB: the most memory beyond the state and what was there before, of all rounds
//   - KiB-of-garbage/part: what was allocated beyond the state, for each 8 MiB of it
//   - requests and sdk-requests
//
// docs/performance.md describes it.
func BenchmarkClouds(b *testing.B) {
	for _, c := range clouds {
		for _, op := range []string{"save", "load", "save-zstd", "load-zstd"} {
			b.Run(c.name+"/"+op, func(b *testing.B) {
				direct := c.start(b)
				bucket := c.newBucket(b, direct)
				n := &network{delay: *benchDelay}
				j := benchJob{Cloud: c.name, Addr: n.start(b, direct), Bucket: bucket, MiB: *benchMiB}
				j.Op, _, j.Zstd = strings.Cut(op, "-")
				store := object.New(c.open(b, direct, bucket), object.Options{})
				compare := *benchSDK && !j.Zstd
				if j.Op == "load" {
					for _, saved := range j.pair(compare) {
						saved.Op, saved.Path = "save", "loaded"
						b.Logf("save: %+v", saved.run(b))
					}
				}
				var all, pairs samples
				for i := range b.N {
					for _, j := range j.pair(compare) {
						j.Path = "loaded"
						if j.Op == "save" {
							j.Path = fmt.Sprint("saved-", i)
						}
						s := j.run(b)
						if j.SDK {
							pairs = append(pairs, s)
							continue
						}
						all = append(all, s)
						if j.Op == "save" {
							must(b, orbax.Delete(b.Context(), j.Path, orbax.In(store)))
						}
					}
				}
				all.report(b, pairs, float64(*benchMiB)/8)
			})
		}
	}
}

// A process that saves and loads a state needs little memory beyond it. Long tests also check
// that the benchmark can use the libraries.
func TestMemoryOfClouds(t *testing.T) {
	if testing.Short() || race.Enabled {
		t.Skip("the memory of a process is not that of a program without the race detector")
	}
	const most = 96 << 20
	for _, c := range clouds {
		t.Run(c.name, func(t *testing.T) {
			direct := c.start(t)
			j := benchJob{Cloud: c.name, Addr: new(network).start(t, direct), Bucket: c.newBucket(t, direct), Path: "run/1", MiB: 64}
			for _, j.Op = range []string{"save", "load"} {
				for _, j := range j.pair(testenv.Long()) {
					s := j.run(t)
					t.Logf("%s, SDK %v: %+v", j.Op, j.SDK, s)
					if !j.SDK && s.Beyond > most {
						t.Errorf("%s: %d bytes beyond the state; want at most %d", j.Op, s.Beyond, most)
					}
				}
			}
		})
	}
}

// pair returns the job, and that of the library if it is wanted.
func (j benchJob) pair(compare bool) []benchJob {
	if !compare {
		return []benchJob{j}
	}
	library := j
	library.SDK = true
	return []benchJob{j, library}
}

// run does the job in a process of its own.
func (j benchJob) run(t testing.TB) (s sample) {
	t.Helper()
	exe, err := os.Executable()
	must(t, err)
	arg, err := json.Marshal(j)
	must(t, err)
	cmd := exec.CommandContext(t.Context(), exe)
	testenv.SetChild(cmd, "bench", string(arg))
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil || json.Unmarshal(out, &s) != nil {
		t.Fatalf("%s: %v\n%s", arg, err, out)
	}
	return s
}

// samples are measurements of the same job.
type samples []sample

// median returns the median of what of returns for each index.
func (all samples) median(of func(i int) float64) float64 {
	values := make([]float64, len(all))
	for i := range all {
		values[i] = of(i)
	}
	slices.Sort(values)
	return (values[(len(values)-1)/2] + values[len(values)/2]) / 2
}

// report reports the measurements. pairs are those of the library, or none; parts is how
// many times 8 MiB the state has.
func (all samples) report(b *testing.B, pairs samples, parts float64) {
	b.ReportMetric(0, "ns/op") // means nothing here
	b.ReportMetric(all.median(func(i int) float64 { return all[i].Seconds }), "s")
	b.ReportMetric(all.median(func(i int) float64 { return all[i].CPU }), "cpu-s")
	b.ReportMetric(all.median(func(i int) float64 { return float64(all[i].Requests) }), "requests")
	b.ReportMetric(all.median(func(i int) float64 { return float64(all[i].Allocated) / parts / (1 << 10) }), "KiB-of-garbage/part")
	most := slices.MaxFunc(all, func(x, y sample) int { return int(x.Beyond - y.Beyond) })
	b.ReportMetric(float64(most.Beyond)/(1<<20), "beyond-MiB")
	if len(pairs) == 0 {
		return
	}
	b.ReportMetric(all.median(func(i int) float64 { return pairs[i].Seconds }), "sdk-s")
	b.ReportMetric(all.median(func(i int) float64 { return float64(pairs[i].Requests) }), "sdk-requests")
	b.ReportMetric(all.median(func(i int) float64 { return all[i].Seconds / pairs[i].Seconds }), "time-ratio")
	b.ReportMetric(all.median(func(i int) float64 { return all[i].CPU / pairs[i].CPU }), "cpu-ratio")
}

// network is a proxy that adds a delay to every request, and counts the requests.
type network struct {
	delay    time.Duration
	requests atomic.Int64
}

// countPath is the path at which a network says how many requests it has passed on.
const countPath = "/-/requests"

// start starts the proxy in front of the server at addr, until the end of the test, and
// returns its own address.
func (n *network) start(t testing.TB, addr string) string {
	transport := &http.Transport{MaxIdleConnsPerHost: 64, DisableCompression: true, ReadBufferSize: 256 << 10, WriteBufferSize: 256 << 10}
	proxy := &httputil.ReverseProxy{
		Transport:  transport,
		BufferPool: copyBuffers{},
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(&url.URL{Scheme: "http", Host: addr})
			r.Out.Host = r.In.Host // it is signed
			r.Out.URL.RawQuery = r.In.URL.RawQuery
			r.Out.Header.Del("Expect") // answered here
		},
	}
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == countPath {
			fmt.Fprint(w, n.requests.Load())
			return
		}
		n.requests.Add(1)
		time.Sleep(n.delay)
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(func() {
		front.CloseClientConnections()
		front.Close()
		transport.CloseIdleConnections()
	})
	return strings.TrimPrefix(front.URL, "http://")
}

// copyBuffers makes the buffers of a proxy.
type copyBuffers struct{}

func (copyBuffers) Get() []byte { return make([]byte, 256<<10) }
func (copyBuffers) Put([]byte)  {}
