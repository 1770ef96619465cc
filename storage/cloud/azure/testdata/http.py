"""Reads arrays of a checkpoint over http with TensorStore, as anybody can read a public container.

usage: http.py BASE_URL ZARR DATABASE ARRAY...    prints one line of JSON for each array: dtype, shape,
                                                  SHA-256. ZARR is 2 or 3, DATABASE is true or false
"""

import hashlib
import json
import sys

import tensorstore as ts

base = {'driver': 'http', 'base_url': sys.argv[1]}
driver = {'2': 'zarr', '3': 'zarr3'}[sys.argv[2]]
for name in sys.argv[4:]:
  kvstore = {'driver': 'ocdbt', 'base': base, 'path': name} if sys.argv[3] == 'true' else base | {'path': name}
  array = ts.open({'driver': driver, 'kvstore': kvstore}).result()
  value = array.read(order='C').result()
  corner = array[tuple(slice(0, max(1, n // 2)) for n in array.shape)].read(order='C').result()
  print(json.dumps({
      'dtype': value.dtype.name,
      'shape': list(value.shape),
      'sum': hashlib.sha256(value.tobytes()).hexdigest(),
      'corner': bool((corner == value[tuple(slice(0, n) for n in corner.shape)]).all()),
  }))
