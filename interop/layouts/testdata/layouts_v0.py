"""The rows that Orbax's v0 API writes, and those of several processes."""

import asyncio
import os
import pathlib
import shutil
import subprocess
import sys

import numpy as np

from layouts_lib import Key, arrays, bits, expect, optional, refuse, row, state, tree, without
from layouts_v1 import mixed, over, put

ORBAX = "orbax.checkpoint"
jax = optional("jax")
ocp = optional(ORBAX)


def save(path, args, handler):
    with ocp.Checkpointer(handler) as checkpointer:
        checkpointer.save(path, args)


def flat(out, value, **options):
    """A row of one pytree whose directory is the checkpoint itself."""
    handler = ocp.PyTreeCheckpointHandler(**options)
    save(out / "ckpt", ocp.args.PyTreeSave(mixed(value)), handler)
    return expect("ckpt", tree(value))


def stringless():
    """The state that StandardSave takes."""
    return without(state(), "name")


@row(ORBAX)
def v0_standard(out):
    value = stringless()
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(out / "ckpt", mixed(value), custom_metadata={"by": "v0"})
    return expect("ckpt", tree(value))


@row(ORBAX)
def v0_zarr2(out):
    return flat(out, state())


@row(ORBAX)
def v0_zarr3(out):
    return flat(out, state(), use_zarr3=True)


@row(ORBAX)
def v0_uncompressed(out):
    return flat(out, state(), use_compression=False)


@row(ORBAX)
def v0_files_zarr2(out):
    return flat(out, state(), use_ocdbt=False)


@row(ORBAX)
def v0_files_zarr3(out):
    return flat(out, state(), use_ocdbt=False, use_zarr3=True)


@row(ORBAX)
def v0_keys(out):
    return flat(out, {
        "one": Key("threefry2x32", bits("uint32", 2)),
        "many": Key("rbg", bits("uint32", 3, 4)),
        "w": bits("float32", 3),
    })


@row(ORBAX)
def v0_bare_leaf(out):
    return flat(out, bits("bfloat16", 3, 5))


def forget_metadata(path):
    """Makes a checkpoint like those of Orbax before it had metadata of steps."""
    (path / "_CHECKPOINT_METADATA").unlink()
    for marker in path.rglob("commit_success.txt"):
        marker.unlink()


@row(ORBAX)
def v0_old_flat(out):
    row = flat(out, state())
    forget_metadata(out / "ckpt")
    return row


@row(ORBAX)
def v0_manager(out):
    """Steps of a CheckpointManager without names for what it saves."""
    value = stringless()
    with ocp.CheckpointManager(out / "run") as manager:
        manager.save(3, args=ocp.args.StandardSave(mixed(value)), metrics={"loss": 0.25})
        manager.wait_until_finished()
    return expect("run/3", tree(value), names=["default"])


def composite(out):
    """Steps of a CheckpointManager with several things in them."""
    value, meta = stringless(), {"epoch": 3, "rate": 0.5, "tags": ["a", None, True]}
    single = bits("float32", 3, 2)
    options = ocp.CheckpointManagerOptions(step_prefix="step", step_format_fixed_length=6)
    with ocp.CheckpointManager(out / "run", options=options) as manager:
        manager.save(42, args=ocp.args.Composite(
            state=ocp.args.StandardSave(mixed(value)),
            other=ocp.args.PyTreeSave(arrays()),
            meta=ocp.args.JsonSave(meta),
            arr=ocp.args.ArraySave(single),
        ))
        manager.wait_until_finished()
    return expect(
        "run/step_000042",
        tree(value),
        tree(arrays(), "other"),
        tree({"checkpoint": single}, "arr"),  # the handler's name for it
        {"name": "meta", "json": meta},
        names=["arr", "meta", "other", "state"],
    )


@row(ORBAX)
def v0_composite(out):
    return composite(out)


@row(ORBAX)
def v0_old_composite(out):
    row = composite(out)
    forget_metadata(out / row["open"])
    return row


@row(ORBAX)
def v0_proto(out):
    from google.protobuf import json_format, struct_pb2

    value = {"epoch": 3, "tags": ["a", None, True]}
    args = ocp.args.Composite(
        state=ocp.args.StandardSave(arrays()),
        proto=ocp.args.ProtoSave(json_format.ParseDict(value, struct_pb2.Struct())),
    )
    save(out / "ckpt", args, ocp.CompositeCheckpointHandler())
    return expect("ckpt", tree(arrays()), {"name": "proto", "proto": value}, names=["proto", "state"])


def random_keys(out):
    """Beside a pytree composites in the composite, which v1 does not load."""
    one, many = (Key("threefry2x32", bits("uint32", *shape)) for shape in ((2,), (3, 2)))
    legacy = bits("uint32", 2)
    generator = np.random.RandomState(7)
    generator.standard_normal()  # of two, the second is kept
    args = ocp.args.Composite(
        state=ocp.args.StandardSave(arrays()),
        one=ocp.args.JaxRandomKeySave(put(one)),
        many=ocp.args.JaxRandomKeySave(put(many)),
        legacy=ocp.args.JaxRandomKeySave(put(legacy)),
        tuple=ocp.args.NumpyRandomKeySave(generator.get_state()),
        dict=ocp.args.NumpyRandomKeySave(generator.get_state(legacy=False)),
    )
    save(out / "ckpt", args, ocp.CompositeCheckpointHandler())
    return expect(
        "ckpt",
        tree(arrays()),
        tree(one, "one"),
        tree(many, "many"),
        tree(legacy, "legacy"),
        tree(generator.get_state(), "tuple"),
        tree(generator.get_state(legacy=False), "dict"),
        names=["dict", "legacy", "many", "one", "state", "tuple"],
    )


@row(ORBAX)
def v0_random_keys(out):
    return random_keys(out)


@row(ORBAX)
def v0_old_random_keys(out):
    row = random_keys(out)
    forget_metadata(out / "ckpt")
    return row


@row(ORBAX)
def v0_random_key(out):
    """A key alone, in directories of another name."""
    key = Key("threefry2x32", bits("uint32", 4, 2))
    save(out / "ckpt", ocp.args.JaxRandomKeySave(put(key)), ocp.JaxRandomKeyCheckpointHandler("rng"))
    return expect("ckpt", tree(key))


@row(ORBAX)
def v0_descriptor(out):
    """With the item that Google's own Orbax adds to say who saved."""
    args = ocp.args.Composite(state=ocp.args.StandardSave(mixed(arrays())))
    save(out / "ckpt", args, ocp.CompositeCheckpointHandler())
    (out / "ckpt/descriptor").mkdir()
    (out / "ckpt/descriptor/descriptor.pbtxt").write_text('uuid: "6ba7b810-9dad-11d1-80b4-00c04fd430c8"\n')
    return expect("ckpt", tree(arrays()), names=["descriptor", "state"])


@row(ORBAX)
def v0_array(out):
    """A single array by its own handler."""
    value = bits("float32", 3, 4)
    save(out / "ckpt", ocp.args.ArraySave(value), ocp.ArrayCheckpointHandler())
    return expect("ckpt", tree({"checkpoint": value}))


@row(ORBAX)
def v0_json(out):
    """A JSON document alone. v1 does not load it; v0 does."""
    value = {"epoch": 3, "rate": 0.5, "tags": ["a", None, True]}
    save(out / "ckpt", ocp.args.JsonSave(value), ocp.JsonCheckpointHandler())
    return expect("ckpt", {"name": "", "json": value})


def write_msgpack(folder, value):
    """Writes the file that Orbax gathered leaves in until 2024."""
    handler = ocp.aggregate_handlers.MsgpackHandler()
    asyncio.run(handler.serialize(folder / "checkpoint", value)).result()


@row(ORBAX)
def v0_msgpack(out):
    value = {"w": bits("float32", 3, 4), "step": 12}
    (out / "ckpt").mkdir()
    write_msgpack(out / "ckpt", value)
    return expect("ckpt", tree(value))


@row(ORBAX)
def v0_msgpack_and_files(out):
    """The tree in that file, its arrays in folders beside it."""
    value = {"a": {"w": bits("float32", 3, 4)}}
    flat(out, value, use_ocdbt=False)
    forget_metadata(out / "ckpt")
    (out / "ckpt/_METADATA").unlink()
    write_msgpack(out / "ckpt", {"a": {"w": "PLACEHOLDER://a.w"}})
    return expect("ckpt", tree(value))


def processes_value():
    return {
        "rows": bits("float32", 40, 16),
        "both": bits("bfloat16", 4, 6),
        "copies": bits("int64", 5),
        "key": Key("threefry2x32", bits("uint32", 4, 2)),
        "np": bits("complex64", 2, 2),
        "step": 9,
        "name": "two of them",
    }


# What each of the processes runs: its number, the port of the first, the path.
PROCESS = """
import sys
import jax
index, port, path = int(sys.argv[1]), sys.argv[2], sys.argv[3]
jax.distributed.initialize("127.0.0.1:" + port, num_processes=2, process_id=index)
import layouts_v0
layouts_v0.save_as_one_of_two(path)
"""


def save_as_one_of_two(path):
    """Saves arrays that lie over the devices of both processes."""
    mesh = jax.make_mesh((2, 2), ("x", "y"))
    spec = {"rows": ("x",), "both": ("x", "y"), "copies": (), "key": ("y",)}

    def lay(name, x):
        if isinstance(x, Key):
            return jax.random.wrap_key_data(lay(name, x.data), impl=x.impl)
        where = over(mesh, *spec[name])
        return jax.make_array_from_callback(x.shape, where, lambda index: x[index])

    value = {k: lay(k, v) if k in spec else v for k, v in processes_value().items()}
    if path.endswith("v1"):
        import orbax.checkpoint.experimental.v1 as v1

        v1.save(path, value)
    else:
        save(path, ocp.args.PyTreeSave(value), ocp.PyTreeCheckpointHandler())


def two_processes(path):
    import portpicker

    port = str(portpicker.pick_unused_port())
    env = {**os.environ, "XLA_FLAGS": "--xla_force_host_platform_device_count=2"}
    env["JAX_CPU_COLLECTIVES_IMPLEMENTATION"] = "gloo"
    folder = pathlib.Path(__file__).parent
    both = [
        subprocess.Popen([sys.executable, "-B", "-c", PROCESS, str(i), port, str(path)], cwd=folder, env=env)
        for i in range(2)
    ]
    try:
        codes = [p.wait(timeout=120) for p in both]
    finally:
        for p in both:
            p.kill()
    if any(codes):
        raise RuntimeError(f"the processes ended with {codes}")


def unmerge(folder):
    """Leaves of a database only those of the single processes."""
    (folder / "manifest.ocdbt").unlink()
    shutil.rmtree(folder / "d")


@row(ORBAX)
def processes_v1(out):
    two_processes(out / "v1")
    return expect("v1", tree(processes_value()), names=["state"])


@row(ORBAX)
def processes_v0(out):
    two_processes(out / "v0")
    return expect("v0", tree(processes_value()))


@row(ORBAX)
def processes_v1_unmerged(out):
    row = processes_v1(out)
    unmerge(out / "v1/state")
    return row


@row(ORBAX)
def processes_v0_unmerged(out):
    row = processes_v0(out)
    unmerge(out / "v0")
    return row
