# A coordination service as jax.distributed.initialize starts it, of a job of one process.
# It ends when its standard input does.
import socket
import sys

import jax

with socket.socket() as s:
  s.bind(('127.0.0.1', 0))
  port = s.getsockname()[1]
jax.distributed.initialize(f'127.0.0.1:{port}', 1, 0)
print(f'127.0.0.1:{port}', flush=True)
sys.stdin.read()
jax.distributed.shutdown()
