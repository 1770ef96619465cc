"""Serves one job of the benchmark with what is measured in Python; see childVariable in child.go."""

import gc
import json
import os
import resource
import shutil
import sys
import time
import warnings

os.environ.setdefault("JAX_PLATFORMS", "cpu")
# Keep the real stdout for answers alone, also from what C++ code prints.
answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)
warnings.simplefilter("ignore")

import numpy as np


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


def values(job):
    """Yields the name and values of each array of the state, as bytes; see benchCase.values."""
    case = job["case"]
    size = case["bytes"]
    total = size * case["arrays"]
    length = min(total, 256 << 20)
    with open(job["data"], "rb", buffering=0) as f:
        for i in range(case["arrays"]):
            offset = i * size if total == length else i * (size + 64) % length
            data = np.empty(size, np.uint8)
            rest = memoryview(data)
            while rest:
                f.seek(offset)
                rest = rest[f.readinto(rest[: length - offset]) :]
                offset = 0
            yield f"w{i:05d}", data


def shape(job, itemsize):
    n = job["case"]["bytes"] // itemsize
    return (n // 1024, 1024) if n % 1024 == 0 else (n,)


class Orbax:
    def __init__(self, job):
        global jax, ocp, ml_dtypes
        how = job["how"]
        import jax
        import ml_dtypes
        import orbax.checkpoint.experimental.v1 as ocp

        self.jax = how == "jax"
        context = ocp.Context()
        context.array.saving.use_compression = not how.endswith("uncompressed")
        context.__enter__()

    def leaf(self, job, data):
        a = data.view(ml_dtypes.bfloat16 if job["case"]["dtype"] == "bfloat16" else np.float32)
        a = a.reshape(shape(job, a.itemsize))
        return jax.numpy.asarray(a).copy() if self.jax else a

    def ready(self, state):
        jax.block_until_ready(state)

    def small(self):
        return {"a": jax.numpy.zeros((64, 64)) if self.jax else np.zeros((64, 64), np.float32)}

    def save(self, path, state):
        ocp.save(path, state)

    def load(self, path):
        return jax.block_until_ready(ocp.load(path))

    def save_async(self, path, state):
        return ocp.save_async(path, state).result

    def bytes(self, a):
        return np.asarray(a)


class OrbaxTogether(Orbax):
    """One of several processes that save together; see together.go."""

    def __init__(self, job):
        os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=2"
        super().__init__(job)
        jax.config.update("jax_cpu_collectives_implementation", "gloo")
        jax.distributed.initialize(job["coordinator"], job["size"], job.get("rank", 0))
        mesh = jax.sharding.Mesh(np.array(jax.devices()), ("x",))
        self.sharding = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("x"))

    def put(self, a):
        # A copy, because JAX would keep all of an array for a part of it.
        return jax.make_array_from_callback(a.shape, self.sharding, lambda i: a[i].copy())

    def leaf(self, job, data):
        return self.put(super().leaf(job, data))

    def small(self):
        return {"a": self.put(np.zeros((64, 64), np.float32))}


class Torch:
    """What DCP and safetensors have in common."""

    def __init__(self, job):
        global torch
        import torch

        self.how = job["how"]

    def leaf(self, job, data):
        t = torch.from_numpy(data).view(torch.bfloat16 if job["case"]["dtype"] == "bfloat16" else torch.float32)
        return t.reshape(shape(job, t.element_size()))

    def ready(self, state):
        pass

    def small(self):
        return {"a": torch.zeros(64, 64)}

    def bytes(self, a):
        return a.view(torch.uint8).numpy() if isinstance(a, torch.Tensor) else a


class DCP(Torch):
    def __init__(self, job):
        super().__init__(job)
        global distributed
        import torch.distributed.checkpoint as distributed

    def save(self, path, state):
        distributed.save(state, checkpoint_id=path, no_dist=True)

    def load(self, path):
        state = self.small()
        self.load_into(path, state)
        return state

    def load_into(self, path, state):
        distributed.load(state, checkpoint_id=path, no_dist=True)


class Safetensors(Torch):
    def __init__(self, job):
        super().__init__(job)
        global safe
        import safetensors as safe
        import safetensors.numpy
        import safetensors.torch

    def save(self, path, state):
        safe.torch.save_file(state, path)

    def sync(self, path):
        for name in (path, os.path.dirname(path)):
            f = os.open(name, os.O_RDONLY)
            os.fsync(f)
            os.close(f)

    def load(self, path):
        # safetensors.torch maps the file.
        return safe.numpy.load_file(path)

    def map(self, path):
        with safe.safe_open(path, "pt") as f:
            return {name: f.get_tensor(name) for name in f.keys()}

    def touch(self, state):
        for t in state.values():
            t.view(torch.uint8).flatten()[::4096].sum()


def warm_up(job, lib):
    path = os.path.join(job["scratch"], "warm-up")
    lib.save(path, lib.small())
    lib.load(path)
    if job.get("size"):  # others may still read it
        return
    shutil.rmtree(path) if os.path.isdir(path) else os.remove(path)


def save_twice(job, lib, state, sample):
    for i, blocked in enumerate(["seconds", "again"]):
        start = time.perf_counter()
        result = lib.save_async(f"{job['path']}{i}", state)
        sample[blocked] = time.perf_counter() - start
        result()


def do(job, lib):
    sample = {}
    warm_up(job, lib)
    op, path, state = job["op"], job["path"], None
    if op in ("save", "async"):
        state = {name: lib.leaf(job, data) for name, data in values(job)}
        lib.ready(state)
    elif op == "load-into":
        blank = lambda: np.full(job["case"]["bytes"], 0xFF, np.uint8)
        state = {f"w{i:05d}": lib.leaf(job, blank()) for i in range(job["case"]["arrays"])}
    answers.write("\n")
    answers.flush()
    sys.stdin.readline()
    gc.collect()
    cpu = cpu_seconds()
    before, sample["memory_source"] = memory_now()
    start = time.perf_counter()
    if op == "save":
        lib.save(path, state)
        if hasattr(lib, "sync"):
            sample["seconds"] = time.perf_counter() - start
            lib.sync(path)
            sample["again"] = time.perf_counter() - start
    elif op == "load":
        state = lib.load(path)
    elif op == "load-into":
        lib.load_into(path, state)
    elif op == "map":
        state = lib.map(path)
        sample["seconds"] = time.perf_counter() - start
        lib.touch(state)
        sample["again"] = time.perf_counter() - start
    elif op == "async":
        save_twice(job, lib, state, sample)
    else:
        raise ValueError(op)
    sample.setdefault("seconds", time.perf_counter() - start)
    sample["cpu_seconds"] = cpu_seconds() - cpu
    sample["beyond_bytes"] = memory_peak(sample["memory_source"]) - before
    if op in ("load", "map"):
        sample["beyond_bytes"] -= job["case"]["arrays"] * job["case"]["bytes"]
    if op in ("load", "load-into", "map"):
        for name, want in values(job):
            got, dtype = lib.bytes(state[name]), str(state[name].dtype).removeprefix("torch.")
            if dtype != job["case"]["dtype"] or not np.array_equal(got.reshape(-1).view(np.uint8), want):
                raise ValueError(f"{name} was not loaded as it was saved")
    return sample


programs = {"orbax": Orbax, "dcp": DCP, "safetensors": Safetensors}
job = json.loads(sys.stdin.readline())
result = do(job, (OrbaxTogether if job.get("size") else programs[job["program"]])(job))
answers.write(json.dumps(result) + "\n")
