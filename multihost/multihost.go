// Package multihost saves and loads one checkpoint by several processes together, each of
// which holds a part of the state, as JAX does on many hosts.
//
//	group, err := etcd.Join(ctx, client, etcd.Options{Name: "run7", Rank: rank, Size: 4}) // of package coord/etcd
//	…
//	err = orbax.Save(ctx, path, state, multihost.Together{Group: group})
//
// Arrays that no process holds alone are leaves of type *[array.Sharded]. Every other leaf
// must be equal in all processes, which share the work of writing it.
//
// A load reads the shards of its process and nothing else. The processes, their number and
// the sharding may be others than those of the save:
//
//	err = orbax.LoadInto(ctx, path, &state) // fills the shards that state has
//	v, err := orbax.LoadAbstract(ctx, path, abstract, multihost.Together{Group: group})
//
// Where several processes want the same arrays, they may divide the reading; see
// HandOver in [Together].
//
// docs/processes.md is the manual: which process holds what, what can fail, and what
// happens then.
package multihost

import (
	"github.com/go-orbax/orbax/coord"
	"github.com/go-orbax/orbax/internal/config"
	"github.com/go-orbax/orbax/internal/handover/tcp"
	"github.com/go-orbax/orbax/internal/save"
	"github.com/go-orbax/orbax/sharding"
)

// Together is an option for saves and loads by the processes of a group. A save is an
// operation of all of them: every process calls the same function at the same point of the
// program, with the same options and its own part of the state.
//
// In a load, each leaf of an abstract target that has a sharding becomes an
// *[array.Sharded] with the shards of this process; see
// [github.com/go-orbax/orbax.LoadAbstract]. Without HandOver a load exchanges no messages, because a
// checkpoint does not change; so each process may load when it wants and what it wants. A
// load of a tree as it was saved gives whole arrays.
type Together struct {
	// Group has the processes. A nil Group stands for this process alone.
	Group *coord.Group
	// Owner returns the rank of the process that has the device with an id; see
	// [github.com/go-orbax/orbax/sharding.Process]. It must be the same in all processes.
	Owner func(device int) (rank int)

	// HandOver makes a load an operation of all processes too, which divide the reading
	// where several of them want the same: the shards that have replicas, and arrays
	// without a sharding. Each process reads an equal part of these bytes as any load
	// does, with all checks, and sends it to the others that want it. So the group reads
	// every stored chunk once, if it belongs to no more than one shard, instead of once
	// for each process that wants it. It pays where reading is dearer than the network
	// between the processes.
	//
	// Every process calls the same function at the same point of the program with the same
	// path and options, and a target of the same leaves. Each must have exactly the shards of its
	// devices. If a process fails, dies or is late, the load fails in all of them with
	// an error that names it. The documents of the checkpoint and the indexes of its arrays
	// are read by all. A load does not start again if the checkpoint is overwritten
	// meanwhile. [github.com/go-orbax/orbax.Mapped] and the loads of a run, as package
	// training has them, refuse HandOver. Saves ignore it.
	//
	// The processes send over TCP. The two sides of a connection prove to each other that
	// they know a secret of this load, which the group alone has. Each message has a
	// checksum. The bytes are not encrypted: whoever can read or change the traffic
	// between the processes can read or change what they load.
	HandOver bool
	// Address is where this process listens during a load with HandOver: a host that the
	// others can reach, with a port if it must be a certain one, such as "10.0.0.7" or
	// "10.0.0.7:7000". Without a host it listens at all addresses of the machine, of
	// which the others try one after the other.
	Address string
}

// Process says which part of arrays with a sharding belongs to this process, for
// [array.AllocSharded]: that of its rank in Group, by Owner. Without a Group it is the whole.
// It must be the same Together, or an equal one, that saves the arrays.
func (t Together) Process() sharding.Process {
	var c config.Common
	t.apply(&c)
	return c.Process()
}

func (t Together) apply(c *config.Common) {
	c.Together, c.Group, c.Owner = true, t.Group, t.Owner
	c.HandOver, c.Network, c.Address = t.HandOver, tcp.Network{}, t.Address
}

// ApplySave makes Together an option for saves.
func (t Together) ApplySave(c *save.Config) { t.apply(&c.Common) }

// ApplyLoad makes Together an option for loads.
func (t Together) ApplyLoad(c *config.Load) { t.apply(&c.Common) }

// ForCheckpointables makes Together an option for saves and loads of several
// checkpointables.
func (Together) ForCheckpointables() {}

// ForSessions makes Together an option for partial.Finalize and partial.Abort.
func (Together) ForSessions() {}
