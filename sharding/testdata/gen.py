"""Writes shardings.json: what JAX and Orbax say about shardings, and a whole _sharding document.

Run with a Python that has jax and orbax-checkpoint: python gen.py
"""
import json, os, tempfile

os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=8"
os.environ["JAX_PLATFORMS"] = "cpu"
import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint.experimental.v1 as ocp
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec as P, SingleDeviceSharding
from orbax.checkpoint._src.metadata.sharding import from_jax_sharding

DEVICES = jax.devices()


def named(shape, names, spec, types=None, devices=DEVICES):
    mesh = Mesh(np.asarray(devices[: int(np.prod(shape))]).reshape(shape), names, axis_types=types)
    return NamedSharding(mesh, spec)


A = AxisType
CASES = {
    "single": (SingleDeviceSharding(DEVICES[0]), (8, 8)),
    "single3": (SingleDeviceSharding(DEVICES[3]), (8,)),
    "auto": (named((2, 4), ("x", "y"), P("x", "y"), (A.Auto, A.Auto)), (8, 8)),
    "explicit": (named((2, 4), ("x", "y"), P(None, "y"), (A.Explicit, A.Explicit)), (8, 8)),
    "manual": (named((2, 2), ("x", "y"), P(("x", "y")), (A.Manual, A.Manual)), (8, 8)),
    "mixed": (named((2, 1, 2), ("a", "b", "c"), P("c", ("b",), "a"), (A.Auto, A.Explicit, A.Auto)), (8, 3, 2)),
    "replicated": (named((8,), ("x",), P()), (8, 8)),
    "tuple": (named((2, 2, 2), ("a", "b", "c"), P(("a", "b"), None, "c")), (8, 3, 2)),
    "fewer": (named((4, 2), ("data", "model"), P("data")), (8, 8, 2)),
    "reversed": (named((8,), ("x",), P("x"), devices=DEVICES[::-1]), (8,)),
    "empty": (named((2,), ("x",), P((), "x")), (8, 2)),
    "scalar": (named((8,), ("x",), P()), ()),
    "escapes": (named((2,), ("h\u00e9<&>\x7f\U0001f600",), P("h\u00e9<&>\x7f\U0001f600")), (8,)),
    "alphabet >>>???~~~\u00ff\u00fe": (SingleDeviceSharding(DEVICES[0]), (2,)),
    "b>c\u00ffz?": (SingleDeviceSharding(DEVICES[0]), (2,)),
}
out = {"cases": {}}
for name, (s, shape) in CASES.items():
    out["cases"][name] = {"text": from_jax_sharding(s).to_serialized_string(), "string": str(s), "shape": shape,
                          "shard": s.shard_shape(shape)}
point = NamedSharding(Mesh(np.asarray(DEVICES[0]).reshape(()), ()), P())
out["cases"]["no axes"] = {"text": from_jax_sharding(point).to_serialized_string(), "string": str(point), "shape": (3,), "shard": (3,)}
with tempfile.TemporaryDirectory() as tmp:
    path = os.path.join(tmp, "ckpt")
    ocp.save(path, {k: jax.device_put(jnp.zeros(shape, jnp.float32), s) for k, (s, shape) in CASES.items()})
    with open(os.path.join(path, "state", "_sharding")) as f:
        out["document"] = f.read()
with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "shardings.json"), "w") as f:
    json.dump(out, f, indent=1)
    f.write("\n")
