"""Writes reshape.txt: what NumPy says of reshapes of views.

Each line is the shape of the source, the slice start:stop:step taken of its
first axis, the permutation of the axes, the new shape, and the strides, in
elements, of the result, or "copy" where NumPy has to make one. The strides of
axes of one element mean nothing and are 0.

    python reshape.py > reshape.txt
"""

import random

import numpy as np

random.seed(1)


def divide(n):
    """A random shape of n elements."""
    shape = []
    while n > 1 or random.random() < 0.2:
        d = random.choice([d for d in range(1, n + 1) if n % d == 0])
        shape.append(d)
        n //= d
    return shape


def text(ints):
    return ",".join(map(str, ints))


lines = set()
while len(lines) < 400:
    shape = [random.choice([1, 2, 3, 4, 6]) for _ in range(random.randint(1, 4))]
    a = np.arange(np.prod(shape), dtype=np.uint8).reshape(shape)
    start = random.randint(0, shape[0] - 1)
    cut = (start, random.randint(start + 1, shape[0]), random.choice([1, 1, 2, 3]))
    perm = list(range(len(shape)))
    if random.random() < 0.7:
        random.shuffle(perm)
    v = a[slice(*cut)].transpose(perm)
    new = divide(v.size)
    out = v.reshape(new)
    result = "copy"
    if np.shares_memory(a, out):
        result = text(s if n > 1 else 0 for s, n in zip(out.strides, out.shape))
    lines.add(";".join([text(shape), ":".join(map(str, cut)), text(perm), text(new), result]))
for line in sorted(lines):
    print(line)
