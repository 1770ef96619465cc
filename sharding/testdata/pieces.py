"""Writes pieces.json: which piece, and which replica, each device has of arrays that JAX lays out.

Run with a Python that has jax: python pieces.py
"""
import json, os, random

os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=12"
os.environ["JAX_PLATFORMS"] = "cpu"
import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec as P

DEVICES = jax.devices()
MESHES = [(1,), (2,), (8,), (12,), (2, 2), (2, 4), (4, 2), (3, 4), (2, 2, 2), (2, 3, 2), (1, 2, 1, 3), ()]
random.seed(1)
cases = []
for mesh_shape in MESHES * 6:
    n = int(np.prod(mesh_shape))
    devices = random.sample(DEVICES, n)
    names = [chr(ord("a") + i) for i in range(len(mesh_shape))]
    sizes = dict(zip(names, mesh_shape))
    rank = random.randint(0, 4)
    left = random.sample(names, random.randint(0, len(names)))
    spec, shape = [], []
    for axis in range(rank):
        entry = [left.pop() for _ in range(random.randint(0, min(2, len(left))))]
        spec.append(entry)
        parts = int(np.prod([sizes[name] for name in entry]))
        shape.append(parts * random.randint(1, 3))
    spec = spec[: random.randint(0, rank) if not any(spec) else rank]
    sharding = NamedSharding(Mesh(np.asarray(devices).reshape(mesh_shape), names), P(*[tuple(e) or None for e in spec]))
    array = jax.device_put(np.zeros(shape, np.int8), sharding)
    shards = {s.device.id: s for s in array.addressable_shards}
    cases.append({
        "mesh": mesh_shape, "axes": names, "devices": [d.id for d in devices], "spec": spec, "shape": shape,
        "pieces": [{
            "offset": [i.start or 0 for i in shards[d.id].index],
            "size": list(shards[d.id].data.shape),
            "replica": shards[d.id].replica_id,
        } for d in devices],
    })
with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "pieces.json"), "w") as f:
    f.write("[\n" + ",\n".join(json.dumps(c, separators=(",", ":")) for c in cases) + "\n]\n")
