package cloud_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"runtime"
	"runtime/debug"
	"time"

	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/array"
	"github.com/go-orbax/orbax/handler"
	"github.com/go-orbax/orbax/internal/testenv"
	"github.com/go-orbax/orbax/storage/cloud/internal/servers"
	"github.com/go-orbax/orbax/zarr"
)

// benchJob describes the measurement that a child process of [BenchmarkClouds] makes.
type benchJob struct {
	Cloud, Addr, Bucket string
	Op                  string // save or load
	Path                string // of the checkpoint
	SDK                 bool   // move the bytes as one object, by the library of the cloud
	Zstd                bool   // save values that can be compressed, compressed
	MiB                 int    // of the state
}

// sample is one measurement.
type sample struct {
	Seconds, CPU     float64
	Beyond, Requests int64
	// Allocated is how many bytes were allocated beyond the state: garbage, which remains
	// until a collection, and with a large state that is late.
	Allocated int64
}

// leafMiB is the size of an array of the state.
const leafMiB = 16

func benchChild(arg string) {
	var j benchJob
	err := json.Unmarshal([]byte(arg), &j)
	if err == nil {
		err = j.do(context.Background())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// do does the job, and prints the measurement.
func (j benchJob) do(ctx context.Context) error {
	j.environment()
	// The first requests open connections and touch the code of the program.
	warm := j
	warm.MiB, warm.Path = leafMiB, fmt.Sprint("warm-", os.Getpid())
	for _, op := range []string{"save", "load"} {
		warm.Op = op
		work, _ := warm.orbax()
		if err := work(ctx); err != nil {
			return err
		}
	}
	work, check := j.orbax()
	if j.SDK {
		work, check = j.sdk()
	}
	before, err := j.requests()
	if err != nil {
		return err
	}
	debug.FreeOSMemory()
	garbage := allocated()
	memory, cpu, start := resident(), testenv.CPUTime(), time.Now()
	if err := work(ctx); err != nil {
		return err
	}
	s := sample{Seconds: time.Since(start).Seconds(), CPU: (testenv.CPUTime() - cpu).Seconds(), Beyond: peak() - memory}
	s.Allocated = allocated() - garbage
	after, err := j.requests()
	if err != nil {
		return err
	}
	if s.Requests = after - before; j.Op == "load" {
		s.Beyond -= int64(j.MiB) << 20
		s.Allocated -= int64(j.MiB) << 20
	}
	return errors.Join(check(), json.NewEncoder(os.Stdout).Encode(s))
}

// environment makes the URLs of the cloud lead to the network.
func (j benchJob) environment() {
	for name, value := range map[string]string{
		"AWS_ENDPOINT_URL":      "http://" + j.Addr,
		"AWS_ACCESS_KEY_ID":     servers.S3Key,
		"AWS_SECRET_ACCESS_KEY": servers.S3Secret,
		"AWS_REGION":            "us-east-1",
		"STORAGE_EMULATOR_HOST": j.Addr,
		"AZURE_STORAGE_CONNECTION_STRING": fmt.Sprintf("DefaultEndpointsProtocol=http;AccountName=%s;AccountKey=%s;BlobEndpoint=http://%s/%[1]s",
			servers.AzureAccount, servers.AzureKey, j.Addr),
	} {
		os.Setenv(name, value)
	}
}

// url returns the path of the checkpoint.
func (j benchJob) url() string {
	return map[string]string{"s3": "s3", "gcs": "gs", "azure": "azblob"}[j.Cloud] + "://" + j.Bucket + "/" + j.Path
}

func (j benchJob) fill(r *rand.Rand, data []uint32) {
	for i := range data {
		data[i] = r.Uint32()
		if j.Zstd {
			data[i] &= 0xffff // half of the bytes are zero
		}
	}
}

// orbax returns the work with this module, and a check of what it has loaded.
func (j benchJob) orbax() (work func(context.Context) error, check func() error) {
	if j.Op == "load" {
		var loaded any
		return func(ctx context.Context) (err error) {
				loaded, err = orbax.Load(ctx, j.url())
				return err
			}, func() error {
				state, _ := loaded.(map[string]any)
				debug.SetGCPercent(20) // a state that is compared is garbage
				n := 0
				for name, a := range j.arrays() { // one after the other, because the state may be large
					if got, ok := state[name].(*array.Array); !ok || !bytes.Equal(got.Bytes(), a.Bytes()) {
						return fmt.Errorf("%s was not loaded as it was saved", name)
					}
					n++
				}
				if n != len(state) {
					return fmt.Errorf("%d arrays were loaded, and %d saved", len(state), n)
				}
				return nil
			}
	}
	state := maps.Collect(j.arrays())
	// versitygw keeps the sizes of the parts of an object in an extended attribute, for which
	// some file systems have 4 KiB: it fails to complete an object of a thousand parts there.
	storage := handler.StorageOptions{DataFileSize: 2 << 30}
	if j.Zstd {
		storage.Compression = zarr.Zstd(1)
	}
	return func(ctx context.Context) error { return orbax.Save(ctx, j.url(), state, orbax.Storage(storage)) },
		func() error { runtime.KeepAlive(state); return nil }
}

// arrays returns the state: arrays that share no memory.
func (j benchJob) arrays() iter.Seq2[string, *array.Array] {
	return func(yield func(string, *array.Array) bool) {
		r := rand.New(rand.NewPCG(1, 2))
		for i := range j.MiB / leafMiB {
			data := make([]uint32, leafMiB<<20/4)
			j.fill(r, data)
			if !yield(fmt.Sprintf("layer_%04d", i), array.Of(data, 1024, len(data)/1024)) {
				return
			}
		}
	}
}

// sdk returns the work with the library of the cloud.
func (j benchJob) sdk() (work func(context.Context) error, check func() error) {
	library, data := sdks[j.Cloud](j.Addr, j.Bucket), []byte(nil)
	want := func() []byte {
		r, data := rand.New(rand.NewPCG(1, 2)), make([]byte, j.MiB<<20, j.MiB<<20+1)
		for i := 0; i < len(data); i += 8 {
			binary.LittleEndian.PutUint64(data[i:], r.Uint64())
		}
		return data
	}
	if j.Op == "load" {
		return func(ctx context.Context) error {
				data = make([]byte, j.MiB<<20)
				return library.load(ctx, data)
			}, func() error {
				if !bytes.Equal(data, want()) {
					return errors.New("other bytes were loaded than saved")
				}
				return nil
			}
	}
	data = append(want(), 0)[:j.MiB<<20] // with room for a byte more
	return func(ctx context.Context) error { return library.save(ctx, data) },
		func() error { runtime.KeepAlive(data); return nil }
}

// requests returns how many requests the network has passed on.
func (j benchJob) requests() (n int64, err error) {
	answer, err := http.Get("http://" + j.Addr + countPath)
	if err != nil {
		return 0, err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err == nil {
		_, err = fmt.Sscan(string(text), &n)
	}
	return n, err
}

// allocated returns how many bytes this process has allocated.
func allocated() int64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.TotalAlloc)
}

// resident returns the resident memory of this process, and resets its peak to it; 0 where
// the system does not report it.
func resident() int64 {
	if os.WriteFile("/proc/self/clear_refs", []byte("5"), 0) != nil {
		return 0
	}
	return processStatus("VmRSS:")
}

// peak returns the most resident memory since [resident].
func peak() int64 { return processStatus("VmHWM:") }

func processStatus(field string) (n int64) {
	text, _ := os.ReadFile("/proc/self/status")
	_, rest, _ := bytes.Cut(text, []byte(field))
	fmt.Sscan(string(rest), &n)
	return n << 10
}
