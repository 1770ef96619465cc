package coord

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
)

// Watch returns a context for the work of this process between two phases. It ends when
// another process reports a failure, with which all have to fail in the next phase anyway:
// at the next phase this process then reports [ErrStopped]. It also ends when this process
// is lost. Its cause is an [*Error]. The caller must call cancel, which waits for the
// goroutine of the watch.
func (o *Op) Watch(ctx context.Context) (watched context.Context, cancel func()) {
	watched, end := context.WithCancelCause(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		doc, err := o.group.driver.Wait(watched, o.failedKey(), o.group.Rank())
		if watched.Err() != nil {
			return
		}
		var r report
		if err == nil {
			r, err = parseReport(doc)
		}
		if err == nil {
			err = r.err()
		} else {
			err = (&exchange{rank: o.group.Rank(), phase: "watch"}).failed(o.what, err)
		}
		end(err)
	}()
	return watched, func() {
		end(nil)
		<-done
	}
}

// failedKey is the key of the first failure that a process has reported.
func (o *Op) failedKey() string { return o.key + "failed" }

// announce reports the failure of this process to those that watch the operation.
func (o *Op) announce(ctx context.Context, x *exchange, own *report) {
	if own.Failures[0].Stopped {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), x.grace)
	defer cancel()
	_ = x.driver.Set(ctx, o.failedKey(), own.encode()) // the next phase reports it too
}

// Gather is [Op.Agree] with a value of each process. Rank 0 gets the values, by rank; the
// others get nil. A value that is empty is nil. The values should be small, because each
// passes through several processes.
func (o *Op) Gather(ctx context.Context, phase string, value []byte, err error) ([][]byte, error) {
	own := binary.AppendUvarint(nil, uint64(o.group.Rank()))
	own = append(binary.AppendUvarint(own, uint64(len(value))), value...)
	merge := func(values [][]byte) ([]byte, error) { return bytes.Join(values, nil), nil }
	all, err := o.exchange(ctx, phase, own, err, merge, true)
	if err != nil || o.group.Rank() > 0 {
		return nil, err
	}
	values := make([][]byte, o.group.Size())
	for len(all) > 0 {
		rank, n := binary.Uvarint(all)
		if n <= 0 || rank >= uint64(len(values)) {
			return nil, errGathered
		}
		size, m := binary.Uvarint(all[n:])
		if m <= 0 || size > uint64(len(all)-n-m) {
			return nil, errGathered
		}
		all = all[n+m:]
		if size > 0 {
			values[rank] = all[:size]
		}
		all = all[size:]
	}
	return values, nil
}

var errGathered = errors.New("a value that a process has sent is cut short")
