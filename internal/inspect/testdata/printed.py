"""Writes printed.json: arrays, and how NumPy 2.4 and ml_dtypes print them.

    python printed.py > printed.json
"""

import json
import ml_dtypes
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
    for row in ([True, False], [True], [False] * 20, [[True] * 3, [False, True, True]]):
        add(np.array(row))
    for name in ('bfloat16', 'float8_e4m3fn', 'float8_e5m2', 'float8_e4m3b11fnuz', 'int4'):
        t = np.dtype(getattr(ml_dtypes, name))
        for row in ([1, 0.1, -3.140625, 0, 7], [nan, -0.0, 1e-5, 200.0], [1e38, -inf, 9.1835e-41, 123392], [100000, 1e6, 12, 0.0001]):
            if name == 'int4':
                row = [-8, 7, 0]
            add(np.array(row, np.float32).astype(t))
        add(np.arange(-40, 40, dtype=np.float32).reshape(2, 40).clip(-8, 7).astype(t))
    # Where lines are broken, by the number of axes.
    for number, t in ((7, np.int8), (100, np.int8), (10000, np.int16), (100000, np.int32), (123456789, np.int32)):
        for n in (6, 9, 13, 19, 26, 36):
            for axes in range(1, 6):
                add(np.full((1,) * (axes - 1) + (n,), number, t))
    add(rng.normal(size=(2, 1, 2, 20)).astype(np.float16))
    add(np.full((1, 1, 1, 1, 1, 1, 40), 12345, np.int16))
print(json.dumps(cases, separators=(',', ':')).replace('},{', '},\n{'))
