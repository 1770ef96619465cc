"""Writes casts.json.gz: what NumPy and ml_dtypes make of floats.

Run with a Python that has numpy and ml_dtypes: python gen.py
"""
import base64, gzip, json, os
import ml_dtypes
import numpy as np

SMALL = ["float4_e2m1fn", "float8_e3m4", "float8_e4m3b11fnuz", "float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2",
         "float8_e5m2fnuz", "float8_e8m0fnu", "float6_e2m3fn", "float6_e3m2fn"]
BITS = {"float4_e2m1fn": 4, "float6_e2m3fn": 6, "float6_e3m2fn": 6}
np.seterr(all="ignore")


def b64(a):
    return base64.b64encode(np.ascontiguousarray(a).tobytes()).decode()


def values(dt):
    """All values of a float type of one or two bytes, as float32."""
    dt = np.dtype(dt)
    if dt.itemsize == 2:
        return np.arange(65536, dtype=np.uint16).view(dt).astype(np.float32)
    return np.arange(1 << BITS.get(dt.name, 8), dtype=np.uint8).view(dt).astype(np.float32)


def hard(dt):
    """float32 inputs around the values of dt: each value, each midpoint, and their neighbours in float32."""
    v = np.unique(values(dt).astype(np.float64))
    v = v[np.isfinite(v)]
    if np.dtype(dt).itemsize == 2:
        rng = np.random.default_rng(1)
        keep = np.zeros(len(v), bool)
        keep[rng.integers(0, len(v), 300)] = True
        keep[:40] = keep[-40:] = True
        keep |= np.abs(v) < np.sort(np.abs(v))[80]
        starts = np.flatnonzero(keep[:-1])
        mids = (v[starts] + v[starts + 1]) / 2
        v = v[keep]
    else:
        mids = (v[1:] + v[:-1]) / 2
    top, below = v[-1], v[-2]
    edges = np.array([top + (top - below) * f for f in (0.25, 0.5, 0.75, 1, 2, 100)])
    x = np.concatenate([v, mids, edges, -edges]).astype(np.float32)
    x = np.concatenate([x, np.nextafter(x, np.float32(np.inf)), np.nextafter(x, np.float32(-np.inf))])
    special = np.array([0, 0x80000000, 1, 0x80000001, 0x007fffff, 0x00800000, 0x7f7fffff, 0xff7fffff, 0x7f800000, 0xff800000,
                        0x7fc00000, 0xffc00000, 0x7f800001, 0xff800001, 0x7fffffff], np.uint32).view(np.float32)
    bits = np.random.default_rng(2).integers(0, 1 << 32, 200, dtype=np.uint64).astype(np.uint32).view(np.float32)
    near = np.random.default_rng(3).normal(0, 3, 200).astype(np.float32)
    return np.concatenate([x, special, bits, near])


def double(dt):
    """float64 inputs that round to a midpoint of dt when they pass through float32."""
    x = hard(dt).astype(np.float64)
    x = x[np.isfinite(x) & (x != 0)][::7]
    return np.concatenate([x, x * (1 + 2.0**-40), x * (1 - 2.0**-40), [1e300, -1e300, 1e-300, -1e-300, 5e-324]])


out = {"values": {}, "from_float32": {}, "from_float64": {}}
for name in SMALL + ["float16", "bfloat16"]:
    dt = np.dtype(name) if name == "float16" else np.dtype(getattr(ml_dtypes, name))
    if dt.itemsize == 1:
        out["values"][name] = b64(values(dt).view(np.uint32))
    x = hard(dt)
    out["from_float32"][name] = [b64(x), b64(x.astype(dt).view(np.uint8))]
    d = double(dt)
    out["from_float64"][name] = [b64(d), b64(d.astype(dt).view(np.uint8))]
with gzip.GzipFile(os.path.join(os.path.dirname(os.path.abspath(__file__)), "casts.json.gz"), "wb", mtime=0) as f:
    f.write(json.dumps(out).encode())
