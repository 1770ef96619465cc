"""TensorStore reads an array of a checkpoint on an s3:// path.

s3.py ENDPOINT BUCKET PATH
"""

import sys

import numpy as np
import tensorstore as ts

endpoint, bucket, path = sys.argv[1:]
base = {'driver': 's3', 'bucket': bucket, 'path': path + '/', 'endpoint': endpoint, 'aws_region': 'us-east-1'}
spec = {'driver': 'zarr3', 'kvstore': {'driver': 'ocdbt', 'base': base, 'path': 'params.w'}}
got = ts.open(spec).result().read().result()
want = np.arange(3 * (1 << 20), dtype=np.float32).reshape(3, 1 << 20) + 7
print('equal' if np.array_equal(got, want) else 'differs')
