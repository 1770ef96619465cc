"""Makes the golden databases of package ocdbt with TensorStore and Orbax.

Run from this folder: python gen.py
Needs orbax-checkpoint 0.12.8 and tensorstore 0.1.86. Each database gets a file
want.json beside it, with the length and SHA-256 of the value of each key as
TensorStore reads them back. Names of data files differ from run to run.
"""

import hashlib
import json
import os
import random
import shutil

import numpy as np
import tensorstore as ts

HERE = os.path.dirname(os.path.abspath(__file__))
ZSTD = {"id": "zstd", "level": 0}


def path(name):
  return os.path.join(HERE, "golden", name)


def open_db(name, config=None, assume=False):
  spec = {"driver": "ocdbt", "base": "file://" + path(name) + "/"}
  if config is not None:
    spec |= {"config": config, "assume_config": assume}
  return ts.KvStore.open(spec).result()


def record(name):
  db = open_db(name)
  want = {}
  for key in sorted(db.list().result()):
    value = db[key]
    want[key.decode("latin-1")] = {
        "len": len(value),
        "sha256": hashlib.sha256(value).hexdigest(),
    }
  with open(path(name) + ".json", "w") as f:
    json.dump(want, f, indent=1)
    f.write("\n")


def create(name, config, commits, assume=False):
  """Creates a database; each commit maps keys to values, None deletes.

  Unless the config is assumed, generation 1 is an empty version.
  """
  db = open_db(name, config, assume)
  for commit in commits:
    with ts.Transaction() as txn:
      view = db.with_transaction(txn)
      for key, value in commit.items():
        view[key] = value  # None deletes
  record(name)


def layers(n, rng):
  """Keys and values like those of a checkpoint, inline and out of line."""
  out = {}
  for i in range(n):
    for part in ("kernel", "bias"):
      base = f"params.layer_{i:03d}.{part}/"
      out[base + "zarr.json"] = b'{"shape":[%d]}' % i
      out[base + "c/0"] = rng.randbytes(rng.choice([0, 8, 100, 101, 300]))
  return out


def main():
  shutil.rmtree(path(""), ignore_errors=True)
  rng = random.Random(7)
  small = {"max_inline_value_bytes": 100}
  for label, compression in (("none", None), ("zstd", ZSTD)):
    create(f"single_{label}", small | {"compression": compression}, [layers(4, rng)])
    create(
        f"levels_{label}",
        small | {"compression": compression, "max_decoded_node_bytes": 300},
        [layers(16, rng)],
        assume=True,
    )
  create(
      "versions",
      small | {"compression": None, "version_tree_arity_log2": 1},
      [{f"k{i}": b"v%d" % i, "last": b"%d" % i, f"k{i - 2}": None} for i in range(11)],
  )
  create(
      "numbered",
      small | {"compression": None, "manifest_kind": "numbered"},
      [{f"k{i}": b"v" * 60 * i} for i in range(4)],
  )
  create("empty", {"compression": None}, [{"k": b"v"}, {"k": None}])
  create(
      "binary",
      {"compression": None, "max_inline_value_bytes": 0},
      [{bytes([i]) + b"\x00\xff" * (i % 3): bytes([i]) * (i % 5) for i in range(256)}],
  )
  create("emptykey", {"compression": None}, [{"": b"empty", "a": b"a", "a/": b"slash"}])

  # Merged by Orbax: values stay in the files of the per-process database.
  import orbax.checkpoint.experimental.v1 as ocp

  tmp = path("orbax.tmp")
  state = {
      "big": np.random.default_rng(1).integers(0, 255, 1500, dtype=np.uint8),
      "small": np.arange(6, dtype=np.float32).reshape(2, 3),
      "step": 12,
  }
  ocp.save(tmp, state)
  shutil.copytree(os.path.join(tmp, "state"), path("orbax"))
  shutil.rmtree(tmp)
  for junk in ("_METADATA", "_sharding", "array_metadatas"):
    target = path(os.path.join("orbax", junk))
    if os.path.isdir(target):
      shutil.rmtree(target)
    elif os.path.exists(target):
      os.remove(target)
  record("orbax")

  # Merged at the level of nodes: the root lies in another database, and finds
  # its own files there.
  shutil.copytree(path("levels_none"), path("nested/sub"))
  nested()
  record("nested")


def nested():
  """Points a manifest with base_path "sub/" to the root of golden/levels_none."""
  with open(path("nested/sub/manifest.ocdbt"), "rb") as f:
    body = f.read()[14:-4]
  os.remove(path("nested/sub/manifest.ocdbt"))
  config = 16 + 1 + 1 + 2 + 1 + 1  # max_inline 100, max_decoded 300, no compression
  n, suffix, base = body[config : config + 3]
  assert (n, base) == (1, 0)
  head = body[:config] + bytes([1, suffix + 4, 4]) + b"sub/" + body[config + 3 :]
  raw = bytes.fromhex("0cdb3a2a") + (14 + len(head) + 4).to_bytes(8, "little") + b"\0\0" + head
  with open(path("nested/manifest.ocdbt"), "wb") as f:
    f.write(raw + crc32c(raw).to_bytes(4, "little"))


def crc32c(data):
  crc = 0xFFFFFFFF
  for byte in data:
    crc ^= byte
    for _ in range(8):
      crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
  return crc ^ 0xFFFFFFFF


if __name__ == "__main__":
  main()
