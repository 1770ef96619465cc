package jax

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
	"time"
)

// The keys of a group called name:
//
//	name/members/places/<rank>          the incarnation of the process that has the rank
//	name/members/beats/<incarnation>    a number that the process raises while it lives
//	name/members/burials/<incarnation>  the process that is removing a dead one's keys
//	name/groups/<id>/…                  the keys of the group of these incarnations
//
// A place is never given from one process to another: it is removed and made anew. The
// service can neither compare a value before it sets it nor bind a key to the life of a
// process. So a process is lost if its beat does not change for a TTL, by the clock of the
// process that looks; and a process whose beat was not confirmed for a TTL, by its own
// clock, is lost to itself. The beat that was confirmed last was set after the process has
// asked for it and before another one has seen it, so the process itself is the first that
// knows.

func (m *member) members() string         { return m.name + "/members/" }
func (m *member) groups() string          { return m.name + "/groups/" }
func (m *member) place(rank int) string   { return m.members() + "places/" + strconv.Itoa(rank) }
func (m *member) beat(of string) string   { return m.members() + "beats/" + of }
func (m *member) burial(of string) string { return m.members() + "burials/" + of }

// The service removes a directory together with a key of the same name. So in a group no
// key has the name of a directory: k stands before the last element of a key, and d before
// all others.

// stored returns the key in the service for a key of the group.
func (m *member) stored(key string) string {
	at := strings.LastIndex(key, "/") + 1
	return m.storedDir(key[:at]) + "k" + key[at:]
}

// storedDir returns the directory in the service for one of the group, which is "" or ends
// with a slash.
func (m *member) storedDir(dir string) string {
	stored := m.prefix
	for element := range strings.SplitAfterSeq(dir, "/") {
		if element != "" {
			stored += "d" + element
		}
	}
	return stored
}

// original returns the key of the group for a key in the service.
func (m *member) original(stored string) (key string) {
	for element := range strings.SplitAfterSeq(strings.TrimPrefix(stored, m.prefix), "/") {
		if element != "" {
			key += element[1:]
		}
	}
	return key
}

// members are the keys of a group's members at one time.
type members struct {
	places map[int]string  // incarnations by rank
	beats  map[string]bool // incarnations with a beat
	dead   map[string]bool // incarnations of places whose beat is missing, or stopped a TTL ago
}

// pulse is a beat that was seen.
type pulse struct {
	value string
	since time.Time // when it was seen first
}

// look reads the keys of the members.
func (m *member) look(ctx context.Context) (*members, error) {
	asked := time.Now()
	entries, err := m.client.list(ctx, m.members())
	if err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	now := &members{places: map[int]string{}, beats: map[string]bool{}, dead: map[string]bool{}}
	for _, e := range entries {
		kind, name, _ := strings.Cut(strings.TrimPrefix(e.Key, m.members()), "/")
		switch kind {
		case "places":
			rank, err := strconv.Atoi(name)
			if err != nil || rank < 0 {
				return nil, fmt.Errorf("%s is not a key of a group", e.Key)
			}
			now.places[rank] = string(e.Value)
		case "beats":
			now.beats[name] = true
			m.saw(name, string(e.Value))
		}
	}
	for _, incarnation := range now.places {
		if !now.beats[incarnation] {
			m.saw(incarnation, "") // it is leaving, or the beat of a dead process was removed
		}
		now.dead[incarnation] = asked.Sub(m.pulses[incarnation].since) >= m.ttl
	}
	for incarnation := range m.pulses {
		if !now.beats[incarnation] && !now.holds(incarnation) {
			delete(m.pulses, incarnation)
		}
	}
	return now, nil
}

func (n *members) holds(incarnation string) bool {
	for _, other := range n.places {
		if other == incarnation {
			return true
		}
	}
	return false
}

// saw notes the beat of a process.
func (m *member) saw(incarnation, value string) {
	if p, ok := m.pulses[incarnation]; !ok || p.value != value {
		m.pulses[incarnation] = pulse{value, time.Now()}
	}
}

// bury removes the keys of a dead process. Of several processes that want to, one does.
// It may die meanwhile; the others see the dead process still there, and try again.
func (m *member) bury(ctx context.Context, rank int, dead string) error {
	err := m.client.add(ctx, m.burial(dead), m.incarnation)
	if errors.Is(err, fs.ErrExist) {
		return m.relieve(ctx, dead)
	}
	if err != nil {
		return err
	}
	return m.unplace(ctx, rank, dead)
}

// relieve lets a burial begin anew whose process does not end it.
func (m *member) relieve(ctx context.Context, dead string) error {
	m.mu.Lock()
	since, ok := m.burials[dead]
	if !ok {
		since = time.Now()
		m.burials[dead] = since
	}
	m.mu.Unlock()
	if time.Since(since) < m.ttl {
		return nil
	}
	m.mu.Lock()
	delete(m.burials, dead)
	m.mu.Unlock()
	return m.client.remove(ctx, m.burial(dead))
}

// unplace removes the keys of a process, and its place if no other process has that by
// now.
func (m *member) unplace(ctx context.Context, rank int, incarnation string) error {
	holder, err := m.client.get(ctx, m.place(rank))
	if err == nil && string(holder) == incarnation {
		err = m.client.remove(ctx, m.place(rank))
	}
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	for _, key := range []string{m.beat(incarnation), m.burial(incarnation)} {
		if err == nil {
			err = m.client.remove(ctx, key)
		}
	}
	return err
}

// sweep removes what earlier groups of the same name have left. All of their processes
// are lost, because this group has all places.
func (m *member) sweep(ctx context.Context) error {
	return m.request(ctx, func(ctx context.Context) error {
		entries, err := m.client.list(ctx, m.groups())
		if err != nil {
			return err
		}
		done := map[string]bool{m.prefix: true}
		for _, e := range entries {
			id, _, _ := strings.Cut(strings.TrimPrefix(e.Key, m.groups()), "/")
			if dir := m.groups() + id + "/"; !done[dir] {
				done[dir] = true
				if err := m.client.remove(ctx, dir); err != nil {
					return err
				}
			}
		}
		return nil
	})
}
