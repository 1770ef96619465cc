"""Writes printed.json: arrays, and how NumPy 2.4 prints them.

    python printed.py > printed.json
"""

import json
import numpy as np

nan, inf = np.nan, np.inf
rng = np.random.default_rng(7)
rows = [
    [1, 2.5, -3, 4], [0], [0.1, 0.25], [1e-10, 1.5], [1e10, 1], [999999, 1], [1e6, 1e5], [12345678, 99999],
    [nan, 1.5, -inf], [nan, inf], [-inf, nan], [nan], [1e-5, nan, -inf], [1 / 3, 2 / 3], [1e100, 1e-100],
    [-0.0, 0.0], [1e3, 1.001], [1001, 1], [0.0001, 0.01], [0.00009, 1], [65504, 1e-7], [123.456, 0.001],
    [1e-5, 1.2345678e-8], [1e-5, 1.5, 1.23456789123], [9.9999999e-6, 1.5e-7], [1e22, 1.2345678912345],
    [-1.5, -22.25, 333.125], [5e-324, 1], [1.7976931348623157e308, -1],
]
cases = []


def add(a):
    cases.append({'dtype': a.dtype.name, 'shape': list(a.shape), 'data': a.tobytes().hex(), 'text': str(a)})


with np.errstate(all='ignore'):
    for row in rows:
        for t in (np.float16, np.float32, np.float64):
            add(np.array(row, t))
        for t in (np.complex64, np.complex128):
            half = np.array(row, t)
            add(half.real + 1j * half.real[::-1])
    for t in (np.float16, np.float32, np.float64, np.complex64):
        add(rng.normal(size=(5, 7)).astype(t))
        add((rng.normal(size=(2, 3, 2)) * 10.0 ** rng.integers(-9, 9, (2, 3, 2))).astype(t))
    add(np.array(4.1166312e-25 - 6.6770656e25j, np.complex64))
    add(np.zeros((0, 3), np.float32))
print(json.dumps(cases, separators=(',', ':')).replace('},{', '},\n{'))
