"""Loads every checkpoint in a directory: python accepted.py DIRECTORY.

Prints for each the name, what its custom metadata and its checkpointable "doc" are, as
JSON, or what went wrong.
"""

import json
import os
import sys

os.environ['JAX_PLATFORMS'] = 'cpu'

import orbax.checkpoint.experimental.v1 as ocp

for name in sorted(os.listdir(sys.argv[1])):
  path = os.path.join(sys.argv[1], name)
  answer = {'name': name}
  try:
    ocp.load(path)
    answer['custom'] = ocp.checkpointables_metadata(path).custom_metadata
    answer['doc'] = ocp.load_checkpointables(path)['doc']
  except Exception as e:  # what the test reports
    answer['error'] = f'{type(e).__name__}: {e}'[:500]
  print(json.dumps(answer))
