"""TensorStore reads an array of checkpoints of several layouts on s3:// paths.

s3.py ENDPOINT BUCKET PATH ZARR DATABASE...    ZARR is 2 or 3, DATABASE is true or false;
                                               these three again for each checkpoint
"""

import sys

import numpy as np
import tensorstore as ts

endpoint, bucket, *checkpoints = sys.argv[1:]
want = np.arange(3 * (1 << 20), dtype=np.float32).reshape(3, 1 << 20) + 7
for path, zarr, database in zip(*[iter(checkpoints)] * 3):
    base = {"driver": "s3", "bucket": bucket, "path": path + "/", "endpoint": endpoint, "aws_region": "us-east-1"}
    if database == "true":
        kvstore = {"driver": "ocdbt", "base": base, "path": "params.w"}
    else:
        kvstore = {**base, "path": path + "/params.w"}
    array = ts.open({"driver": {"2": "zarr", "3": "zarr3"}[zarr], "kvstore": kvstore}).result()
    part = array[1:, 100:200].read().result()
    print("equal" if np.array_equal(array.read().result(), want) and np.array_equal(part, want[1:, 100:200]) else "differs")
