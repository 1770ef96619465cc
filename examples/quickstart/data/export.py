"""Writes digits.u8.gz from the copy of the data set inside a scikit-learn wheel.

    pip download --no-deps scikit-learn
    python export.py scikit_learn-*.whl

Needs nothing but Python itself.
"""

import csv
import gzip
import io
import pathlib
import sys
import zipfile

with zipfile.ZipFile(sys.argv[1]) as wheel:
    text = gzip.decompress(wheel.read("sklearn/datasets/data/digits.csv.gz")).decode()

records = bytearray()
for row in csv.reader(io.StringIO(text)):
    values = [int(float(v)) for v in row]
    assert len(values) == 65 and max(values[:64]) <= 16 and values[64] <= 9, row
    records += bytes(values)
assert len(records) == 1797 * 65

out = pathlib.Path(__file__).with_name("digits.u8.gz")
out.write_bytes(gzip.compress(bytes(records), compresslevel=9, mtime=0))
print(out, out.stat().st_size, "bytes")
