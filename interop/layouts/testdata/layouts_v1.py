"""The rows that Orbax's v1 API writes."""

import typing

from layouts_lib import Key, arrays, bits, expect, map_arrays, optional, plain, refuse, row, state, tree, without

ORBAX = "orbax.checkpoint.experimental.v1"
jax = optional("jax")
flax = optional("flax")
ocp = optional(ORBAX)


def put(tree):
    """The tree with its arrays in JAX, on the first device."""

    def one(x):
        if isinstance(x, Key):
            return jax.random.wrap_key_data(x.data, impl=x.impl)
        return jax.device_put(x, jax.devices()[0])

    return map_arrays(one, tree)


def save(path, value, array=None, storage=None, **context):
    """Saves with members of ArrayOptions.Saving and of its StorageOptions."""
    saving = ocp.options.ArrayOptions.Saving
    saving = saving(storage_options=saving.StorageOptions(**(storage or {})), **(array or {}))
    with ocp.Context(array_options=ocp.options.ArrayOptions(saving=saving), **context):
        ocp.save(path, value)


def saved(out, value, **options):
    """A row of one checkpoint, half of whose arrays are JAX's."""
    save(out / "ckpt", mixed(value), **options)
    return expect("ckpt", tree(value), names=["state"])


def mixed(tree):
    """The tree with every other array in JAX."""
    n = 0

    def one(x):
        nonlocal n
        n += 1
        return put(x) if n % 2 or isinstance(x, Key) else x

    return map_arrays(one, tree)


@row(ORBAX)
def v1_default(out):
    return saved(out, state())


@row(ORBAX)
def v1_uncompressed(out):
    return saved(out, state(), array=dict(use_compression=False))


@row(ORBAX)
def v1_chunks(out):
    """Many chunks, at the ends of which the arrays stop short."""
    value = {"a": bits("float32", 10, 9), "b": bits("bfloat16", 3, 4, 5), **state()}
    return saved(out, value, storage=dict(chunk_byte_size=100))


@row(ORBAX)
def v1_zarr2(out):
    return saved(out, state(), array=dict(use_zarr3=False))


@row(ORBAX)
def v1_zarr2_uncompressed(out):
    return saved(out, state(), array=dict(use_zarr3=False, use_compression=False))


@row(ORBAX)
def v1_files_zarr2(out):
    return saved(out, state(), array=dict(use_ocdbt=False, use_zarr3=False))


@row(ORBAX)
def v1_files_zarr3(out):
    return saved(out, state(), array=dict(use_ocdbt=False))


def over(mesh, *spec):
    return jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec(*spec))


def sharded_values():
    return {
        "rows": bits("float32", 60, 12),
        "both": bits("bfloat16", 4, 8),
        "joint": bits("int64", 16),
        "copies": bits("complex64", 3, 2),
        "half": bits("uint8", 2, 4, 6),
        "i4": bits("int4", 8, 2),
        "step": 3,
    }


def sharded(value):
    mesh = jax.make_mesh((2, 4), ("x", "y"))
    spec = {"rows": ("x",), "both": ("x", "y"), "joint": (("x", "y"),), "copies": (), "half": (None, "y"), "i4": ("y", None)}
    return {k: jax.device_put(v, over(mesh, *spec[k])) if k in spec else v for k, v in value.items()}


def saved_sharded(out, **options):
    value = sharded_values()
    save(out / "ckpt", sharded(value), **options)
    return expect("ckpt", tree(value), names=["state"])


@row(ORBAX)
def v1_sharded(out):
    return saved_sharded(out)


@row(ORBAX)
def v1_sharded_chunks(out):
    """Shards of several chunks each."""
    return saved_sharded(out, storage=dict(chunk_byte_size=64))


@row(ORBAX)
def v1_sharded_files(out):
    return saved_sharded(out, array=dict(use_ocdbt=False))


@row(ORBAX)
def v1_sharded_large(out):
    """Chunks that are worth leaving out."""
    mesh = jax.make_mesh((2, 4), ("x", "y"))
    value = {"w": plain()}
    on_devices = {"w": jax.device_put(value["w"], over(mesh, "x", "y"))}
    save(out / "ckpt", on_devices, array=dict(use_compression=False), storage=dict(chunk_byte_size=1 << 18))
    return expect("ckpt", tree(value), names=["state"])


@row(ORBAX)
def v1_single_replica(out):
    """Copies of an array on several devices, of which one alone is written."""
    return saved_sharded(out, array=dict(use_replica_parallel=False))


@row(ORBAX)
def v1_replica_folder(out):
    """Databases of their own for what the copies wrote together."""
    return saved_sharded(out, array=dict(enable_replica_parallel_separate_folder=True))


@row(ORBAX)
def v1_no_sharding_file(out):
    return saved_sharded(out, array=dict(enable_write_sharding_file=False))


@row(ORBAX)
def v1_small_data_files(out):
    """A database of many files."""
    value = {str(i): bits("float32", 20 + i, 16) for i in range(8)}
    return saved(out, value, array=dict(ocdbt_target_data_file_size=2000))


@row(ORBAX)
def v1_keys(out):
    """Typed keys of JAX's generators, and an old one, which is an array."""
    return saved(out, {
        "one": Key("threefry2x32", bits("uint32", 2)),
        "many": Key("threefry2x32", bits("uint32", 3, 2, 2)),
        "rbg": Key("rbg", bits("uint32", 5, 4)),
        "unsafe": Key("unsafe_rbg", bits("uint32", 4)),
        "old": bits("uint32", 2, 2),
        "w": bits("float32", 3),
    })


class Moments(typing.NamedTuple):
    mu: object
    nu: object
    count: object


@row(ORBAX)
def v1_rich(out):
    """Tuples, namedtuples and a dataclass, of which the metadata tells."""

    @flax.struct.dataclass
    class Train:
        step: object
        params: object
        opt: object

    moments = Moments(bits("float32", 2, 3), (bits("bfloat16", 4), bits("bool", 3)), 7)
    value = {
        "train": Train(bits("int64"), {"w": bits("float16", 2, 2)}, (moments, {})),
        "pair": (bits("uint8", 3), 1.5),
        "nested": ([bits("complex64", 2)], (bits("int4", 2),)),
        "text": "as it is",
        "nothing": (None, (), []),
    }
    options = ocp.options.PyTreeOptions()
    rich = type(options.saving.pytree_metadata_options)(support_rich_types=True)
    options.saving = ocp.options.PyTreeOptions.Saving(pytree_metadata_options=rich)
    return saved(out, value, pytree_options=options)


@row(ORBAX)
def v1_composite(out):
    """Pytrees, JSON and a protocol buffer side by side."""
    from google.protobuf import json_format, struct_pb2

    meta = {"epoch": 3, "rate": 0.5, "tags": ["a", None, True], "text": "ü"}
    items = {"params": state(), "ema": arrays()}
    registry = ocp.handlers.local_registry()
    registry.add(ocp.handlers.JsonHandler, checkpointable_name="meta")
    with ocp.Context(checkpointables_options=ocp.options.CheckpointablesOptions(registry=registry)):
        ocp.save_checkpointables(
            out / "ckpt",
            {
                "params": mixed(items["params"]),
                "ema": items["ema"],
                "meta": meta,
                "proto": json_format.ParseDict(meta, struct_pb2.Struct()),
            },
            custom_metadata={"by": "v1"},
        )
    return expect(
        "ckpt",
        tree(items["ema"]),  # the first by name
        tree(items["params"], "params"),
        {"name": "meta", "json": meta},
        {"name": "proto", "proto": meta},
        names=["ema", "meta", "params", "proto"],
    )


@row(ORBAX)
def v1_training(out):
    """A step of a training.Checkpointer, with metrics."""
    value = state()
    with ocp.training.Checkpointer(out / "run") as checkpointer:
        checkpointer.save(5, mixed(value), metrics={"loss": 0.25})
    return expect("run/5", tree(value), names=["state"])


def save_parts(path):
    """Two partial saves, not finalised."""
    value = state()
    first = {k: value[k] for k in ("params", "opt", "step", "name")}
    ocp.partial.save(path, mixed(first))
    ocp.partial.save(path, mixed(without(value, *first)))
    return value


@row(ORBAX)
def v1_partial(out):
    value = save_parts(out / "ckpt")
    ocp.partial.finalize(out / "ckpt")
    return expect("ckpt", tree(value), names=["state"])


@row(ORBAX)
def v1_partial_open(out):
    """A session of partial saves that goes on."""
    save_parts(out / "ckpt")
    return refuse("ckpt.partial_save", "ErrIncomplete", "partial")


@row(ORBAX)
def v1_temporary(out):
    """What a save leaves that was killed before it was done."""
    save(out / "ckpt", arrays())
    (out / "ckpt").rename(out / "ckpt.orbax-checkpoint-tmp")
    return refuse("ckpt.orbax-checkpoint-tmp", "ErrIncomplete", "temporary")


@row(ORBAX)
def v1_bare_leaf(out):
    return saved(out, bits("bfloat16", 3, 5))


@row(ORBAX)
def v1_bare_leaf_files(out):
    return saved(out, bits("float32", 3, 5), array=dict(use_ocdbt=False))


@row(ORBAX)
def v1_bare_sequence(out):
    return saved(out, [bits("float32", 3), (bits("bool", 2, 2), "text"), 4])


@row(ORBAX)
def v1_strings(out):
    """No arrays, so that there is no database."""
    return saved(out, {"a": "one", "b": {"c": "", "d": 'quotes " and \n'}, "list": ["ü"]})


@row(ORBAX)
def v1_names(out):
    """Keys that are awkward as names."""
    leaf = lambda: bits("int16", 3)
    return saved(out, {
        "dots.in.name": leaf(),
        "slash/in/name": leaf(),
        "quote'\"": leaf(),
        "ключ \U0001f511": leaf(),
        "space in it": {"": leaf()},
        "0": [leaf()],
        "int": {7: leaf(), -1: leaf()},
    })
