"""The digest that package view defines (view.Digest), computed with NumPy.

As a program it prints the digests that hash_test.go expects, of the trees that
the test makes as well.
"""
import hashlib
import struct

import ml_dtypes
import numpy as np

PIECE = 1 << 20


def elements(a):
    """The elements of an array: row-major, little-endian."""
    a = np.ascontiguousarray(a)
    if a.dtype.name in ("int2", "int4"):
        a = a.astype(np.int8)
    return a.astype(a.dtype.newbyteorder("<")).tobytes()


def array_digest(a, generator=""):
    a = np.asarray(a)
    shape = ",".join(map(str, a.shape))
    h = hashlib.sha256(f"array\n{a.dtype.name}\n{shape}\n{generator}\n".encode())
    data = elements(a)
    for i in range(0, len(data), PIECE):
        h.update(hashlib.sha256(data[i : i + PIECE]).digest())
    return h.digest()


def leaf_digest(v):
    if isinstance(v, str):
        return hashlib.sha256(b"string\n" + v.encode()).digest()
    if v is None or isinstance(v, (dict, list, tuple)):
        name = {type(None): "None", dict: "Dict", list: "List", tuple: "Tuple"}[type(v)]
        return hashlib.sha256(b"empty\n" + name.encode()).digest()
    return array_digest(v)


def leaves(v, path=()):
    """Yields (path, leaf); a path is a tuple of (kind, name)."""
    if isinstance(v, dict) and v:
        for k, e in v.items():
            yield from leaves(e, path + ((b"k", str(k)),))
    elif isinstance(v, (list, tuple)) and v:
        for i, e in enumerate(v):
            yield from leaves(e, path + ((b"i", str(i)),))
    else:
        yield path, v


def tree_digest(v):
    records = []
    for path, leaf in leaves(v):
        record = struct.pack("<Q", len(path))
        for kind, name in path:
            name = name.encode()
            record += kind + struct.pack("<Q", len(name)) + name
        records.append(record + leaf_digest(leaf))
    return "orbax1:" + hashlib.sha256(b"orbax 1\n" + b"".join(sorted(records))).hexdigest()


STATE = {
    "params": {
        "w": np.arange(6, dtype=np.float32).reshape(2, 3),
        "b": np.array([1, -0.5], ml_dtypes.bfloat16),
    },
    "opt": [np.array([True, False]), {}, [], (), None, "text"],
    "q": np.array([-1, 7], ml_dtypes.int4),
    "step": 1000,
    "none": np.zeros((0, 3), np.float64),
    7: np.complex64(1 + 2j),
}

if __name__ == "__main__":
    print("state", tree_digest(STATE))
    print("bare", tree_digest(np.arange(700_000, dtype=np.float32)))
    print("leaf", array_digest(np.arange(700_000, dtype=np.float32)).hex())
