package main

import "slices"

// work describes an operation and the program that does it.
type work struct {
	Program program `json:"program"`
	Op      string  `json:"op"`
	How     string  `json:"how"` // one of the options of the program
}

// method is a row of the table.
type method struct {
	Group string `json:"group"` // the operation
	Who   string `json:"who"`   // the program and its options
	work
	// reads is the checkpoint to load, by the Who of the save that makes it.
	reads string
	cold  bool
	// rare says that the method takes part in every other round only.
	rare bool
	// again is the row for the second time in a sample, if there is one.
	again *method
	// when reports whether a state is measured; nil means all.
	when func(benchCase) bool
}

func (m method) String() string { return m.Group + ": " + m.Who }

// job is the task of a child process.
type job struct {
	work
	Case    benchCase `json:"case"`
	Data    string    `json:"data"`    // file with the values
	Path    string    `json:"path"`    // checkpoint to write or read
	Scratch string    `json:"scratch"` // directory for a checkpoint to warm up with
	// Rank and Size say which of several processes that save together does the job, and
	// Coordinator is the address at which they agree; Size is 0 for a single process.
	Rank        int    `json:"rank,omitempty"`
	Size        int    `json:"size,omitempty"`
	Coordinator string `json:"coordinator,omitempty"`
}

// program is the program that does the work.
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

// Operations: of all programs, of some, and of the limits of the machine.
const (
	opSave     = "save"
	opLoad     = "load"      // into fresh memory
	opInto     = "load-into" // into memory that the program already has
	opMap      = "map"
	opAsync    = "async"
	opCodec    = "codec"
	opDD       = "dd"
	opDisk     = "disk-write"
	opDiskRead = "disk-read"
	opCopy     = "copy"
	opFresh    = "copy-fresh"
)

// Options of Go's saves and mapped loads.
const (
	howImmutable = "immutable"
	howReuse     = "reuse"
	howBFloat16  = "bfloat16"
	howHuffman   = "huffman"
	howZstd      = "zstd"
	howAuto      = "auto"
	howVerify    = "verify"

	howWhole = "whole"

	howTogether = "together" // several processes; Orbax too
)

// Options of the other programs' saves.
const (
	howRaw = "uncompressed"
	howJAX = "jax"

	howTogetherRaw = "together, uncompressed"
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

	groupResult = "save async, to the end" // for a step of a run
)

// groups is the order of the tables.
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

	whoTogether      = "Go, 4 processes"
	whoOrbaxTogether = "Orbax, 4 processes"
	whoRawTogether   = "Orbax, uncompressed, 4 processes"

	whoWhole   = "Go, whole"
	whoFirst   = "Go, first that shares"
	whoChanged = "Go, one array changed"

	whoOrbax       = "Orbax"
	whoRaw         = "Orbax, uncompressed"
	whoJAX         = "Orbax, jax.Array"
	whoOrbaxOnOurs = "Orbax, Go's files"

	whoDCP         = "PyTorch DCP"
	whoSafetensors = "safetensors, no fsync"
	whoSafeSynced  = "safetensors, fsync"
	whoSafe        = "safetensors"
)

// These report whether a method is measured for a state.
func float32Large(c benchCase) bool  { return c.large() && c.DType == "float32" }
func bfloat16Large(c benchCase) bool { return c.large() && c.DType == "bfloat16" }

// methods lists the measured methods, of this module and of others. Orbax is measured
// with its defaults and without compression with NumPy arrays, which lie in host memory
// like ours, and with its defaults with jax.Arrays on the CPU. Methods that no goal needs
// are rare.
var methods = []method{
	{Group: groupLimit, Who: whoDD, work: work{"", opDD, ""}},
	{Group: groupSave, Who: whoOurs, work: work{ours, opSave, ""}},
	{Group: groupSave, Who: whoHuffman, work: work{ours, opSave, howHuffman}, when: bfloat16Large},
	{Group: groupSave, Who: whoZstd, work: work{ours, opSave, howZstd}, rare: true, when: bfloat16Large},
	{Group: groupSave, Who: whoAuto, work: work{ours, opSave, howAuto}, rare: true, when: float32Large},
	{Group: groupSave, Who: whoBFloat16, work: work{ours, opSave, howBFloat16}, rare: true, when: float32Large},
	{Group: groupLimit, Who: whoDisk, work: work{ours, opDisk, ""}},
	{Group: groupSave, Who: whoOrbax, work: work{orbaxPython, opSave, ""}},
	{Group: groupSave, Who: whoRaw, work: work{orbaxPython, opSave, howRaw}, when: benchCase.large},
	{Group: groupSave, Who: whoJAX, work: work{orbaxPython, opSave, howJAX}, rare: true, when: float32Large},
	{Group: groupSave, Who: whoDCP, work: work{dcp, opSave, ""}, rare: true, when: float32Large},
	{Group: groupSave, Who: whoSafetensors, work: work{safetensors, opSave, ""}, rare: true, again: &method{Group: groupSave, Who: whoSafeSynced}, when: float32Large},

	{Group: groupLimit, Who: whoCopy, work: work{ours, opCopy, ""}},
	{Group: groupInto, Who: whoOurs, work: work{ours, opInto, ""}, reads: whoOurs},
	{Group: groupAsync, Who: whoOurs, work: work{ours, opAsync, ""}, again: &method{Group: groupAgain, Who: whoOurs}},
	{Group: groupAsync, Who: whoReuse, work: work{ours, opAsync, howReuse}, again: &method{Group: groupAgain, Who: whoReuse}, when: benchCase.large},
	{Group: groupAsync, Who: whoImmutable, work: work{ours, opAsync, howImmutable}, again: &method{Group: groupAgain, Who: whoImmutable}, when: benchCase.large},
	{Group: groupAsync, Who: whoOrbax, work: work{orbaxPython, opAsync, ""}, rare: true, again: &method{Group: groupAgain, Who: whoOrbax}, when: float32Large},
	{Group: groupInto, Who: whoDCP, work: work{dcp, opInto, ""}, rare: true, reads: whoDCP, when: float32Large},
	{Group: groupInto, Who: whoHuffman, work: work{ours, opInto, ""}, reads: whoHuffman, when: bfloat16Large},
	{Group: groupInto, Who: whoExchange, work: work{ours, opInto, ""}, reads: whoOrbax, when: benchCase.large},

	{Group: groupLimit, Who: whoCopyFresh, work: work{ours, opFresh, ""}},
	{Group: groupLoad, Who: whoOurs, work: work{ours, opLoad, ""}, reads: whoOurs},
	{Group: groupLoad, Who: whoOrbax, work: work{orbaxPython, opLoad, ""}, reads: whoOrbax},
	{Group: groupLoad, Who: whoOrbaxOnOurs, work: work{orbaxPython, opLoad, ""}, reads: whoOurs, when: benchCase.few},
	{Group: groupLoad, Who: whoRaw, work: work{orbaxPython, opLoad, howRaw}, reads: whoRaw, when: benchCase.large},
	{Group: groupLoad, Who: whoSafe, work: work{safetensors, opLoad, ""}, rare: true, reads: whoSafetensors, when: float32Large},

	{Group: groupMap, Who: whoOurs, work: work{ours, opMap, ""}, again: &method{Group: groupTouch, Who: whoOurs}, reads: whoOurs},
	{Group: groupMap, Who: whoVerified, work: work{ours, opMap, howVerify}, again: &method{Group: groupTouch, Who: whoVerified}, reads: whoOurs, when: benchCase.large},
	{Group: groupMap, Who: whoSafe, work: work{safetensors, opMap, ""}, again: &method{Group: groupTouch, Who: whoSafe}, reads: whoSafetensors, when: benchCase.large},

	{Group: groupCold, Who: whoOurs, work: work{ours, opInto, ""}, reads: whoOurs, cold: true},
	{Group: groupLimit, Who: whoDiskRead, work: work{ours, opDiskRead, ""}, reads: whoOurs, cold: true, when: benchCase.large},
	{Group: groupCold, Who: whoRaw, work: work{orbaxPython, opLoad, howRaw}, rare: true, reads: whoRaw, cold: true, when: float32Large},

	{Group: groupEncode, Who: whoOurs, work: work{ours, opCodec, ""}, again: &method{Group: groupDecode, Who: whoOurs}, when: benchCase.large},
	{Group: groupEncode, Who: whoHuffman, work: work{ours, opCodec, howHuffman}, again: &method{Group: groupDecode, Who: whoHuffman}, when: benchCase.large},
	{Group: groupEncode, Who: whoZstd, work: work{ours, opCodec, howZstd}, again: &method{Group: groupDecode, Who: whoZstd}, when: benchCase.large},
}

// methodsFor returns the methods for a state.
func methodsFor(c benchCase) []method {
	return slices.DeleteFunc(slices.Clone(methods), func(m method) bool { return m.when != nil && !m.when(c) })
}
