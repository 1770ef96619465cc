"""Saves to and loads from paths of object stores with the real Orbax: requests on stdin,
answers on stdout, one JSON object a line.

serve.py [PATCH...]    runs the Python files first

A request has "op", the name of a function below, and its arguments. An answer is
{"ok": true, ...} or {"ok": false, "error": "Class: message"}.
"""

import hashlib
import json
import os
import runpy
import sys
import traceback

# Keep the real stdout for answers alone.
_answers = os.fdopen(os.dup(1), "w", encoding="ascii")
os.dup2(2, 1)

import numpy as np
import orbax.checkpoint.experimental.v1 as ocp


def state(step):
    """The state of a step, as state in interop.go makes it."""
    w = (np.arange(5 << 20) % 1000003 + step).astype(np.float32)
    return {
        "params": {"w": w.reshape(5 << 10, 1 << 10), "b": np.array([1, 2, step], np.int64)},
        "step": step,
        "name": "state",
    }


def described(tree):
    """The dtype, the shape and the SHA-256 of each array, and other leaves as they are."""
    if isinstance(tree, dict):
        return {k: described(v) for k, v in tree.items()}
    if np.ndim(tree) == 0:
        return tree if isinstance(tree, (str, int)) else np.asarray(tree).item()
    a = np.asarray(tree)
    return f"{a.dtype.name}{list(a.shape)} {hashlib.sha256(a.tobytes()).hexdigest()}"


def _numpy(path):
    """The tree to load into, so that arrays keep their dtypes."""
    tree = ocp.metadata(path).metadata
    return {
        "params": {k: np.empty(v.shape, v.dtype) for k, v in tree["params"].items()},
        "step": 0,
        "name": "",
    }


def save(path, step, overwrite=False):
    ocp.save(path, state(step), overwrite=overwrite)
    return {}


def load(path):
    return {"tree": described(ocp.load(path, _numpy(path)))}


def run(root, save=(), load=None, keep=1000):
    """Opens a training.Checkpointer, saves steps, keeps the latest ones, and loads one into its state."""
    policy = ocp.training.preservation_policies.LatestN(keep)
    with ocp.training.Checkpointer(root, preservation_policy=policy) as c:
        for step in save:
            c.save(step, state(step), force=True)
    with ocp.training.Checkpointer(root) as c:
        answer = {"steps": [k.step for k in c.checkpoints], "latest": c.latest.step if c.latest else None}
        if load is not None:
            answer["tree"] = described(c.load(load, _numpy(f"{root}/{load}")))
    return answer


for patch in sys.argv[1:]:
    runpy.run_path(patch)

for line in sys.stdin:
    request = json.loads(line)
    try:
        answer = {"ok": True, **globals()[request.pop("op")](**request)}
    except Exception as e:  # whatever it is, the test reports it
        traceback.print_exc()
        answer = {"ok": False, "error": f"{type(e).__name__}: {e}"}
    print(json.dumps(answer), file=_answers, flush=True)
