package main

import "slices"

// method is a row of the table: who does what.
type method struct {
	Group string `json:"group"` // what is done
	Who   string `json:"who"`   // by whom, and how
	job   job
	// reads is the checkpoint to load, by the Who of the save that makes it.
	reads string
	cold  bool
	// for which states; nil for all.
	when func(benchCase) bool
}

func (m method) String() string { return m.Group + ": " + m.Who }

// job is what a child process is told to do.
type job struct {
	Program program   `json:"program"`
	Op      string    `json:"op"`
	How     string    `json:"how"` // one of the options of the program
	Case    benchCase `json:"case"`
	Data    string    `json:"data"`    // file with the values
	Path    string    `json:"path"`    // checkpoint to write or read
	Scratch string    `json:"scratch"` // directory for a checkpoint to warm up with
}

// program is what does the work.
type program string

const (
	ours        program = "go"
	orbaxPython program = "orbax"
	dcp         program = "dcp"
	safetensors program = "safetensors"
)

// needs lists the Python packages of the programs that are not ours.
var needs = map[program][]string{
	orbaxPython: {"orbax-checkpoint", "tensorstore", "jax", "numpy"},
	dcp:         {"torch", "numpy"},
	safetensors: {"safetensors", "torch", "numpy"},
}

// Operations: of all, of some, and of the limits of the machine.
const (
	opSave     = "save"
	opLoad     = "load"      // into fresh memory
	opInto     = "load-into" // into memory of the program's own
	opMap      = "map"
	opAsync    = "async"
	opCodec    = "codec"
	opDD       = "dd"
	opDisk     = "disk-write"
	opDiskRead = "disk-read"
	opCopy     = "copy"
	opFresh    = "copy-fresh"
)

// How Go saves and maps.
const (
	howImmutable = "immutable"
	howReuse     = "reuse"
	howBFloat16  = "bfloat16"
	howHuffman   = "huffman"
	howZstd      = "zstd"
	howAuto      = "auto"
	howVerify    = "verify"
	howTouch     = "touch" // also others'
)

// How others save.
const (
	howRaw   = "uncompressed"
	howJAX   = "jax"
	howFsync = "fsync"
)

const (
	groupLimit  = "limit"
	groupSave   = "save"
	groupAsync  = "save async, blocked"
	groupAgain  = "save async, blocked again"
	groupInto   = "load, own memory"
	groupLoad   = "load, fresh memory"
	groupMap    = "map"
	groupTouch  = "map and touch"
	groupCold   = "load, cold"
	groupEncode = "encode, one core"
	groupDecode = "decode, one core"
)

// groups in the order of the tables.
var groups = []string{groupLimit, groupSave, groupAsync, groupAgain, groupInto, groupLoad, groupMap, groupTouch, groupCold, groupEncode, groupDecode}

const (
	whoDD        = "disk, dd"
	whoDisk      = "disk, parallel"
	whoDiskRead  = "disk, parallel reads"
	whoCopy      = "copy, own memory"
	whoCopyFresh = "copy, fresh memory"

	whoOurs      = "Go"
	whoHuffman   = "Go, huffman"
	whoZstd      = "Go, zstd"
	whoAuto      = "Go, automatic"
	whoBFloat16  = "Go, as bfloat16"
	whoImmutable = "Go, Immutable"
	whoReuse     = "Go, ReuseSnapshot"
	whoVerified  = "Go, verified"
	whoExchange  = "Go, Orbax's files"

	whoOrbax       = "Orbax"
	whoRaw         = "Orbax, uncompressed"
	whoJAX         = "Orbax, jax.Array"
	whoOrbaxOnOurs = "Orbax, Go's files"

	whoDCP         = "PyTorch DCP"
	whoSafetensors = "safetensors, not durable"
	whoSafeSynced  = "safetensors, fsync"
	whoSafe        = "safetensors"
)

// States for which a method is measured.
func float32Large(c benchCase) bool  { return c.large() && c.DType == "float32" }
func bfloat16Large(c benchCase) bool { return c.large() && c.DType == "bfloat16" }

// methods lists what is measured, of ours and of others. Orbax is measured as it
// comes and without compression with NumPy arrays, which like ours lie in host
// memory, and as it comes with jax.Arrays on the CPU.
var methods = []method{
	{Group: groupLimit, Who: whoDD, job: job{Op: opDD}},
	{Group: groupSave, Who: whoOurs, job: job{Program: ours, Op: opSave}},
	{Group: groupLimit, Who: whoDisk, job: job{Program: ours, Op: opDisk}},
	{Group: groupSave, Who: whoOrbax, job: job{Program: orbaxPython, Op: opSave}},
	{Group: groupSave, Who: whoRaw, job: job{Program: orbaxPython, Op: opSave, How: howRaw}, when: benchCase.large},
	{Group: groupSave, Who: whoJAX, job: job{Program: orbaxPython, Op: opSave, How: howJAX}, when: float32Large},
	{Group: groupSave, Who: whoDCP, job: job{Program: dcp, Op: opSave}, when: float32Large},
	{Group: groupSave, Who: whoSafeSynced, job: job{Program: safetensors, Op: opSave, How: howFsync}, when: float32Large},
	{Group: groupSave, Who: whoSafetensors, job: job{Program: safetensors, Op: opSave}, when: benchCase.large},
	{Group: groupSave, Who: whoHuffman, job: job{Program: ours, Op: opSave, How: howHuffman}, when: bfloat16Large},
	{Group: groupSave, Who: whoZstd, job: job{Program: ours, Op: opSave, How: howZstd}, when: bfloat16Large},
	{Group: groupSave, Who: whoAuto, job: job{Program: ours, Op: opSave, How: howAuto}, when: float32Large},
	{Group: groupSave, Who: whoBFloat16, job: job{Program: ours, Op: opSave, How: howBFloat16}, when: float32Large},

	{Group: groupLimit, Who: whoCopy, job: job{Program: ours, Op: opCopy}},
	{Group: groupInto, Who: whoOurs, job: job{Program: ours, Op: opInto}, reads: whoOurs},
	{Group: groupAsync, Who: whoOurs, job: job{Program: ours, Op: opAsync}},
	{Group: groupAsync, Who: whoReuse, job: job{Program: ours, Op: opAsync, How: howReuse}, when: benchCase.large},
	{Group: groupAsync, Who: whoImmutable, job: job{Program: ours, Op: opAsync, How: howImmutable}, when: benchCase.large},
	{Group: groupAsync, Who: whoOrbax, job: job{Program: orbaxPython, Op: opAsync}, when: float32Large},
	{Group: groupInto, Who: whoDCP, job: job{Program: dcp, Op: opInto}, reads: whoDCP, when: float32Large},
	{Group: groupInto, Who: whoHuffman, job: job{Program: ours, Op: opInto}, reads: whoHuffman, when: bfloat16Large},
	{Group: groupInto, Who: whoExchange, job: job{Program: ours, Op: opInto}, reads: whoOrbax, when: benchCase.large},

	{Group: groupLimit, Who: whoCopyFresh, job: job{Program: ours, Op: opFresh}},
	{Group: groupLoad, Who: whoOurs, job: job{Program: ours, Op: opLoad}, reads: whoOurs},
	{Group: groupLoad, Who: whoOrbax, job: job{Program: orbaxPython, Op: opLoad}, reads: whoOrbax},
	{Group: groupLoad, Who: whoOrbaxOnOurs, job: job{Program: orbaxPython, Op: opLoad}, reads: whoOurs},
	{Group: groupLoad, Who: whoRaw, job: job{Program: orbaxPython, Op: opLoad, How: howRaw}, reads: whoRaw, when: benchCase.large},
	{Group: groupLoad, Who: whoJAX, job: job{Program: orbaxPython, Op: opLoad, How: howJAX}, reads: whoJAX, when: float32Large},
	{Group: groupLoad, Who: whoSafe, job: job{Program: safetensors, Op: opLoad}, reads: whoSafetensors, when: float32Large},

	{Group: groupMap, Who: whoOurs, job: job{Program: ours, Op: opMap}, reads: whoOurs},
	{Group: groupMap, Who: whoVerified, job: job{Program: ours, Op: opMap, How: howVerify}, reads: whoOurs, when: benchCase.large},
	{Group: groupTouch, Who: whoOurs, job: job{Program: ours, Op: opMap, How: howTouch}, reads: whoOurs, when: benchCase.large},
	{Group: groupMap, Who: whoSafe, job: job{Program: safetensors, Op: opMap}, reads: whoSafetensors, when: benchCase.large},
	{Group: groupTouch, Who: whoSafe, job: job{Program: safetensors, Op: opMap, How: howTouch}, reads: whoSafetensors, when: benchCase.large},

	{Group: groupCold, Who: whoOurs, job: job{Program: ours, Op: opInto}, reads: whoOurs, cold: true},
	{Group: groupLimit, Who: whoDiskRead, job: job{Program: ours, Op: opDiskRead}, reads: whoOurs, cold: true, when: benchCase.large},
	{Group: groupCold, Who: whoOrbax, job: job{Program: orbaxPython, Op: opLoad}, reads: whoOrbax, cold: true, when: float32Large},
	{Group: groupCold, Who: whoRaw, job: job{Program: orbaxPython, Op: opLoad, How: howRaw}, reads: whoRaw, cold: true, when: float32Large},

	{Group: groupEncode, Who: whoOurs, job: job{Program: ours, Op: opCodec}, when: benchCase.large},
	{Group: groupEncode, Who: whoHuffman, job: job{Program: ours, Op: opCodec, How: howHuffman}, when: benchCase.large},
	{Group: groupEncode, Who: whoZstd, job: job{Program: ours, Op: opCodec, How: howZstd}, when: benchCase.large},
}

// methodsFor are those for a state.
func methodsFor(c benchCase) []method {
	return slices.DeleteFunc(slices.Clone(methods), func(m method) bool { return m.when != nil && !m.when(c) })
}
