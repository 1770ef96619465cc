"""Writes golden.json.gz and sparse.json.gz: arrays stored by the real TensorStore.

Run with tensorstore 0.1.86, numpy and ml_dtypes installed:

    python gen.py

Each entry has the metadata document, the chunks by key in base64, and what they
decode to: the row-major, little-endian bytes of the array, or for larger arrays
their SHA-256. Those in sparse.json.gz lack chunks, or inner chunks of shards,
where all elements have the fill value.
"""

import base64
import gzip
import hashlib
import json

import ml_dtypes
import numpy as np
import tensorstore as ts

DTYPES = """bool int2 int4 int8 int16 int32 int64 uint8 uint16 uint32 uint64
float4_e2m1fn float8_e3m4 float8_e4m3b11fnuz float8_e4m3fn float8_e4m3fnuz
float8_e5m2 float8_e5m2fnuz float8_e8m0fnu float16 bfloat16 float32 float64
complex64 complex128""".split()

BITS = {"bool": 1, "int2": 2, "int4": 4, "float4_e2m1fn": 4}

entries, sparse = [], []


def np_dtype(name):
    return ts.dtype(name).numpy_dtype


def values(name, shape):
    """Elements of every bit pattern that the dtype has room for."""
    dt = np_dtype(name)
    n = int(np.prod(shape))
    rng = np.random.default_rng(n)
    raw = rng.integers(0, 256, n * dt.itemsize, dtype=np.uint8)
    if name in BITS:
        raw &= (1 << BITS[name]) - 1
        if name.startswith("int"):  # sign-extended in memory
            raw = (raw.view(np.int8) << (8 - BITS[name])) >> (8 - BITS[name])
    return np.frombuffer(raw.tobytes(), dt).reshape(shape)


def smooth(name, shape):
    """Elements that compress."""
    n = int(np.prod(shape))
    i = np.arange(n, dtype=np.int64)
    return ((i * i // 64) % 97).astype(np_dtype(name)).reshape(shape)


def add(label, driver, name, data, metadata, parts=None):
    """Stores all of data, or only the parts, which are boxes."""
    context = ts.Context()
    spec = {"driver": driver, "kvstore": {"driver": "memory"}}
    create = dict(spec, metadata=metadata, store_data_equal_to_fill_value=parts is None)
    if driver == "zarr":
        create["dtype"] = name
    t = ts.open(create, create=True, context=context).result()
    for part in [...] if parts is None else parts:
        t[part].write(data[part]).result()
    back = ts.open(spec, context=context).result().read().result()
    assert parts is not None or back.tobytes() == data.tobytes(), label
    data = back
    stored = {
        k.decode(): t.kvstore.read(k).result().value
        for k in t.kvstore.list().result()
    }
    doc = stored.pop("zarr.json" if driver == "zarr3" else ".zarray").decode()
    entry = {
        "name": f"{name}/{label}",
        "format": 3 if driver == "zarr3" else 2,
        "dtype": name,
        "shape": list(data.shape),
        "document": doc,
        "chunks": {
            k: base64.b64encode(v).decode() for k, v in sorted(stored.items())
        },
    }
    want = data.tobytes()
    if len(want) <= 512:
        entry["want"] = base64.b64encode(want).decode()
    else:
        entry["sha256"] = hashlib.sha256(want).hexdigest()
    (entries if parts is None else sparse).append(entry)


def codec(name, **configuration):
    return dict(name=name, configuration=configuration) if configuration else dict(name=name)


def little(name):
    return codec("bytes", endian="little") if np_dtype(name).itemsize > 1 else codec("bytes")


def big(name):
    return codec("bytes", endian="big") if np_dtype(name).itemsize > 1 else codec("bytes")


def z3(label, name, data, chunk, *codecs, parts=None, **more):
    add(label, "zarr3", name, data, dict(
        shape=list(data.shape),
        chunk_grid=dict(name="regular", configuration=dict(chunk_shape=chunk)),
        data_type=name, codecs=list(codecs), **more), parts)


def z2(label, name, data, chunks, compressor, parts=None, **more):
    add(label, "zarr", name, data, dict(
        shape=list(data.shape), chunks=chunks, compressor=compressor, **more), parts)


def shard(chunk_shape, codecs, index_codecs=None, **more):
    if index_codecs is None:
        index_codecs = [codec("bytes", endian="little"), codec("crc32c")]
    return codec("sharding_indexed", chunk_shape=chunk_shape, codecs=codecs,
                 index_codecs=index_codecs, **more)


def blosc3(cname, shuffle, typesize, clevel=5, blocksize=0):
    return codec("blosc", cname=cname, clevel=clevel, shuffle=shuffle,
                 typesize=typesize, blocksize=blocksize)


for name in DTYPES:
    d = values(name, (3, 4))
    size = np_dtype(name).itemsize
    zstd = codec("zstd", level=3)
    z3("plain", name, d, [2, 4], little(name))
    z3("crc32c", name, d, [2, 3], little(name), codec("crc32c"))
    z3("zstd checksum", name, d, [2, 4], little(name), codec("zstd", level=1, checksum=True))
    z3("gzip", name, d, [2, 4], little(name), codec("gzip", level=6))
    z3("big", name, d, [3, 2], big(name))
    z3("transpose", name, d, [2, 3], codec("transpose", order=[1, 0]), little(name))
    z3("shard", name, d, [3, 4], shard([3, 4], [little(name), zstd]))
    z3("shards", name, d, [2, 4], shard([1, 2], [big(name), codec("crc32c")], index_location="start"))
    z3("blosc", name, d, [3, 4], little(name), blosc3("lz4", "shuffle", size))
    z2("null", name, d, [2, 3], None)
    z2("zstd", name, d, [3, 4], dict(id="zstd", level=1))
    z2("zlib F", name, d, [2, 3], dict(id="zlib", level=1), order="F")
    z2("gzip", name, d, [3, 4], dict(id="gzip", level=1), dimension_separator="/")
    z2("bz2", name, d, [3, 4], dict(id="bz2", level=1))
    z2("blosc", name, d, [3, 4], dict(id="blosc", cname="lz4", clevel=5, shuffle=1))
    z3("scalar", name, d[:1, :1].reshape(()), [], little(name), codec("crc32c"))
    z2("scalar", name, d[:1, :1].reshape(()), [], None)

for v2 in ["i2", "u2", "i4", "u4", "i8", "u8", "f2", "f4", "f8", "c8", "c16"]:
    name = np.dtype(v2).name
    d = values(name, (3, 2, 3))
    context = {"dtype": ">" + v2}
    z2("big", name, d, [2, 1, 3], None, **context)
    z2("big F zlib", name, d, [2, 1, 3], dict(id="zlib", level=9), order="F", **context)

d = values("int32", (6, 4, 5))
b = codec("bytes", endian="little")
index_big = [codec("bytes", endian="big")]
z3("rank 3", "int32", d, [2, 3, 4], b)
z3("transpose 3", "int32", d, [4, 2, 5], codec("transpose", order=[2, 0, 1]), b)
z3("transpose twice", "int32", d, [4, 2, 5], codec("transpose", order=[2, 0, 1]), codec("transpose", order=[2, 0, 1]), b)
z3("shard 3", "int32", d, [6, 4, 6], shard([3, 2, 2], [b], index_codecs=index_big))
z3("shard inner transpose", "int32", d, [6, 4, 6], shard([3, 2, 2], [codec("transpose", order=[1, 2, 0]), b, codec("gzip", level=1)]))
z3("transpose shard", "int32", d, [6, 4, 6], codec("transpose", order=[2, 0, 1]), shard([3, 2, 2], [b]))
z3("shard in shard", "int32", d, [6, 4, 6], shard([6, 2, 6], [shard([2, 2, 3], [b, codec("crc32c")], index_location="start")]))
z3("index transpose", "int32", d, [6, 4, 6], shard([2, 4, 3], [b], index_codecs=[codec("transpose", order=[3, 1, 0, 2]), b, codec("crc32c"), codec("crc32c")]))
z3("nested filters", "int32", d, [3, 4, 5], b, codec("crc32c"), codec("gzip", level=1), codec("zstd", level=1), codec("crc32c"), blosc3("zstd", "bitshuffle", 4))
z3("key dot", "int32", d, [3, 4, 5], b, chunk_key_encoding=codec("default", separator="."))
z3("key v2", "int32", d, [3, 4, 5], b, chunk_key_encoding=codec("v2"))
z3("key v2 slash", "int32", d, [3, 4, 5], b, chunk_key_encoding=codec("v2", separator="/"))
z3("chunk over shape", "int32", d, [7, 5, 6], b, codec("crc32c"))
z3("empty", "int32", d[:0], [2, 4, 5], b)
z2("empty", "int32", d[:0], [2, 4, 5], None)

# Blosc: several blocks, splits, a last block that is shorter, element sizes
# that do not divide the block, stored and memcpyed data.
for cname in ["blosclz", "lz4", "lz4hc", "snappy", "zlib", "zstd"]:
    for shuffle in ["noshuffle", "shuffle", "bitshuffle"]:
        for name, blocksize in [("int32", 0), ("int16", 1024), ("float64", 4096), ("uint8", 512)]:
            z3(f"{cname} {shuffle} {blocksize}", name, smooth(name, (515,)), [515], little(name),
               blosc3(cname, shuffle, np_dtype(name).itemsize, blocksize=blocksize))
    z3(f"{cname} random", "int32", values("int32", (700,)), [700], b, blosc3(cname, "shuffle", 4, blocksize=512))
    z3(f"{cname} level 0", "int32", smooth("int32", (300,)), [300], b, blosc3(cname, "shuffle", 4, clevel=0))
    z3(f"{cname} long runs", "int64", np.repeat(np.arange(7), 1000), [7000], b, blosc3(cname, "noshuffle", 8, clevel=9, blocksize=65536))
    if cname != "snappy":
        z3(f"{cname} far", "uint8", np.concatenate([values("uint8", (300,))] + [smooth("uint8", (9000,)), values("uint8", (300,)), smooth("uint8", (12000,)), values("uint8", (300,))]), [21900], codec("bytes"), blosc3(cname, "noshuffle", 1, clevel=9, blocksize=65536))
    z3(f"{cname} typesize 3", "uint8", smooth("uint8", (3001,)), [3001], codec("bytes"), blosc3(cname, "shuffle", 3, blocksize=1000))
    z3(f"{cname} typesize 3 bits", "uint8", smooth("uint8", (3001,)), [3001], codec("bytes"), blosc3(cname, "bitshuffle", 3, blocksize=1000))
    z3(f"{cname} typesize 20", "uint8", smooth("uint8", (3001,)), [3001], codec("bytes"), blosc3(cname, "shuffle", 20, blocksize=2560))

# Format 2: every compressor with every order, byte order and separator.
for order in "CF":
    for end in "<>":
        for separator in "./":
            for compressor in [None] + [dict(id=i, level=1) for i in ["zstd", "gzip", "zlib", "bz2"]] + [dict(id="blosc")]:
                label = f"{order} {end} {separator} {compressor and compressor['id']}"
                z2(label, "int16", values("int16", (3, 5)), [2, 3], compressor,
                   order=order, dimension_separator=separator, dtype=end + "i2")
for cname in ["blosclz", "lz4", "lz4hc", "snappy", "zlib", "zstd"]:
    for shuffle in [-1, 0, 1, 2]:
        for name in ["uint8", "int32"]:
            z2(f"blosc {cname} {shuffle}", name, smooth(name, (20, 20)), [13, 20],
               dict(id="blosc", cname=cname, clevel=5, shuffle=shuffle, blocksize=0))

# Many inner chunks, encoded in every way, either index location, transposed
# outside, inside and both.
plain, index_crc = [b], [b, codec("crc32c")]
inner = {
    "raw": plain,
    "big": [codec("bytes", endian="big")],
    "crc32c": index_crc,
    "gzip": plain + [codec("gzip", level=5)],
    "zstd": plain + [codec("zstd", level=1)],
    "blosc": plain + [blosc3("lz4", "shuffle", 4)],
    "transpose": [codec("transpose", order=[2, 0, 1]), b],
}
many = smooth("int32", (9, 12, 7))
for label, codecs in inner.items():
    for location in ["start", "end"]:
        for index in [plain, index_crc, index_big]:
            z3(f"shards {label} {location} {len(index)}{index[0]['configuration']['endian']}", "int32", many, [6, 8, 8],
               shard([1, 2, 4], codecs, index_codecs=index, index_location=location))
    z3(f"transpose shards {label}", "int32", many, [6, 8, 4],
       codec("transpose", order=[1, 2, 0]), shard([2, 1, 3], codecs))
z3("transpose shard in shard", "int32", many, [6, 4, 6], codec("transpose", order=[1, 2, 0]),
   shard([2, 6, 6], [codec("transpose", order=[2, 1, 0]), shard([2, 3, 2], plain)]))

# Sparse: one chunk and one element of another.
parts = [np.s_[0:2, 0:4], np.s_[4, 6]]
fills = [("int32", -7), ("float32", "NaN"), ("bfloat16", 1.5), ("complex64", [1.0, "-Infinity"]), ("bool", True),
         ("int4", -3), ("float4_e2m1fn", 1.0), ("float8_e4m3fn", 448.0), ("uint64", 2**64 - 1)]
for name, fill in fills:
    d = values(name, (5, 7))
    z3("sparse", name, d, [2, 4], little(name), parts=parts, fill_value=fill)
    z3("sparse shards", name, d, [4, 8], shard([2, 2], [little(name), codec("zstd", level=1)]), parts=parts, fill_value=fill)
    z3("sparse transposed shards", name, d, [4, 8], codec("transpose", order=[1, 0]),
       shard([2, 2], [codec("transpose", order=[1, 0]), little(name)], index_location="start"), parts=parts, fill_value=fill)
    z3("sparse shards in shards", name, d, [8, 8], shard([4, 4], [shard([1, 2], [little(name)])]), parts=parts, fill_value=fill)
    if name != "float4_e2m1fn":  # has no numeric fill value in format 2
        own = np_dtype(name).isbuiltin != 1
        z2("sparse", name, d, [2, 4], dict(id="zlib", level=1), parts=parts, fill_value=fill,
           dtype=name if own else np_dtype(name).str)
    z2("sparse null", name, d, [2, 4], None, parts=parts)

for name, list_ in [("golden", entries), ("sparse", sparse)]:
    text = "[\n" + ",\n".join(json.dumps(e, separators=(",", ":")) for e in list_) + "\n]\n"
    with open(name + ".json.gz", "wb") as f:
        f.write(gzip.compress(text.encode(), mtime=0))
