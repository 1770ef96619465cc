package coord

import (
	"bytes"
	"cmp"
	"context"
	"io/fs"
	"slices"
	"strings"
	"sync"
)

// InProcess returns the groups of n processes that are goroutines of this program: the
// i-th is for the process with rank i. It is for tests and trials.
func InProcess(n int) []*Group {
	t := &table{values: map[string][]byte{}, set: map[string]chan struct{}{}, lost: make([]chan struct{}, n)}
	groups := make([]*Group, n)
	for rank := range groups {
		t.lost[rank] = make(chan struct{})
		groups[rank] = NewGroup(&member{t, rank})
	}
	return groups
}

// table has the keys of a group of goroutines.
type table struct {
	mu     sync.Mutex
	values map[string][]byte
	set    map[string]chan struct{} // closed when the key gets a value; only of keys that are awaited
	lost   []chan struct{}          // by rank: closed when the process has left
}

// member is the [Driver] of one goroutine.
type member struct {
	table *table
	rank  int
}

func (m *member) Rank() int { return m.rank }
func (m *member) Size() int { return len(m.table.lost) }

// lock locks the table for a process that has not left.
func (m *member) lock(ctx context.Context) (unlock func(), err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	m.table.mu.Lock()
	if m.table.isLost(m.rank) {
		m.table.mu.Unlock()
		return nil, &LostError{m.rank}
	}
	return m.table.mu.Unlock, nil
}

func (t *table) isLost(rank int) bool {
	select {
	case <-t.lost[rank]:
		return true
	default:
		return false
	}
}

func (m *member) Set(ctx context.Context, key string, value []byte) error {
	unlock, err := m.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	m.table.values[key] = bytes.Clone(value)
	if set := m.table.set[key]; set != nil {
		close(set)
		delete(m.table.set, key)
	}
	return nil
}

func (m *member) Get(ctx context.Context, key string) ([]byte, error) {
	unlock, err := m.lock(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	value, ok := m.table.values[key]
	if !ok {
		return nil, &fs.PathError{Op: "get", Path: key, Err: fs.ErrNotExist}
	}
	return bytes.Clone(value), nil
}

func (m *member) Wait(ctx context.Context, key string, from int) ([]byte, error) {
	for {
		unlock, err := m.lock(ctx)
		if err != nil {
			return nil, err
		}
		value, ok := m.table.values[key]
		lost := !ok && m.table.isLost(from)
		set := m.table.set[key]
		if !ok && set == nil {
			set = make(chan struct{})
			m.table.set[key] = set
		}
		unlock()
		switch {
		case ok:
			return bytes.Clone(value), nil
		case lost:
			return nil, &LostError{from}
		}
		select {
		case <-set:
		case <-m.table.lost[from]:
		case <-m.table.lost[m.rank]:
		case <-ctx.Done():
		}
	}
}

func (m *member) List(ctx context.Context, prefix string) ([]Entry, error) {
	unlock, err := m.lock(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	var entries []Entry
	for key, value := range m.table.values {
		if strings.HasPrefix(key, prefix) {
			entries = append(entries, Entry{key, bytes.Clone(value)})
		}
	}
	slices.SortFunc(entries, func(a, b Entry) int { return cmp.Compare(a.Key, b.Key) })
	return entries, nil
}

func (m *member) Delete(ctx context.Context, prefix string) error {
	unlock, err := m.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	for key := range m.table.values {
		if strings.HasPrefix(key, prefix) {
			delete(m.table.values, key)
		}
	}
	return nil
}

func (m *member) Lost(ctx context.Context) ([]int, error) {
	unlock, err := m.lock(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	var ranks []int
	for rank := range m.table.lost {
		if m.table.isLost(rank) {
			ranks = append(ranks, rank)
		}
	}
	return ranks, nil
}

func (m *member) Close() error {
	m.table.mu.Lock()
	defer m.table.mu.Unlock()
	if !m.table.isLost(m.rank) {
		close(m.table.lost[m.rank])
	}
	return nil
}
