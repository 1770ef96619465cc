# Loads each checkpoint of a directory with Orbax alone, and prints its step and what it
# has. The job had two processes with two devices each.
import glob
import os
import sys

os.environ['XLA_FLAGS'] = '--xla_force_host_platform_device_count=4'

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec as P
import orbax.checkpoint.experimental.v1 as ocp

root = sys.argv[1]
sharding = NamedSharding(Mesh(np.array(jax.devices()).reshape(2, 2), ('x', 'y')), P('x', 'y'))
paths = glob.glob(f'{root}/step_*') + glob.glob(f'{root}/run/*')
for path in paths:
  if '.orbax-checkpoint-tmp' in path:
    continue
  step = int(os.path.basename(path).removeprefix('step_'))
  part = ocp.load(path, checkpointable_name='go_state')
  target = {'w': jax.ShapeDtypeStruct((64, 64), np.float32, sharding=sharding), 'step': 0}
  state = ocp.load(path, target, checkpointable_name='state')
  np.testing.assert_array_equal(state['w'], np.arange(4096, dtype=np.float32).reshape(64, 64) + step)
  np.testing.assert_array_equal(part['shuffle'], np.array([7, 1, 4, step], dtype=np.uint32))
  assert state['step'] == step and part['cursor'] == 1000 * step, (state['step'], part)
  assert set(ocp.checkpointables_metadata(path).metadata) == {'state', 'go_state'}
  print('loaded', step, flush=True)
