"""Serves one job of the benchmark with the real Orbax; see childVariable in child.go."""

import os

os.environ.setdefault("JAX_PLATFORMS", "cpu")

import gc
import json
import resource
import shutil
import sys
import time
import warnings

# Keep the real stdout for answers alone, also from what C++ code prints.
answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)
warnings.simplefilter("ignore")

import jax
import ml_dtypes
import numpy as np
import orbax.checkpoint.experimental.v1 as ocp


def memory(field):
    with open("/proc/self/status") as f:
        return next(int(line.split()[1]) << 10 for line in f if line.startswith(field))


def max_rss():
    n = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return n if sys.platform == "darwin" else n << 10


def memory_now():
    try:
        with open("/proc/self/clear_refs", "w") as f:
            f.write("5")
        return memory("VmRSS:"), "VmHWM"
    except OSError:
        return max_rss(), "maxrss"


def memory_peak(source):
    return memory("VmHWM:") if source == "VmHWM" else max_rss()


def cpu_seconds():
    u = resource.getrusage(resource.RUSAGE_SELF)
    return u.ru_utime + u.ru_stime


def arrays(job):
    """Yields the name and values of each array of the state."""
    case = job["case"]
    dtype = np.dtype(ml_dtypes.bfloat16 if case["dtype"] == "bfloat16" else case["dtype"])
    n = case["bytes"] // dtype.itemsize
    shape = (n // 1024, 1024) if n % 1024 == 0 else (n,)
    with open(job["data"], "rb") as f:
        for i in range(case["arrays"]):
            a = np.empty(shape, dtype)
            f.readinto(a.reshape(-1).view(np.uint8))
            yield f"w{i:05d}", a


def leaf(job, a):
    return jax.numpy.asarray(a).copy() if job["leaves"] == "jax" else a


def context(job):
    ctx = ocp.Context()
    ctx.array.saving.use_compression = job["compress"]
    return ctx


def warm_up(job):
    path = os.path.join(job["scratch"], "warm-up")
    ocp.save(path, {"a": leaf(job, np.zeros((64, 64), np.float32))})
    ocp.load(path)
    shutil.rmtree(path)


def save_twice(job, state, sample):
    for i, blocked in enumerate(["seconds", "again"]):
        start = time.perf_counter()
        response = ocp.save_async(f"{job['path']}{i}", state)
        sample[blocked] = time.perf_counter() - start
        response.result()
        if i == 0:
            sample["total"] = time.perf_counter() - start


def do(job):
    sample = {}
    warm_up(job)
    state = None
    if job["op"] != "load":
        state = {name: leaf(job, a) for name, a in arrays(job)}
        jax.block_until_ready(state)
    answers.write("\n")
    answers.flush()
    sys.stdin.readline()
    gc.collect()
    cpu = cpu_seconds()
    before, sample["memory_source"] = memory_now()
    start = time.perf_counter()
    if job["op"] == "save":
        ocp.save(job["path"], state)
    elif job["op"] == "load":
        state = jax.block_until_ready(ocp.load(job["path"]))
    elif job["op"] == "async":
        save_twice(job, state, sample)
    else:
        raise ValueError(job["op"])
    sample.setdefault("seconds", time.perf_counter() - start)
    sample["cpu_seconds"] = cpu_seconds() - cpu
    sample["beyond_bytes"] = memory_peak(sample["memory_source"]) - before
    if job["op"] == "load":
        sample["beyond_bytes"] -= job["case"]["arrays"] * job["case"]["bytes"]
        for name, want in arrays(job):
            got = np.asarray(state[name])
            if got.dtype != want.dtype or got.tobytes() != want.tobytes():
                raise ValueError(f"{name} was not loaded as it was saved")
    return sample


job = json.loads(sys.stdin.readline())
with context(job):
    result = do(job)
answers.write(json.dumps(result) + "\n")
