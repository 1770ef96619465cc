"""Writes split.json: chunk shapes chosen by the real Orbax.

Run with orbax-checkpoint 0.12.8 installed:

    python gen_split.py 300 > split.json
"""

import json
import random
import sys

from absl import logging
import numpy as np
from orbax.checkpoint._src.arrays import subchunking

logging.set_verbosity(logging.ERROR)
random.seed(1)
cases = []
for _ in range(int(sys.argv[1])):
    rank = random.randrange(5)
    top = random.choice([4, 40, 1000, 5000])
    shard = [random.randrange(0 if random.random() < 0.05 else 1, top + 1) for _ in range(rank)]
    whole = [d * random.choice([1, 1, 2, 8]) for d in shard]
    dtype = np.dtype(random.choice(["u1", "f2", "f4", "f8", "c16"]))
    limit = random.choice([None, int(2 ** random.uniform(4, 40))])
    axes = random.sample(range(rank), random.randrange(rank + 1)) if random.random() < 0.4 else []
    want = subchunking.choose_chunk_shape(
        tuple(whole), tuple(shard), dtype, limit, shard_axes=tuple(axes))
    cases.append(dict(global_shape=whole, shape=shard, item_size=dtype.itemsize,
                      chunk_bytes=limit or 0, shard_axes=axes, want=[int(d) for d in want]))
print("[\n" + ",\n".join(json.dumps(c, separators=(",", ":")) for c in cases) + "\n]")
