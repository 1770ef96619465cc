"""Writes zarr_python.json.gz: arrays stored by the Zarr project's own library.

Run with zarr 3.1.6 and numcodecs 0.16.6 installed:

    python gen_zarr_python.py

The entries are those of gen.py. Documents of arrays that TensorStore has no codec
or dtype for come with "refused", the name that it is about.
"""

import base64
import gzip
import json
import warnings

import numcodecs
import numpy as np
import zarr
from zarr.codecs import (BloscCodec, BytesCodec, Crc32cCodec, GzipCodec, ShardingCodec, TransposeCodec,
                         ZstdCodec)

warnings.simplefilter("ignore")
entries = []


def add(label, fmt, dtype, shape, chunks, refused=None, write=np.s_[...], **options):
    store = zarr.storage.MemoryStore()
    a = zarr.create(store=store, zarr_format=fmt, dtype=dtype, shape=shape, chunks=chunks, **options)
    n = int(np.prod(shape))
    data = (np.arange(n) * 7 % 23).astype(dtype).reshape(shape)
    a[write] = data[write]
    stored = {k: v.to_bytes() for k, v in store._store_dict.items()}
    entry = {
        "name": f"zarr{fmt} {label}",
        "format": fmt,
        "dtype": np.dtype(dtype).name,
        "shape": list(shape),
        "document": stored["zarr.json" if fmt == 3 else ".zarray"].decode(),
    }
    if refused:
        entry["refused"] = refused
    else:
        entry["chunks"] = {k: base64.b64encode(v).decode() for k, v in sorted(stored.items())
                           if k.rsplit("/", 1)[-1] not in ("zarr.json", ".zarray", ".zattrs")}
        entry["want"] = base64.b64encode(np.ascontiguousarray(a[...]).astype(np.dtype(dtype).newbyteorder("<")).tobytes()).decode()
    entries.append(entry)


s, c = (5, 7), (2, 4)
z2 = lambda label, dtype, **o: add(label, 2, dtype, s, c, **dict(dict(compressor=None, filters=None), **o))
for dtype in ["|b1", "<i2", ">i4", "<u8", "<f2", ">f8", "<c8"]:
    z2(f"{dtype} raw", dtype)
z2("default", "<f4", compressor="auto")
z2("F", "<i4", order="F", dimension_separator="/")
z2("zstd", "<i4", compressor=numcodecs.Zstd(level=3))
z2("gzip", "<i4", compressor=numcodecs.GZip(level=3))
z2("zlib", "<i4", compressor=numcodecs.Zlib(level=3))
z2("bz2", "<i4", compressor=numcodecs.BZ2(level=3))
for cname in ["blosclz", "lz4", "lz4hc", "zlib", "zstd"]:
    for shuffle in [0, 1, 2]:
        z2(f"blosc {cname} {shuffle}", "<i4", compressor=numcodecs.Blosc(cname=cname, shuffle=shuffle))
for fill in [np.nan, np.inf, -np.inf, 1.5]:
    z2(f"fill {fill}", "<f4", fill_value=fill, write=np.s_[1, 2])
z2("fill complex", "<c8", fill_value=complex(np.nan, -2), write=np.s_[1, 2])
z2("fill null", "<i4", fill_value=None)
z2("lz4", "<i4", compressor=numcodecs.LZ4(), refused="lz4")
z2("lzma", "<i4", compressor=numcodecs.LZMA(), refused="lzma")
z2("delta", "<i4", filters=[numcodecs.Delta(dtype="<i4")], refused="delta")
z2("fixedscaleoffset", "<f8", filters=[numcodecs.FixedScaleOffset(offset=0, scale=10, dtype="<f8", astype="<i4")],
   refused="fixedscaleoffset")
z2("datetime", "<M8[s]", refused="<M8[s]")

z3 = lambda label, dtype, chunks=c, **o: add(label, 3, dtype, s, chunks, **o)
for dtype in ["bool", "int8", "int16", "uint32", "int64", "float16", "float32", "float64", "complex64", "complex128"]:
    z3(f"{dtype}", dtype, codecs=[BytesCodec()])
z3("default", "float32")
z3("big", "int32", codecs=[BytesCodec(endian="big"), Crc32cCodec()])
z3("transpose gzip", "int32", codecs=[TransposeCodec(order=(1, 0)), BytesCodec(), GzipCodec(level=5)])
z3("zstd checksum", "int32", codecs=[BytesCodec(), ZstdCodec(level=3, checksum=True)])
for cname in ["blosclz", "lz4", "lz4hc", "zlib", "zstd"]:
    for shuffle in ["noshuffle", "shuffle", "bitshuffle"]:
        z3(f"blosc {cname} {shuffle}", "int32",
           codecs=[BytesCodec(), BloscCodec(cname=cname, shuffle=shuffle, typesize=4)])
z3("keys", "int32", chunk_key_encoding={"name": "v2", "separator": "/"})
for location in ["start", "end"]:
    z3(f"shards {location}", "int32", (4, 8),
       codecs=[ShardingCodec(chunk_shape=(2, 2), codecs=[BytesCodec(), ZstdCodec()], index_location=location)])
z3("sparse shards", "float64", (4, 8), fill_value=np.nan, write=np.s_[1, 2],
   codecs=[ShardingCodec(chunk_shape=(1, 2), codecs=[TransposeCodec(order=(1, 0)), BytesCodec(), Crc32cCodec()])])
for fill in [np.nan, np.inf, -np.inf, 1.5]:
    z3(f"fill {fill}", "float32", fill_value=fill, write=np.s_[1, 2])
z3("fill complex", "complex64", fill_value=complex(np.nan, -2), write=np.s_[1, 2])
z3("delta", "int32", codecs=[zarr.codecs.numcodecs.Delta(dtype="<i4"), BytesCodec()], refused="numcodecs.delta")
z3("datetime", "<M8[s]", refused="numpy.datetime64")

text = "[\n" + ",\n".join(json.dumps(e, separators=(",", ":")) for e in entries) + "\n]\n"
with open("zarr_python.json.gz", "wb") as f:
    f.write(gzip.compress(text.encode(), mtime=0))
