"""Makes the golden files with the real safetensors.

    pip install safetensors==0.8.0 numpy ml_dtypes
    python gen.py

Run it in this folder. Every byte of tensor i of dtypes.safetensors counts up
from i, so that a reader can check data without this script.
"""

import ml_dtypes
import numpy as np
from safetensors.numpy import save_file

DTYPES = [
    "bool", "uint8", "int8", "float8_e5m2", "float8_e4m3fn", "float8_e8m0fnu",
    "float8_e4m3fnuz", "float8_e5m2fnuz", "int16", "uint16", "float16",
    "bfloat16", "int32", "uint32", "float32", "complex64", "float64", "int64",
    "uint64",
]


def dtype(name):
    return np.dtype(getattr(ml_dtypes, name)) if hasattr(ml_dtypes, name) else np.dtype(name)


def array(i, name, shape):
    d = dtype(name)
    n = int(np.prod(shape)) * d.itemsize
    b = (np.arange(n) + i).astype(np.uint8)
    if name == "bool":
        b &= 1
    return b.view(d).reshape(shape)


save_file(
    {name: array(i, name, (2, 3)) for i, name in enumerate(DTYPES)},
    "dtypes.safetensors",
    metadata={"format": "np"},
)
save_file(
    {
        "scalar": np.array(1.5, np.float32),
        "empty": np.zeros((0, 3), np.float64),
        "": np.array([7], np.int8),
        'quote " back\\slash / <&>': np.array([1, 2], np.int16),
        "grüße \u4e16\u754c \U0001f600 \n\t\x00\x1f": np.array([True, False, True]),
    },
    "names.safetensors",
)
save_file({}, "none.safetensors", metadata={"ключ": "\u007f<значение>"})
