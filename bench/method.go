package main

// method is a row of the table: who does what.
type method struct {
	Group string `json:"group"` // what is done
	Who   string `json:"who"`   // by whom, and how
	job   job
	// reads is the checkpoint to load, by the Who of the save that makes it.
	reads string
	cold  bool
}

// job is what a child process is told to do.
type job struct {
	Python   bool      `json:"-"`
	Op       string    `json:"op"`
	Case     benchCase `json:"case"`
	Data     string    `json:"data"`    // file with the values
	Path     string    `json:"path"`    // checkpoint to write or read
	Scratch  string    `json:"scratch"` // directory for a checkpoint to warm up with
	Compress bool      `json:"compress"`
	Leaves   string    `json:"leaves"` // Python: "numpy" or "jax"
}

// Operations. All who are measured know save, load and async.
const (
	opSave  = "save"
	opLoad  = "load"
	opInto  = "load-into"
	opAsync = "async"
	opCopy  = "copy"
	opDD    = "dd"
)

const (
	groupLimit = "limit"
	groupSave  = "save"
	groupWarm  = "load, warm"
	groupCold  = "load, cold"
	groupAsync = "save async, blocked"
	groupAgain = "save async, blocked again"
)

const (
	whoDisk     = "dd, direct, fsync"
	whoCopy     = "memory copy"
	whoOurs     = "Go"
	whoFresh    = "Go, fresh memory"
	whoExchange = "Go, Orbax's files"
	whoOrbax    = "Orbax"
	whoRaw      = "Orbax, uncompressed"
	whoJAX      = "Orbax, jax.Array"
)

// methods lists what is measured. Orbax is measured as it comes and without
// compression, both with NumPy arrays, which like ours lie in host memory, and
// once with jax.Arrays on the CPU.
func methods(python bool) []method {
	ours := job{}
	orbax := job{Python: true, Compress: true, Leaves: "numpy"}
	raw := job{Python: true, Leaves: "numpy"}
	jax := job{Python: true, Compress: true, Leaves: "jax"}
	all := []method{
		{Group: groupLimit, Who: whoDisk, job: ours.op(opDD)},
		{Group: groupSave, Who: whoOurs, job: ours.op(opSave)},
		{Group: groupSave, Who: whoOrbax, job: orbax.op(opSave)},
		{Group: groupSave, Who: whoRaw, job: raw.op(opSave)},
		{Group: groupSave, Who: whoJAX, job: jax.op(opSave)},
		{Group: groupLimit, Who: whoCopy, job: ours.op(opCopy)},
		{Group: groupAsync, Who: whoOurs, job: ours.op(opAsync)},
		{Group: groupAsync, Who: whoOrbax, job: orbax.op(opAsync)},
		{Group: groupWarm, Who: whoOurs, job: ours.op(opInto), reads: whoOurs},
		{Group: groupWarm, Who: whoFresh, job: ours.op(opLoad), reads: whoOurs},
		{Group: groupWarm, Who: whoExchange, job: ours.op(opInto), reads: whoOrbax},
		{Group: groupWarm, Who: whoOrbax, job: orbax.op(opLoad), reads: whoOrbax},
		{Group: groupWarm, Who: whoRaw, job: raw.op(opLoad), reads: whoRaw},
		{Group: groupWarm, Who: whoJAX, job: jax.op(opLoad), reads: whoJAX},
		{Group: groupCold, Who: whoOurs, job: ours.op(opInto), reads: whoOurs, cold: true},
		{Group: groupCold, Who: whoOrbax, job: orbax.op(opLoad), reads: whoOrbax, cold: true},
		{Group: groupCold, Who: whoRaw, job: raw.op(opLoad), reads: whoRaw, cold: true},
	}
	var out []method
	for _, m := range all {
		if python || !m.job.Python && m.reads != whoOrbax {
			out = append(out, m)
		}
	}
	return out
}

func (j job) op(op string) job {
	j.Op = op
	return j
}
