"""Loads a checkpoint into jax.eval_shape targets on a made-up host.

python hosts.py CHECKPOINT DEVICES NAME: a host of so many devices, which JAX calls
NAME:0, NAME:1 …. Prints what each array lies on.
"""

import os
import sys

path, devices, name = sys.argv[1:]
os.environ['JAX_PLATFORMS'] = 'cpu'
os.environ['XLA_FLAGS'] = f'--xla_force_host_platform_device_count={devices}'

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint.experimental.v1 as ocp


class Renamed:

  def __init__(self, device):
    self.device = device

  def __str__(self):
    return f'{name}:{self.device.id}'


if name != 'cpu':
  local_devices = jax.local_devices
  jax.local_devices = lambda *a, **k: [Renamed(d) for d in local_devices(*a, **k)]

target = jax.eval_shape(lambda: {
    'w': jnp.zeros((8, 4)), 'n': 5, 'opt': [jnp.int32(1), jnp.zeros(3)], 'key': jax.random.key(1, impl='rbg')})
state = ocp.load(path, target)
assert state['w'].tolist() == np.arange(32, dtype=np.float32).reshape(8, 4).tolist(), state
assert int(state['n']) == 5 and int(state['opt'][0]) == 7 and state['opt'][1].tolist() == [1, 2, 3], state
for leaf in jax.tree.leaves(state):
  assert [d.id for d in leaf.devices()] == [0], leaf.sharding
plain = ocp.load(path)
assert isinstance(plain['w'], np.ndarray) and plain['n'] == 5, plain
assert str(jax.random.key_impl(plain['key'])) == 'rbg', plain['key']
print('loaded')
