"""Writes literals.json.gz: zstd frames without sequences, made by the C library.

Run with zstandard 0.25 (libzstd 1.5.7) installed:

    python gen_literals.py

Each entry has the frame in base64 and the SHA-256 of its content. Blocks end
where the content's parts do. Between them, the frames have every kind of block
and of literals header that the library writes if nothing matches.
"""

import base64
import gzip
import hashlib
import json
import random

import zstandard as z

rng = random.Random(5)
entries = []


def weights(n, spread=6.0):
    """Bytes of which some are more frequent, as in floating-point numbers."""
    return bytes(int(abs(rng.gauss(0, spread))) * 5 & 255 for _ in range(n))


def noise(n):
    return rng.randbytes(n)


def add(name, *parts, checksum=True, size=True):
    params = z.ZstdCompressionParameters(
        compression_level=1, strategy=z.STRATEGY_FAST, min_match=7, window_log=17,
        write_checksum=checksum, write_content_size=size)
    content = b"".join(parts)
    c = z.ZstdCompressor(compression_params=params)
    if len(parts) == 1:
        frame = c.compress(content)
    else:
        o = c.compressobj(size=len(content) if size else -1)
        frame = b"".join(o.compress(p) + o.flush(z.COMPRESSOBJ_FLUSH_BLOCK) for p in parts) + o.flush()
    assert z.ZstdDecompressor().decompressobj().decompress(frame) == content
    entries.append(dict(name=name, frame=base64.b64encode(frame).decode(),
                        sha256=hashlib.sha256(content).hexdigest()))


add("one stream", weights(200))
add("four streams, short sizes", weights(900))
add("four streams", weights(5001), checksum=False)
add("four streams, long sizes", weights(16800, 30))
add("tables reused", *(weights(n) for n in [700, 300, 200, 4000, 900, 150]))
add("tables reused, no sizes", *(weights(n, 30) for n in [800, 400, 300, 100]), checksum=False, size=False)
add("stored and repeated", weights(500), noise(300), b"\7" * 4000, weights(400), noise(1), b"\0" * 70, checksum=False)
add("repeated", noise(1), bytes(300000))
add("empty", b"")

text = json.dumps(entries, indent=0)
with open("literals.json.gz", "wb") as f:
    f.write(gzip.compress(text.encode(), mtime=0))
