"""The rows that Orbax does not write: stores of TensorStore and of zarr-python,
and safetensors files."""

import json
import shutil

import numpy as np

import layouts_v1
from layouts_lib import arrays, bits, expect, optional, plain, row, state, tree

TS, ZARR, SAFETENSORS = "tensorstore", "zarr", "safetensors"
ts = optional(TS)
zarr = optional(ZARR)
safetensors = optional(SAFETENSORS + ".numpy")


def database(path, **config):
    """Opens an OCDBT database. Unless a config is given it must exist."""
    spec = {"driver": "ocdbt", "base": f"file://{path}/"}
    if config:
        spec |= {"config": config, "assume_config": "max_decoded_node_bytes" in config}
    return ts.KvStore.open(spec).result()


def rewritten(out, value, commit, **config):
    """A checkpoint of Orbax whose database TensorStore has written anew."""
    layouts_v1.save(out / "ckpt", layouts_v1.mixed(value))
    folder = out / "ckpt/state"
    old = database(folder)
    entries = {key: old[key] for key in old.list().result()}
    for part in folder.glob("ocdbt.process_*"):
        shutil.rmtree(part)
    shutil.rmtree(folder / "d")
    (folder / "manifest.ocdbt").unlink()
    commit(database(folder, **config), entries)
    return expect("ckpt", tree(value), names=["state"])


def at_once(db, entries):
    with ts.Transaction() as txn:
        for key, value in entries.items():
            db.with_transaction(txn)[key] = value


def one_by_one(db, entries):
    """A version for each entry, and before it one with another value."""
    for key, value in entries.items():
        db[key] = b"replaced"
        db[key] = value
    db[b"deleted/zarr.json"] = b"{}"
    db[b"deleted/zarr.json"] = None


@row(layouts_v1.ORBAX)
def ocdbt_levels(out):
    """A tree of several levels."""
    return rewritten(out, state(), at_once, max_decoded_node_bytes=200, max_inline_value_bytes=32)


@row(layouts_v1.ORBAX)
def ocdbt_versions(out):
    """More versions than a manifest holds, so that there is a tree of them."""
    return rewritten(out, arrays(), one_by_one, version_tree_arity_log2=2, compression=None)


@row(layouts_v1.ORBAX)
def ocdbt_numbered(out):
    """Manifests in numbered files."""
    return rewritten(out, arrays(), one_by_one, manifest_kind="numbered")


def without_zeros(db, entries):
    at_once(db, {key: value for key, value in entries.items() if not key.startswith(b"zeros/c")})


@row(layouts_v1.ORBAX)
def ocdbt_sparse(out):
    """Without the chunks that are all fill value, as before Orbax v1."""
    found = rewritten(out, {"zeros": np.zeros((3, 2), "float32"), "w": bits("float32", 3)}, without_zeros)
    document = out / "ckpt/state/_METADATA"
    text = document.read_text()
    document.write_text(text.replace('"store_array_data_equal_to_fill_value": true, ', ""))
    return found


@row(layouts_v1.ORBAX)
def ocdbt_out_of_line(out):
    return rewritten(out, state(), at_once, max_inline_value_bytes=0)


def files(path):
    return {"driver": "file", "path": f"{path}/"}


def in_database(path, name, **config):
    return {"driver": "ocdbt", "base": f"file://{path}/", "path": name and name + "/", "config": config}


def zarr2(kvstore, value, chunks, compressor=None, order="C", separator=".", endian="<"):
    dtype = value.dtype.newbyteorder(endian).str if value.dtype.kind in "iufc" else value.dtype.name
    dtype = {"bool": "|b1"}.get(dtype, dtype)
    _write("zarr", kvstore, value, dict(
        shape=list(value.shape), chunks=chunks, dtype=dtype, compressor=compressor,
        order=order, dimension_separator=separator, fill_value=None, filters=None, zarr_format=2,
    ))


def zarr3(kvstore, value, chunk, *codecs, **more):
    grid = {"name": "regular", "configuration": {"chunk_shape": chunk}}
    _write("zarr3", kvstore, value, dict(
        shape=list(value.shape), chunk_grid=grid, data_type=value.dtype.name, codecs=list(codecs), **more,
    ))


def _write(driver, kvstore, value, metadata):
    spec = {"driver": driver, "kvstore": kvstore, "metadata": metadata}
    store = ts.open(spec | {"store_data_equal_to_fill_value": True}, create=True).result()
    store.write(value).result()


def group(path, zarr_format):
    """Makes a folder of arrays a group, which TensorStore knows nothing of."""
    doc = {"zarr_format": 2} if zarr_format == 2 else {"zarr_format": 3, "node_type": "group", "attributes": {}}
    (path / (".zgroup" if zarr_format == 2 else "zarr.json")).write_text(json.dumps(doc))


def codec(name, **configuration):
    return {"name": name, "configuration": configuration} if configuration else {"name": name}


def raw(value, endian="little"):
    return codec("bytes", endian=endian) if value.dtype.itemsize > 1 else codec("bytes")


def half(value):
    return [max(1, (n + 1) // 2) for n in value.shape]


def named_arrays():
    """Arrays whose names look like paths of keys, which they are not."""
    a = arrays()
    return {"w": a["f32"], "layer.kernel": a["bf16"], "a/b": a["f8"], "a/c": a["c64"], "step": a["i64"], "mask": a["mask"], "i4": a["i4"]}


@row(TS)
def bare_ocdbt_zarr2(out):
    for name, value in named_arrays().items():
        zarr2(in_database(out / "db", name), value, half(value), {"id": "zstd", "level": 1})
    return expect("db", tree(named_arrays()))


@row(TS)
def bare_ocdbt_zarr3(out):
    for name, value in named_arrays().items():
        zarr3(in_database(out / "db", name), value, half(value), raw(value), codec("zstd", level=1))
    return expect("db", tree(named_arrays()))


@row(TS)
def bare_ocdbt_numbered(out):
    for name, value in named_arrays().items():
        kvstore = in_database(out / "db", name, manifest_kind="numbered")
        zarr3(kvstore, value, half(value), raw(value), codec("crc32c"))
    return expect("db", tree(named_arrays()))


@row(TS)
def bare_ocdbt_array(out):
    """One array at the root of a database."""
    value = bits("float32", 20, 16)
    zarr3(in_database(out / "db", ""), value, [7, 9], raw(value))
    return expect("db", tree(value))


@row(TS)
def bare_zarr2_array(out):
    value = bits("bfloat16", 5, 7)
    zarr2(files(out / "array"), value, [2, 3])
    return expect("array", tree(value))


@row(TS)
def bare_zarr3_array(out):
    value = bits("float32", 5, 7)
    zarr3(files(out / "array"), value, [2, 3], raw(value), codec("crc32c"))
    return expect("array", tree(value))


@row(TS)
def bare_zarr3_scalar(out):
    value = bits("float64")
    zarr3(files(out / "array"), value, [], raw(value))
    return expect("array", tree(value))


@row(TS)
def bare_zarr2_codecs(out):
    """Each compressor in both orders, both separators, both byte orders."""
    compressors = {
        "raw": None,
        "zstd": {"id": "zstd", "level": 3},
        "gzip": {"id": "gzip", "level": 6},
        "zlib": {"id": "zlib", "level": 6},
        "bz2": {"id": "bz2", "level": 9},
        "lz4": {"id": "blosc", "cname": "lz4", "clevel": 5, "shuffle": 1, "blocksize": 0},
        "blosc_zstd": {"id": "blosc", "cname": "zstd", "clevel": 5, "shuffle": 2, "blocksize": 0},
    }
    want = {}
    for label, compressor in compressors.items():
        for order in "CF":
            for sep, sep_label in ((".", "dot"), ("/", "slash")):
                for endian in "<>":
                    name = f"{label}_{order}_{sep_label}_{'little' if endian == '<' else 'big'}"
                    want[name] = bits("int32" if len(want) % 2 else "float64", 3, 4, 2)
                    zarr2(files(out / "all" / name), want[name], [2, 3, 2], compressor, order, sep, endian)
    group(out / "all", 2)
    return expect("all", tree(want))


def shards(value, inner, codecs, location="end"):
    return codec(
        "sharding_indexed",
        chunk_shape=inner,
        codecs=codecs,
        index_codecs=[codec("bytes", endian="little"), codec("crc32c")],
        index_location=location,
    )


@row(TS)
def bare_zarr3_codecs(out):
    """Each codec, and each kind of key."""
    value = bits("float32", 6, 8)
    little, big = raw(value), raw(value, "big")
    zstd = codec("zstd", level=3, checksum=True)
    blosc = lambda cname, shuffle: codec("blosc", cname=cname, clevel=5, shuffle=shuffle, typesize=4, blocksize=0)
    chains = {
        "little": [little],
        "big": [big],
        "transpose": [codec("transpose", order=[1, 0]), little],
        "gzip": [little, codec("gzip", level=6)],
        "zstd": [little, zstd],
        "blosc_lz4": [little, blosc("lz4", "shuffle")],
        "blosc_zstd": [big, blosc("zstd", "bitshuffle")],
        "blosc_zlib": [little, blosc("zlib", "noshuffle")],
        "crc32c": [little, codec("crc32c")],
        "all": [codec("transpose", order=[1, 0]), big, codec("crc32c"), zstd, codec("crc32c")],
        "shards_end": [shards(value, [2, 2], [little])],
        "shards_start": [shards(value, [2, 2], [big, codec("crc32c")], "start")],
        "shards_zstd": [shards(value, [4, 1], [codec("transpose", order=[1, 0]), little, zstd])],
        "shards_of_shards": [shards(value, [2, 4], [shards(value, [1, 2], [little, codec("crc32c")])])],
    }
    want = {name: value for name in chains}
    for name, chain in chains.items():
        zarr3(files(out / "all" / name), value, [4, 4], *chain)
    for name, separator in (("v2", "."), ("v2", "/"), ("default", "."), ("default", "/")):
        label = f"keys_{name}_{'dot' if separator == '.' else 'slash'}"
        want[label] = bits("bfloat16", 5, 3)
        encoding = codec(name, separator=separator)
        zarr3(files(out / "all" / label), want[label], [2, 2], raw(want[label]), chunk_key_encoding=encoding)
    group(out / "all", 3)
    return expect("all", tree(want))


@row(TS)
def bare_zarr3_large_shards(out):
    """Inner chunks that are worth leaving out."""
    value = plain()
    inner = shards(value, [256, 256], [raw(value), codec("crc32c")])
    zarr3(files(out / "all" / "w"), value, [512, 1024], inner)
    group(out / "all", 3)
    return expect("all", tree({"w": value}))


@row(TS)
def bare_zarr3_dtypes(out):
    """Every element type of TensorStore."""
    names = """bool int2 int4 int8 int16 int32 int64 uint8 uint16 uint32 uint64
    float4_e2m1fn float8_e3m4 float8_e4m3b11fnuz float8_e4m3fn float8_e4m3fnuz
    float8_e5m2 float8_e5m2fnuz float8_e8m0fnu float16 bfloat16 float32 float64
    complex64 complex128"""
    want = {name: bits(name, 3, 5) for name in names.split()}
    for name, value in want.items():
        zarr3(files(out / "all" / name), value, [2, 3], raw(value))
    group(out / "all", 3)
    return expect("all", tree(want))


@row(TS)
def bare_zarr2_folder(out):
    """Arrays in a folder that nothing says is a group."""
    want = arrays()
    for name, value in want.items():
        zarr2(files(out / "all" / name), value, half(value))
    return expect("all", tree(want))


@row(TS)
def bare_zarr3_folder(out):
    want = arrays()
    for name, value in want.items():
        zarr3(files(out / "all" / name), value, half(value), raw(value))
    return expect("all", tree(want))


def python_group(out, zarr_format, **options):
    """A group of zarr-python with attributes, and a group in it."""
    want = {
        "w": bits("float32", 6, 8),
        "count": bits("int64"),
        "mask": bits("bool", 7),
        "c": bits("complex64", 3, 2),
        "half": bits("float16", 2, 3, 4),
        "inner/u": bits("uint8", 9),
        "inner/deep/x": bits("int16", 4, 4),
    }
    root = zarr.create_group(out / "group", zarr_format=zarr_format, attributes={"by": "zarr-python"})
    for name, value in want.items():
        at = root.require_group(name.rpartition("/")[0]) if "/" in name else root
        chunks = tuple(half(value)) if value.shape else ()
        made = at.create_array(name.rpartition("/")[2], shape=value.shape, chunks=chunks, dtype=value.dtype, **options)
        made[...] = value
    return expect("group", tree(want))


@row(ZARR)
def python_zarr2_group(out):
    row = python_group(out, 2)
    zarr.consolidate_metadata(out / "group", zarr_format=2)
    return row


@row(ZARR)
def python_zarr3_group(out):
    row = python_group(out, 3)
    zarr.consolidate_metadata(out / "group", zarr_format=3)
    return row


@row(ZARR)
def python_zarr2_array(out):
    import numcodecs

    value = bits("float64", 5, 7)
    made = zarr.create_array(
        out / "array", shape=value.shape, chunks=(2, 3), dtype=">f8", zarr_format=2, order="F",
        compressors=numcodecs.Blosc(), fill_value=0,
    )
    made[...] = value
    return expect("array", tree(value))


@row(ZARR)
def python_zarr3_array(out):
    """Shards, names of the dimensions, and attributes."""
    value = bits("float32", 12, 8)
    made = zarr.create_array(
        out / "array", shape=value.shape, chunks=(2, 4), shards=(6, 8), dtype=value.dtype,
        dimension_names=["x", "y"], attributes={"unit": "m"},
    )
    made[...] = value
    return expect("array", tree(value))


@row(ZARR)
def python_zarr3_sparse(out):
    """Chunks that were never written, which hold the fill value."""
    value = np.full((6, 4), 1.5, np.float32)
    made = zarr.create_array(out / "array", shape=value.shape, chunks=(2, 2), dtype=value.dtype, fill_value=1.5)
    value[:2, 2:] = made[:2, 2:] = bits("float32", 2, 2)
    return expect("array", tree(value))


def save_tensors(path, tensors):
    safetensors.save_file(tensors, path, metadata={"format": "np"})


def tensors():
    return {
        "model.layers.0.weight": bits("float32", 4, 6),
        "model.layers.0.bias": bits("bfloat16", 6),
        "a/b": bits("float16", 2, 3, 2),
        "f8": bits("float8_e4m3fn", 5),
        "f8_e5m2": bits("float8_e5m2", 2, 2),
        "mask": bits("bool", 7),
        "i64": bits("int64", 3),
        "u8": bits("uint8", 9),
        "scalar": bits("float64"),
    }


@row(SAFETENSORS)
def safetensors_file(out):
    save_tensors(out / "model.safetensors", tensors())
    return expect("model.safetensors", tree(tensors()))


@row(SAFETENSORS)
def safetensors_folder(out):
    """A model in several files, with the index that other libraries want."""
    all_of_it = list(tensors().items())
    (out / "model").mkdir()
    index = {}
    for i in range(3):
        name = f"model-{i + 1:05d}-of-00003.safetensors"
        part = dict(all_of_it[i::3])
        save_tensors(out / "model" / name, part)
        index |= {key: name for key in part}
    text = json.dumps({"metadata": {"total_size": sum(v.nbytes for _, v in all_of_it)}, "weight_map": index})
    (out / "model/model.safetensors.index.json").write_text(text)
    return expect("model", tree(tensors()))
