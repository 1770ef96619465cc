"""Trees of JAX and NumPy values as JSON, exact to the bit.

A node is an object whose member "t" names its type:

  dict       {"items": [[key, node], ...]}       string keys, in order
  intdict    {"items": [[int, node], ...]}       integer keys
  list       {"items": [node, ...]}
  tuple      {"items": [node, ...]}
  namedtuple {"name": class, "items": [[field, node], ...]}   answers only
  none       {}
  placeholder {}                                 orbax PLACEHOLDER
  bool       {"v": true}
  int        {"v": "123"}                        decimal, any size
  float      {"v": "3ff8000000000000"}           the bits of the float64
  complex    {"v": [real, imag]}                 each as in float
  str        {"v": "text"}
  bytes      {"v": base64}
  array      {"lib": "np"|"jax"|"npscalar", "dtype": name, "shape": [...],
              "data": base64, "sharding": {...}|absent}
  key        {"impl": name, "shape": [...], "data": base64,
              "sharding": {...}|absent}               typed PRNG keys
  shape      {"dtype": name, "shape": [...]}     answers only: no data
  other      {"class": name, "repr": text}       answers only

Array data is row-major and little-endian. Elements narrower than a byte take
one: int2 and int4 sign-extended, float4 with zeros above. The shape of a key
leaves out the dimension of its uint32 data. A sharding is
{"mesh": [2, 4], "axes": ["x", "y"], "spec": ["x", null, ["x", "y"]]} over the
first devices in order, or over those whose ids are its "devices". An array
without one is on the first device.

Of an array that lies on devices of several processes, an answer has no data but
"shards": {"device": id, "offset": [...], "shape": [...], "data": base64} for each
device of this process.
"""

import base64
import struct

import jax
import ml_dtypes
import numpy as np
import orbax.checkpoint.experimental.v1 as ocp


def dtype_of(name):
    return np.dtype(getattr(ml_dtypes, name, name))


def _b64(b):
    return base64.b64encode(b).decode("ascii")


def _to_bytes(a):
    """The bytes of an np.ndarray in the wire's form."""
    a = np.ascontiguousarray(a)
    if a.dtype.byteorder == ">":
        a = a.astype(a.dtype.newbyteorder("<"))
    name = a.dtype.name
    if name in ("int2", "int4"):
        a = a.astype(np.int8)
    elif name.startswith("float4"):
        a = a.view(np.uint8) & 0x0F
    return a.tobytes()


def _from_bytes(data, dtype, shape):
    if dtype.name in ("int2", "int4"):
        return np.frombuffer(data, np.int8).astype(dtype).reshape(shape)
    return np.frombuffer(data, dtype).reshape(shape).copy()


def sharding_of(s):
    by_id = {d.id: d for d in jax.devices()}
    ids = s.get("devices") or list(by_id)[: int(np.prod(s["mesh"]))]
    devices = np.array([by_id[i] for i in ids]).reshape(s["mesh"])
    spec = [tuple(p) if isinstance(p, list) else p for p in s["spec"]]
    return jax.sharding.NamedSharding(
        jax.sharding.Mesh(devices, s["axes"]), jax.sharding.PartitionSpec(*spec)
    )


def _encode_sharding(s):
    if not isinstance(s, jax.sharding.NamedSharding):
        return None
    return {
        "mesh": list(s.mesh.devices.shape),
        "axes": list(s.mesh.axis_names),
        "spec": [list(p) if isinstance(p, tuple) else p for p in s.spec],
        "devices": [d.id for d in s.mesh.devices.flat],
    }


def float_bits(x):
    return struct.pack(">d", x).hex()


def _float(bits):
    return struct.unpack(">d", bytes.fromhex(bits))[0]


def decode(n):
    """The value of a node."""
    t = n["t"]
    if t == "dict":
        return {k: decode(v) for k, v in n["items"]}
    if t == "intdict":
        return {int(k): decode(v) for k, v in n["items"]}
    if t == "list":
        return [decode(v) for v in n["items"]]
    if t == "tuple":
        return tuple(decode(v) for v in n["items"])
    if t == "none":
        return None
    if t == "placeholder":
        return ocp.PLACEHOLDER
    if t == "bool":
        return bool(n["v"])
    if t == "int":
        return int(n["v"])
    if t == "float":
        return _float(n["v"])
    if t == "complex":
        return complex(*map(_float, n["v"]))
    if t == "str":
        return n["v"]
    if t == "bytes":
        return base64.b64decode(n["v"])
    if t == "array":
        return _decode_array(n)
    if t == "key":
        data = np.frombuffer(base64.b64decode(n["data"]), np.uint32)
        data = data.reshape(list(n["shape"]) + [_key_words(n["impl"])])
        if n.get("sharding"):
            data = _put(data, n["sharding"])
        return jax.random.wrap_key_data(data, impl=n["impl"])
    raise ValueError(f"unknown node type {t!r}")


def _key_words(impl):
    return jax.random.key_data(jax.random.key(0, impl=impl)).shape[-1]


def _put(a, sharding):
    """The jax.Array of a host's array, which all processes have."""
    return jax.make_array_from_callback(a.shape, sharding_of(sharding), lambda i: a[i], dtype=a.dtype)


def _decode_array(n):
    a = _from_bytes(base64.b64decode(n["data"]), dtype_of(n["dtype"]), n["shape"])
    if n["lib"] == "np":
        return a
    if n["lib"] == "npscalar":
        return a[()]
    if n["lib"] != "jax":
        raise ValueError(f"unknown array lib {n['lib']!r}")
    x = _put(a, n["sharding"]) if n.get("sharding") else jax.device_put(a, jax.devices()[0])
    if x.dtype != a.dtype:
        raise ValueError(f"jax made {x.dtype} of {a.dtype}: set JAX_ENABLE_X64=1")
    return x


def encode(x):
    """The node of a value."""
    if x is None:
        return {"t": "none"}
    if x is ocp.PLACEHOLDER:
        return {"t": "placeholder"}
    if isinstance(x, (bool, int, float, complex, str, bytes)) and not isinstance(x, np.generic):
        return _encode_scalar(x)
    if isinstance(x, dict):
        if x and all(isinstance(k, int) for k in x):
            return {"t": "intdict", "items": [[k, encode(v)] for k, v in x.items()]}
        return {"t": "dict", "items": [[k, encode(v)] for k, v in x.items()]}
    if isinstance(x, tuple) and hasattr(x, "_fields"):
        items = [[f, encode(getattr(x, f))] for f in x._fields]
        return {"t": "namedtuple", "name": type(x).__name__, "items": items}
    if isinstance(x, (list, tuple)):
        return {"t": type(x).__name__, "items": [encode(v) for v in x]}
    if isinstance(x, jax.Array) and jax.dtypes.issubdtype(x.dtype, jax.dtypes.prng_key):
        n = _encode_array(jax.random.key_data(x))
        del n["lib"], n["dtype"], n["shape"]
        return {**n, "t": "key", "impl": str(jax.random.key_impl(x)), "shape": list(x.shape)}
    if isinstance(x, (jax.Array, np.ndarray, np.generic)):
        return _encode_array(x)
    if hasattr(x, "shape") and hasattr(x, "dtype"):
        return {"t": "shape", "dtype": str(x.dtype), "shape": list(x.shape)}
    return {"t": "other", "class": type(x).__name__, "repr": repr(x)}


def _encode_scalar(x):
    if isinstance(x, bool):
        return {"t": "bool", "v": x}
    if isinstance(x, int):
        return {"t": "int", "v": str(x)}
    if isinstance(x, float):
        return {"t": "float", "v": float_bits(x)}
    if isinstance(x, complex):
        return {"t": "complex", "v": [float_bits(x.real), float_bits(x.imag)]}
    if isinstance(x, str):
        return {"t": "str", "v": x}
    return {"t": "bytes", "v": _b64(x)}


def _encode_array(x):
    node = {"t": "array", "lib": "np"}
    if isinstance(x, jax.Array):
        node["lib"] = "jax"
        sharding = _encode_sharding(x.sharding)
        if sharding:
            node["sharding"] = sharding
    elif isinstance(x, np.generic):
        node["lib"] = "npscalar"
    node.update(dtype=x.dtype.name, shape=list(x.shape))
    if isinstance(x, jax.Array) and not x.is_fully_addressable:
        node["shards"] = [_encode_shard(s) for s in x.addressable_shards]
    else:
        node["data"] = _b64(_to_bytes(np.asarray(x)))
    return node


def _encode_shard(s):
    offset = [i.start or 0 for i in s.index]
    data = np.asarray(s.data)
    return {"device": s.device.id, "offset": offset, "shape": list(data.shape), "data": _b64(_to_bytes(data))}
