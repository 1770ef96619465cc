"""What the rows of layouts.py are made of: values, and what is expected of them.

A row is a function that writes one checkpoint and returns what a reader must
find in it, as JSON:

  {"open":    path of the checkpoint below the row's folder,
   "names":   its checkpointables; null where they have no names,
   "refused": null, or {"is": name of an error in Go, "says": a part of its text},
   "items":   [{"name": of the checkpointable, "" for what a load picks itself,
                "leaves": [leaf, ...]   if it is a pytree, else
                "json": value, or "proto": a google.protobuf.Struct as JSON}, ...]}

A leaf is {"path": [{"name": key, "seq": position in a sequence?}, ...]} with

  "kind": "array"   "dtype", "shape", "sha256" of its elements, row-major and
                    little-endian, small integers sign-extended to a byte;
                    "impl" of the random generator if it is a typed key
  "kind": "scalar"  "dtype", "value"
  "kind": "string"  "value"
  "kind": "empty"   "value": "None", "Dict", "List" or "Tuple"

It all comes from the values that are saved, never from reading them back.
"""

import dataclasses
import hashlib
import importlib
import importlib.metadata
import zlib

import ml_dtypes
import numpy as np


def optional(module):
    """A module, or None where it is not installed: also in the version of "name==version"."""
    if "==" in module:
        name, version = module.split("==")
        try:
            return importlib.metadata.version(name) == version or None
        except importlib.metadata.PackageNotFoundError:
            return None
    try:
        return importlib.import_module(module)
    except ImportError:
        return None


ROWS = {}


def row(*needs):
    """Registers a function of a folder, with the modules that it needs."""

    def register(make):
        ROWS[make.__name__] = (needs, make)
        return make

    return register


@dataclasses.dataclass
class Key:
    """Typed keys of a random generator in JAX."""

    impl: str
    data: np.ndarray


SMALL = {"int2": 2, "int4": 4, "float4_e2m1fn": 4}  # bits of an element


def bits(dtype, *shape):
    """An array of arbitrary bits, NaN among them, always the same."""
    dt = np.dtype(getattr(ml_dtypes, dtype, dtype))
    n = int(np.prod(shape, dtype=int))
    rng = np.random.default_rng(zlib.crc32(f"{dtype}{shape}".encode()))
    raw = rng.integers(0, 256, n * dt.itemsize, dtype=np.uint8)
    if dtype == "bool":
        raw &= 1
    if dtype in SMALL:
        spare = 8 - SMALL[dtype]
        raw = raw << spare  # ints are sign-extended in memory
        raw = (raw.view(np.int8) >> spare).view(np.uint8) if dtype[0] == "i" else raw >> spare
    return np.frombuffer(raw.tobytes(), dt).reshape(shape)


def plain():
    """4 MiB that an archive makes small."""
    return np.add.outer(np.arange(0, 3072, 3), np.arange(1024)).astype("uint32")


def arrays():
    """A dict of arrays of many types and every rank up to 3."""
    return {
        "f32": bits("float32", 20, 16),
        "bf16": bits("bfloat16", 6),
        "f8": bits("float8_e4m3fn", 2, 3, 5),
        "c64": bits("complex64", 3, 2),
        "i64": bits("int64"),
        "mask": bits("bool", 7),
        "raw": bits("uint8", 2, 9),
        "i4": bits("int4", 3, 3),
    }


def state():
    """The state of a small training run, with one of everything in it."""
    return {
        "params": {
            "dense": {"kernel": bits("float32", 4, 6), "bias": bits("bfloat16", 6)},
            "conv": [bits("float16", 2, 3, 2), bits("float8_e5m2", 5)],
        },
        "opt": ({"mu": bits("complex64", 3, 2)}, {"count": bits("int64")}),
        "mask": bits("bool", 7),
        "raw": bits("uint8", 2, 9),
        "i4": bits("int4", 3, 3),
        "table": bits("uint8", 35, 40),  # more than OCDBT keeps in a node
        "step": 12,
        "rate": 0.1,
        "done": True,
        "name": "run α/1",
        "none": None,
        "empty": {"dict": {}, "list": [], "tuple": ()},
    }


def without(tree, *names):
    return {k: v for k, v in tree.items() if k not in names}


def map_arrays(f, tree):
    """The tree with f of every array and Key; None, scalars and strings stay."""
    if isinstance(tree, (np.ndarray, Key)):
        return f(tree)
    if isinstance(tree, dict):
        return {k: map_arrays(f, v) for k, v in tree.items()}
    if hasattr(tree, "_fields"):
        return type(tree)(*(map_arrays(f, v) for v in tree))
    if isinstance(tree, (list, tuple)):
        return type(tree)(map_arrays(f, v) for v in tree)
    if dataclasses.is_dataclass(tree):
        return dataclasses.replace(tree, **map_arrays(f, vars(tree)))
    return tree


def _children(tree):
    """The keys and values of a container, None for a leaf."""
    if isinstance(tree, Key):
        return None
    if isinstance(tree, dict):
        return [({"name": str(k)}, v) for k, v in tree.items()]
    if hasattr(tree, "_fields"):
        return [({"name": k}, getattr(tree, k)) for k in tree._fields]
    if isinstance(tree, (list, tuple)):
        return [({"name": str(i), "seq": True}, v) for i, v in enumerate(tree)]
    if dataclasses.is_dataclass(tree):
        return [({"name": k}, v) for k, v in vars(tree).items()]
    return None


def _leaf(value):
    if value is None:
        return {"kind": "empty", "value": "None"}
    if isinstance(value, (dict, list, tuple)):
        return {"kind": "empty", "value": type(value).__name__.capitalize()}
    if isinstance(value, str):
        return {"kind": "string", "value": value}
    if isinstance(value, (bool, int, float)):
        return {"kind": "scalar", "dtype": np.asarray(value).dtype.name, "value": value}
    if isinstance(value, np.generic):
        return {"kind": "scalar", "dtype": value.dtype.name, "value": value.item()}
    if isinstance(value, complex):
        return {"kind": "scalar", "dtype": "complex128", "value": f"({value.real:g}{value.imag:+g}i)"}
    if isinstance(value, Key):
        return {**_leaf(value.data), "impl": value.impl}
    little = value.astype(value.dtype.newbyteorder("<"))
    return {
        "kind": "array",
        "dtype": value.dtype.name,
        "shape": list(value.shape),
        "sha256": hashlib.sha256(little.tobytes()).hexdigest(),
    }


def leaves(tree, path=()):
    children = _children(tree)
    if not children:
        return [{"path": list(path), **_leaf(tree)}]
    return [leaf for key, child in children for leaf in leaves(child, (*path, key))]


def tree(value, name=""):
    return {"name": name, "leaves": leaves(value)}


def expect(path, *items, names=None, **more):
    return {"open": path, "names": names, "refused": None, **more, "items": list(items)}


def refuse(path, error, says):
    return {"open": path, "names": None, "refused": {"is": error, "says": says}, "items": []}
