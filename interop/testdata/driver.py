"""Serves the real Orbax to the tests: requests on stdin, answers on stdout.

Each line is one JSON object. A request has "op" and what the function for that
op below says, in braces with defaults; an answer is {"ok": true, ...} or
{"ok": false, "error": "Class: message", "trace": ...}. A request's "id" comes
back in its answer. Trees are in the form that wire.py describes. Whatever the
libraries print goes to stderr.

Unless the environment says otherwise, JAX runs on eight CPU devices with 64-bit
types.
"""

import os

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("JAX_ENABLE_X64", "1")
os.environ.setdefault("XLA_FLAGS", "--xla_force_host_platform_device_count=8")

import asyncio
import base64
import contextlib
import importlib.metadata
import itertools
import json
import sys
import tempfile
import threading
import traceback
from unittest import mock

# Keep the real stdout for answers alone, also from what C++ code prints.
_answers = os.fdopen(os.dup(1), "w", encoding="ascii")
os.dup2(2, 1)

import jax
import numpy as np
import orbax.checkpoint.experimental.v1 as ocp

import runs
import wire

_OPS = dict(runs.OPS)


def _op(f):
    _OPS[f.__name__] = f
    return f


def _context(options, json_names=()):
    """A Context from {"use_ocdbt": bool, ...}, {} being the defaults.

    Members of ArrayOptions.Saving, .Saving.StorageOptions and .Loading have the
    names they have there; further "rich_types", "partial_load" and "layout". The
    checkpointables in json_names are handled as JSON: a dict is a tree otherwise.
    """
    options = dict(options or {})
    saving, loading = ocp.options.ArrayOptions.Saving, ocp.options.ArrayOptions.Loading

    def take(cls):
        names = [n for n in cls.__dataclass_fields__ if n in options]
        kwargs = {n: options.pop(n) for n in names}
        if "shard_axes" in kwargs:
            kwargs["shard_axes"] = tuple(kwargs["shard_axes"])
        return cls(**kwargs)

    options["storage_options"] = take(saving.StorageOptions)
    array_options = ocp.options.ArrayOptions(saving=take(saving), loading=take(loading))
    pytree_options = ocp.options.PyTreeOptions()
    if options.pop("partial_load", False):
        pytree_options.loading = ocp.options.PyTreeOptions.Loading(partial_load=True)
    if options.pop("rich_types", False):
        rich = type(pytree_options.saving.pytree_metadata_options)(support_rich_types=True)
        pytree_options.saving = ocp.options.PyTreeOptions.Saving(pytree_metadata_options=rich)
    layout, atomicity = options.pop("layout", None), options.pop("atomicity", None)
    if options:
        raise ValueError(f"unknown options {sorted(options)}")
    kwargs = {"checkpoint_layout": layout} if layout else {}
    registry = ocp.handlers.local_registry()
    for name in json_names:
        registry.add(ocp.handlers.JsonHandler, checkpointable_name=name)
    context = ocp.Context(
        array_options=array_options,
        pytree_options=pytree_options,
        checkpointables_options=ocp.options.CheckpointablesOptions(registry=registry),
        **kwargs,
    )
    if atomicity:
        context.atomicity.mode = atomicity
    return context


def _name(request):
    return {"checkpointable_name": request["name"]} if request.get("name") else {}


def _abstract(spec, path, name):
    """What to load into, from None or {"kind": ...}:

    "eval_shape": jax.eval_shape of "tree", shapes without shardings; strings,
        None and placeholders stay.
    "np": an np.ndarray for every array of "tree", or of the checkpoint's
        metadata when there is no tree. Typed PRNG keys stay.
    "tree": "tree" itself.
    "metadata": the checkpoint's own metadata.
    """
    if spec is None:
        return None
    kind = spec["kind"]
    if kind == "metadata":
        return ocp.metadata(path, **name)
    if kind == "tree":
        return wire.decode(spec["tree"])
    if kind == "eval_shape":
        return jax.tree.map(
            lambda x: x if isinstance(x, str) or x is ocp.PLACEHOLDER else jax.eval_shape(lambda: x),
            wire.decode(spec["tree"]),
        )
    if kind == "np":
        tree = wire.decode(spec["tree"]) if spec.get("tree") else ocp.metadata(path, **name).metadata
        if tree is None:  # ocp.load would take it for "no abstract"
            raise ValueError("the checkpoint has no metadata to load by: give a tree")
        return jax.tree.map(_numpy_like, tree)
    raise ValueError(f"unknown abstract {kind!r}")


def _numpy_like(x):
    if not hasattr(x, "dtype") or jax.dtypes.issubdtype(x.dtype, jax.dtypes.prng_key):
        return x
    return np.empty(x.shape, x.dtype)


@_op
def ping(request):
    """{} -> {"versions": {name: version}, "devices": n, "x64": bool}"""
    names = ["orbax-checkpoint", "jax", "jaxlib", "tensorstore", "numpy", "ml_dtypes", "grain"]
    return {
        "versions": {name: importlib.metadata.version(name) for name in names},
        "devices": len(jax.devices()),
        "x64": bool(jax.config.jax_enable_x64),
    }


@_op
def save(request):
    """{"path", "tree", "name": null, "overwrite": false, "options": {},
    "custom_metadata": null | "custom_json": text} -> {}

    Without OCDBT, Orbax writes a key that begins with "/" outside of path: to
    that file, or for "/" alone to the working directory."""
    with _context(request.get("options")):
        ocp.save(
            request["path"],
            wire.decode(request["tree"]),
            overwrite=request.get("overwrite", False),
            custom_metadata=runs.custom(request),
            **_name(request),
        )
    return {}


@_op
def load(request):
    """{"path", "name": null, "abstract": null, "options": {}} -> {"tree"}"""
    path, name = request["path"], _name(request)
    with _context(request.get("options")):
        tree = ocp.load(path, _abstract(request.get("abstract"), path, name), **name)
    return {"tree": wire.encode(tree)}


@_op
def partial_save(request):
    """{"path", "tree", "options": {}, "custom_metadata": null | "custom_json": text} -> {}"""
    with _context(request.get("options")):
        ocp.partial.save(
            request["path"],
            wire.decode(request["tree"]),
            custom_metadata=runs.custom(request),
        )
    return {}


@_op
def partial_finalize(request):
    """{"path"} -> {}"""
    ocp.partial.finalize(request["path"])
    return {}


class _Stopped(Exception):
    """Neither of the errors that Orbax catches: as if the process had died."""


@_op
def partial_finalize_stopped(request):
    """{"path", "after"} -> {"stopped": bool}

    Lets a finalize change the disk `after` times, and no more: one change after
    the other, for Orbax does not wait for threads when it fails."""
    from orbax.checkpoint.experimental.v1._src.partial import saving

    steps = itertools.count(1)

    def step():
        if next(steps) > request["after"]:
            raise _Stopped

    class Files:
        def __getattr__(self, name):
            function = getattr(files, name)
            if name not in ("rename", "write_text", "unlink", "rmtree", "mkdir"):
                return function

            async def stepping(*args, **kwargs):
                step()
                return await function(*args, **kwargs)

            return stepping

    files, handler = saving.async_path, saving.BasePyTreeCheckpointHandler

    class Handler(handler):
        def finalize(self, directory):
            step()
            super().finalize(directory)

    async def inline(function, *args, **kwargs):
        return function(*args, **kwargs)

    to_thread = asyncio.to_thread
    asyncio.to_thread = inline
    saving.async_path, saving.BasePyTreeCheckpointHandler = Files(), Handler
    try:
        ocp.partial.finalize(request["path"])
    except _Stopped:
        return {"stopped": True}
    finally:
        asyncio.to_thread = to_thread
        saving.async_path, saving.BasePyTreeCheckpointHandler = files, handler
    return {"stopped": False}


@_op
def delete(request):
    """{"path", "name": null, "missing_ok": false} -> {"deleted": bool}"""
    deleted = ocp.delete(request["path"], missing_ok=request.get("missing_ok", False), **_name(request))
    return {"deleted": deleted}


class _Stopped(Exception):
    """What a call does instead of its work when the process is to be dead."""


@_op
def delete_stopped(request):
    """{"path", "name": null, "at"} -> {"stopped": bool, "calls": [name, ...]}

    Deletes as a process does that dies before its at-th call, from 0, of those
    that change the disk: that and all later ones do nothing."""
    calls, lock = [], threading.Lock()

    def watch(f):
        def watched(*args, **kwargs):
            with lock:
                calls.append(f.__name__)
                if len(calls) > request["at"]:
                    raise _Stopped(f.__name__)
            return f(*args, **kwargs)

        return watched

    names = ["link", "replace", "rename", "unlink", "remove", "rmdir", "mkdir", "fsync"]
    with contextlib.ExitStack() as patches:
        for module, name in [(os, n) for n in names] + [(tempfile, "mkstemp")]:
            patches.enter_context(mock.patch.object(module, name, watch(getattr(module, name))))
        try:
            ocp.delete(request["path"], **_name(request))
        except _Stopped:
            pass
    return {"stopped": len(calls) > request["at"], "calls": calls}


@_op
def is_checkpoint(request):
    """{"path"} -> {"is_checkpoint": bool}"""
    return {"is_checkpoint": bool(ocp.is_orbax_checkpoint(request["path"]))}


def _metadata(m):
    return {
        "custom_metadata": runs.spelled(m.custom_metadata),
        "init_timestamp_nsecs": m.init_timestamp_nsecs,
        "commit_timestamp_nsecs": m.commit_timestamp_nsecs,
    }


def _leaves(tree):
    """Every leaf's path and what its metadata says of it. None for a tree whose
    metadata Orbax cannot tell, as with a bool in it."""
    if tree is None:
        return None
    out = []
    for path, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]:
        keys = [str(getattr(k, "key", getattr(k, "idx", getattr(k, "name", k)))) for k in path]
        entry = {"path": keys, "class": type(leaf).__name__}
        if getattr(leaf, "dtype", None) is not None:
            entry.update(dtype=np.dtype(leaf.dtype).name, shape=list(leaf.shape))
        if getattr(leaf, "sharding", None) is not None:
            entry["sharding"] = str(leaf.sharding)
        out.append(entry)
    return out


@_op
def metadata(request):
    """{"path", "name": null} -> {"custom_metadata", "init_timestamp_nsecs",
    "commit_timestamp_nsecs", "leaves": [{"path": [...], "class", "dtype",
    "shape", "sharding"}, ...] | null}"""
    m = ocp.metadata(request["path"], **_name(request))
    return {**_metadata(m), "leaves": _leaves(m.metadata)}


@_op
def checkpointables_metadata(request):
    """{"path"} -> as metadata, with "items": {name: leaves | null}"""
    m = ocp.checkpointables_metadata(request["path"])
    items = {k: _leaves(v) for k, v in m.metadata.items()}
    return {**_metadata(m), "items": items}


def _message_class(full_name):
    from google.protobuf import any_pb2, duration_pb2, struct_pb2, timestamp_pb2, wrappers_pb2

    for module in (any_pb2, duration_pb2, struct_pb2, timestamp_pb2, wrappers_pb2):
        descriptor = module.DESCRIPTOR.message_types_by_name.get(full_name.rpartition(".")[2])
        if descriptor is not None and descriptor.full_name == full_name:
            return getattr(module, descriptor.name)
    raise ValueError(f"unknown message {full_name!r}")


def _grain_iterator(item):
    """An iterator over 0 <= i < n, shuffled with a seed."""
    import grain

    return iter(grain.MapDataset.range(item["n"]).shuffle(seed=item["seed"]).to_iter_dataset())


def _take(iterator, k):
    return [int(x) for x in itertools.islice(iterator, k)]


def _json_names(items):
    return [name for name, item in (items or {}).items() if item["kind"] == "json"]


@_op
def save_checkpointables(request):
    """{"path", "items": {name: item}, "overwrite": false, "options": {},
    "custom_metadata": null | "custom_json": text} -> {"items": {name: item}}

    An item is {"kind": "pytree", "tree"}, {"kind": "json", "value"},
    {"kind": "proto", "type": "google.protobuf.Struct", "json"} with the JSON
    form of the message, or {"kind": "grain", "n", "seed", "steps"}: an iterator
    that has given `steps` elements, which come back as "taken".
    """
    from google.protobuf import json_format

    items, answers = {}, {}
    for name, item in request["items"].items():
        kind = item["kind"]
        if kind == "pytree":
            items[name] = wire.decode(item["tree"])
        elif kind == "json":
            items[name] = item["value"]
        elif kind == "proto":
            items[name] = json_format.ParseDict(item["json"], _message_class(item["type"])())
        elif kind == "grain":
            items[name] = _grain_iterator(item)
            answers[name] = {"kind": kind, "taken": _take(items[name], item["steps"])}
        else:
            raise ValueError(f"unknown kind {kind!r}")
    with _context(request.get("options"), _json_names(request["items"])):
        ocp.save_checkpointables(
            request["path"],
            items,
            overwrite=request.get("overwrite", False),
            custom_metadata=runs.custom(request),
        )
    return {"items": answers}


@_op
def load_checkpointables(request):
    """{"path", "items": null, "options": {}} -> {"items": {name: item}}

    Without items, all that can be loaded without knowing its type. An item asked
    for is {"kind": "pytree", "abstract": null}, {"kind": "json"}, {"kind":
    "proto", "type"} or {"kind": "grain", "n", "seed", "take"}. The answer's have
    "tree"; "value"; "json" and "binary" (base64); or "next", the `take` elements
    that follow.
    """
    from google.protobuf import json_format
    from google.protobuf.message import Message

    path, asked = request["path"], request.get("items")
    abstract = None
    if asked is not None:
        abstract = {}
        for name, item in asked.items():
            kind = item["kind"]
            if kind == "pytree":
                abstract[name] = _abstract(item.get("abstract"), path, {"checkpointable_name": name})
            elif kind == "json":
                abstract[name] = None
            elif kind == "proto":
                abstract[name] = _message_class(item["type"])
            elif kind == "grain":
                abstract[name] = _grain_iterator(item)
            else:
                raise ValueError(f"unknown kind {kind!r}")
    with _context(request.get("options"), _json_names(asked)):
        loaded = ocp.load_checkpointables(path, abstract)
    answers = {}
    for name, value in loaded.items():
        item = (asked or {}).get(name) or {}
        if isinstance(value, Message):
            binary = base64.b64encode(value.SerializeToString(deterministic=True)).decode("ascii")
            answers[name] = {"kind": "proto", "json": json_format.MessageToDict(value), "binary": binary}
        elif item.get("kind") == "grain":
            answers[name] = {"kind": "grain", "next": _take(value, item["take"])}
        elif item.get("kind") == "json":
            answers[name] = {"kind": "json", "value": value}
        else:
            answers[name] = {"kind": "pytree", "tree": wire.encode(value)}
    return {"items": answers}


@_op
def train(request):
    """{"steps", "from": null, "save": null, "abstract": "fresh",
    "tree": false} -> {"losses": [bits of a float64], "step", "tree"}

    Trains a small model from its start or from a checkpoint; see train.py.
    """
    import train as training

    losses, state = training.train(
        request["steps"], request.get("from"), request.get("save"), request.get("abstract", "fresh")
    )
    answer = {"losses": [wire.float_bits(x) for x in losses], "step": state["step"]}
    if request.get("tree"):
        answer["tree"] = wire.encode(state)
    return answer


@_op
def v0_save(request):
    """{"path", "tree", "use_zarr3": false, "use_ocdbt": true, "step": null}
    -> {}

    With the v0 API: a flat checkpoint of a PyTreeCheckpointer at path, or, with
    a step, a CheckpointManager at path with that step's tree as its one item.
    """
    import orbax.checkpoint as v0

    tree = wire.decode(request["tree"])
    kwargs = {k: request[k] for k in ("use_zarr3", "use_ocdbt") if k in request}
    if request.get("step") is None:
        with v0.Checkpointer(v0.PyTreeCheckpointHandler(**kwargs)) as checkpointer:
            checkpointer.save(request["path"], args=v0.args.PyTreeSave(tree))
        return {}
    handler = v0.PyTreeCheckpointHandler(**kwargs)
    with v0.CheckpointManager(request["path"], item_handlers=handler) as manager:
        manager.save(request["step"], args=v0.args.PyTreeSave(tree))
    return {}


def _serve(line):
    """The answer to a line, as a line."""
    ident = {}
    try:
        request = json.loads(line)
        if "id" in request:
            ident = {"id": request["id"]}
        if request["op"] not in _OPS:
            raise ValueError(f"unknown op {request['op']!r}")
        return json.dumps({"ok": True, **_OPS[request["op"]](request), **ident}, allow_nan=False)
    except Exception as e:
        error = f"{type(e).__name__}: {e}"
        return json.dumps({"ok": False, "error": error, "trace": traceback.format_exc(), **ident})


def main():
    for line in sys.stdin:
        if line.strip():
            print(_serve(line), file=_answers, flush=True)


if __name__ == "__main__":
    main()
