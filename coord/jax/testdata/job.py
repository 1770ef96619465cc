# Process i of n of a JAX job that saves a checkpoint with a part of a Go process for each
# line of its standard input:
#
#   job.py i n address root
import json
import os
import sys

i, n, address, root = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4]
os.environ['XLA_FLAGS'] = '--xla_force_host_platform_device_count=2'

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec as P
import orbax.checkpoint.experimental.v1 as ocp

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
import orbax_go

jax.config.update('jax_cpu_collectives_implementation', 'gloo')
jax.distributed.initialize(address, n, i, heartbeat_timeout_seconds=10)
sharding = NamedSharding(Mesh(np.array(jax.devices()).reshape(n, 2), ('x', 'y')), P('x', 'y'))
print('job: up', flush=True)
for line in sys.stdin:
  c = json.loads(line)
  step = c['step']

  def items(step):
    value = np.arange(4096, dtype=np.float32).reshape(64, 64) + step
    w = jax.make_array_from_callback(value.shape, sharding, lambda index: value[index])
    return {'state': {'w': w, 'step': step}, 'go_state': orbax_go.GoPart()}

  registry = orbax_go.register(ocp.handlers.local_registry(), 'go_state', timeout=c.get('timeout', 60), dead_after=c.get('dead_after', 30))
  context = ocp.Context()
  context.checkpointables.registry = registry
  if c.get('commit_file'):
    context.atomicity.mode = ocp.options.AtomicityMode.COMMIT_FILE
  try:
    with context:
      if c.get('run'):
        with ocp.training.Checkpointer(f'{root}/run') as run:
          run.save_checkpointables(step, items(step))
      elif c.get('overlap'):
        saves = [ocp.save_checkpointables_async(f'{root}/step_{s}', items(s)) for s in (step, step + 1)]
        for save in saves:
          save.result()
      elif step % 2:
        ocp.save_checkpointables(f'{root}/step_{step}', items(step))
      else:
        ocp.save_checkpointables_async(f'{root}/step_{step}', items(step)).result()
    print('job: saved', step, flush=True)
  except Exception as e:
    print('job: failed', step, type(e).__name__, str(e).replace('\n', ' '), flush=True)
jax.distributed.shutdown()
