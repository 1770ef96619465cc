"""The rows that old releases of Orbax and Flax write, until 2024.

Each release makes its own rows, and no others. With Python 3.11

    python -m venv old
    old/bin/pip install jax==0.4.30 jaxlib==0.4.30 numpy==1.26.4 ml_dtypes==0.4.0 scipy==1.13.1 \\
        tensorstore==0.1.63 msgpack==1.0.8 optax==0.2.3 flax==0.8.5 orbax-checkpoint==0.5.10
    old/bin/python layouts.py layouts

makes those of the last releases, and after

    old/bin/pip install --no-deps --target other orbax-checkpoint==0.4.4

PYTHONPATH=other those of this release; those of Orbax 0.2.3 and Flax 0.6.11,
and with --target those of Orbax 0.3.5, take

    pip install jax==0.4.13 jaxlib==0.4.13 numpy==1.25.2 ml_dtypes==0.2.0 scipy==1.11.4 \\
        tensorstore==0.1.40 msgpack==1.0.5 optax==0.1.5 flax==0.6.11 orbax-checkpoint==0.2.3 \\
        protobuf==4.23.4

Earlier releases of Orbax do not run with any JAX that Python 3.11 has.
"""

import numpy as np

from layouts_lib import ROWS, bits, expect, optional, state, tree, without
from layouts_v1 import mixed

ocp = optional("orbax.checkpoint")
jax = optional("jax")

RELEASES = ["0.2.3", "0.3.5", "0.4.4", "0.5.10"]  # of Orbax
FLAX = "flax==0.8.5"


def rows(releases, package):
    """Registers a function of a folder as a row of each release that it is given."""

    def register(make):
        for version in releases:
            name = f"{package.split('-')[0]}_{version}_{make.__name__}".replace(".", "_")
            ROWS[name] = ((f"{package}=={version}",), make)
        return make

    return register


orbax_rows = lambda *releases: rows(releases or RELEASES, "orbax-checkpoint")
flax_rows = lambda *releases: rows(releases, "flax")


def small():
    """A state without what makes archives large, and without the empty tuple, which
    becomes a list in some of these releases and None in others."""
    return {**without(state(), "table"), "empty": {"dict": {}, "list": []}}


def listed(value):
    """The value as these releases store it: they know no tuples."""
    if isinstance(value, dict):
        return {k: listed(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [listed(v) for v in value]
    return value


def save(path, value, aggregate, ocdbt=False):
    """Saves with the leaves aggregated for which aggregate is true."""
    try:
        handler = ocp.PyTreeCheckpointHandler(use_ocdbt=ocdbt)
    except TypeError:  # the oldest has no such option
        handler = ocp.PyTreeCheckpointHandler()
    args = jax.tree_util.tree_map(lambda x: ocp.SaveArgs(aggregate=bool(aggregate(x))), value)
    ocp.Checkpointer(handler).save(path, value, save_args=args)


def whole(x):
    return True


def some(x):
    """Vectors, scalars and strings; larger arrays that TensorStore had are stored apart."""
    return np.ndim(x) < 2 or x.dtype.name == "int4"


@orbax_rows()
def aggregated(out):
    save(out / "ckpt", mixed(small()), whole)
    return expect("ckpt", tree(listed(small())))


@orbax_rows()
def partly_aggregated(out):
    save(out / "ckpt", mixed(small()), some)
    return expect("ckpt", tree(listed(small())))


@orbax_rows("0.3.5", "0.4.4", "0.5.10")
def partly_aggregated_ocdbt(out):
    save(out / "ckpt", mixed(small()), some, ocdbt=True)
    return expect("ckpt", tree(listed(small())))


@orbax_rows()
def save_args_from_target(out):
    """As the guides of Flax had it."""
    from flax.training import orbax_utils

    value = small()
    ocp.PyTreeCheckpointer().save(out / "ckpt", mixed(value), save_args=orbax_utils.save_args_from_target(value))
    return expect("ckpt", tree(listed(value)))


@orbax_rows()
def manager(out):
    """Steps of a CheckpointManager, aggregated."""
    value = {"params": {"w": bits("float32", 4, 6), "b": bits("bfloat16", 6)}, "step": 12}
    args = jax.tree_util.tree_map(lambda _: ocp.SaveArgs(aggregate=True), value)
    manager = ocp.CheckpointManager(out / "run", ocp.PyTreeCheckpointer())
    for step in (1, 2):
        manager.save(step, mixed(value), save_kwargs={"save_args": args})
    return expect("run/2", tree(value), names=["default"])


@orbax_rows("0.2.3", "0.3.5")
def structure_in_msgpack(out):
    """Arrays apart, and of the tree only what the file says: all that there was at first."""
    value = {"a": [bits("float32", 4, 6), {"b": bits("bfloat16", 3)}], "none": None}
    save(out / "ckpt", mixed(value), lambda x: False)
    return expect("ckpt", tree(value))


@flax_rows("0.6.11", "0.8.5")
def file(out):
    """A file of save_checkpoint, with what Flax makes of a tree's lists."""
    import flax
    from flax.training import checkpoints

    value = {**without(small(), "empty"), "scalar": np.float32(2.5), "complex": 1.5 - 2j, "large": 2**64 - 1}
    flax.config.update("flax_use_orbax_checkpointing", False)
    checkpoints.save_checkpoint(str(out), mixed(value), step=5)
    return expect("checkpoint_5", tree(flax.serialization.to_state_dict(value)))


@flax_rows("0.6.11", "0.8.5")
def chunked_file(out):
    """Arrays in chunks, as those above 1 GiB are."""
    import flax

    flax.serialization.MAX_CHUNK_SIZE = 100
    value = {"a": bits("float32", 5, 3, 7), "b": {"c": bits("bfloat16", 200), "d": bits("int8", 3)}}
    (out / "model.msgpack").write_bytes(flax.serialization.to_bytes(value))
    return expect("model.msgpack", tree(value))


@flax_rows("0.6.11", "0.8.5")
def save_checkpoint(out):
    """A step of save_checkpoint with Orbax, the name of its tree in no document."""
    import flax
    from flax.training import checkpoints

    flax.config.update("flax_use_orbax_checkpointing", True)
    value = {"params": {"w": bits("float32", 4, 6), "b": bits("bfloat16", 6)}, "opt": [bits("int32"), None], "step": 12}
    for step in (5, 300):
        checkpoints.save_checkpoint(str(out / "run"), mixed(value), step=step, keep=2)
    return expect("run/checkpoint_300", tree(value))
