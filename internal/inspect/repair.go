package inspect

import (
	"github.com/go-orbax/orbax"
	"github.com/go-orbax/orbax/internal/fault"
)

// Repair describes a report of [orbax.Repair]. The help of orbax repair describes its
// JSON.
type Repair struct {
	Path     string       `json:"path"`
	Finished *string      `json:"finished"`
	Written  bool         `json:"written"`
	Trees    []treeRepair `json:"trees"`
}

type treeRepair struct {
	Name      string   `json:"name"`
	Databases []string `json:"databases"`
	Keys      int      `json:"keys"`
	Damage    *string  `json:"damage"`
	Obstacle  *string  `json:"obstacle"`
}

// DescribeRepair describes the report of a repair of the checkpoint at path.
func DescribeRepair(path string, found *orbax.RepairReport) *Repair {
	r := &Repair{Path: fault.Redacted(path), Written: found.Written, Trees: []treeRepair{}}
	if found.Finished != "" {
		r.Finished = &found.Finished
	}
	for _, t := range found.Trees {
		r.Trees = append(r.Trees, treeRepair{t.Name, t.Databases, t.Keys, message(t.Damage), message(t.Obstacle)})
	}
	return r
}

// Needed reports whether damage was found that was not repaired.
func (r *Repair) Needed() bool {
	for _, t := range r.Trees {
		if t.Damage != nil && !r.Written {
			return true
		}
	}
	return false
}

// Possible reports whether all damage can be repaired.
func (r *Repair) Possible() bool {
	for _, t := range r.Trees {
		if t.Obstacle != nil {
			return false
		}
	}
	return true
}
