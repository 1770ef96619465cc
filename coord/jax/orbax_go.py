"""Lets a Go process save a checkpointable in each checkpoint of a JAX job.

Copy this file to the program of the job. It needs jax 0.10 and orbax-checkpoint 0.12,
and jax.distributed.initialize() also in a job of one process. The Go process serves the
checkpointable with jax.Serve of github.com/go-orbax/orbax/coord/jax.

  registry = ocp.handlers.local_registry()
  orbax_go.register(registry, 'go_state')
  context = ocp.Context()
  context.checkpointables.registry = registry
  with context:
    ocp.save_checkpointables(path, {'state': state, 'go_state': orbax_go.GoPart()})

All processes of the job make the same calls. The part is written in the background of
the save, at the same time as the other checkpointables, and committed with them. It is
recorded as a pytree of Orbax, so that everybody loads it, without this file and without
a Go process:

  ocp.load(path, checkpointable_name='go_state')
"""

import asyncio
import json
import time

import jax
from jax._src import distributed
import orbax.checkpoint.experimental.v1 as ocp
from orbax.checkpoint.experimental.v1._src.synchronization import multihost
from orbax.checkpoint.experimental.v1._src.synchronization import synchronization

_PROTOCOL = 1


class GoPart:
  """Stands for the part of the Go process among the checkpointables of a save."""


class GoPartError(RuntimeError):
  """The Go process has not written its part; the checkpoint is not committed."""


def register(registry, name, *, timeout=600.0, dead_after=30.0):
  """Makes a Go process write the checkpointable `name` of all saves.

  Args:
    registry: a registry of handlers, of the context of the saves.
    name: the name of the checkpointable.
    timeout: how many seconds a save waits for the part. Then it fails.
    dead_after: after how many seconds without a sign of life of a Go process a save
      fails. A Go process that takes the place of a dead one needs up to 10 seconds.

  Returns:
    The registry.
  """

  class Handler(ocp.handlers.PyTreeHandler):

    def is_handleable(self, checkpointable):
      return isinstance(checkpointable, GoPart)

    async def save(self, directory, checkpointable):
      del checkpointable
      options = self._multiprocessing_options
      # The same in all processes, and different in each save.
      operation = synchronization.get_operation_id()
      ask = _Ask(
          name, operation, timeout, dead_after,
          primary=multihost.is_primary_host(options.primary_host),
          processes=len(options.active_processes or range(jax.process_count())),
      )
      return ask.run(directory)

  Handler.__module__ = ocp.handlers.PyTreeHandler.__module__
  Handler.__qualname__ = ocp.handlers.PyTreeHandler.__qualname__
  return registry.add(Handler, checkpointable_name=name)


class _Ask:
  """Asks for the part of one save; see serve.go for the keys."""

  def __init__(self, name, operation, timeout, dead_after, *, primary, processes):
    self._client = distributed.global_state.client
    if self._client is None:
      raise GoPartError('jax.distributed.initialize() has to be called first')
    self._name = name
    self._id = str(operation)
    self._timeout = timeout
    self._dead_after = dead_after
    self._primary = primary
    self._processes = processes
    self._dir = f'orbax-go/{name}/part/'
    self._answer = f'{self._dir}{self._id}/answer'

  async def run(self, directory):
    directory = await directory.await_creation()
    if self._primary:
      answer = await asyncio.to_thread(self._ask, directory)
    else:
      # The first process sets the answer at the latest when its time is over.
      wait = self._timeout + self._dead_after + 60
      answer = await asyncio.to_thread(
          self._client.blocking_key_value_get, self._answer, int(1000 * wait)
      )
    # The last one removes the answer.
    if self._client.key_value_increment(f'{self._dir}{self._id}/read', 1) >= self._processes:
      self._client.key_value_delete(f'{self._dir}{self._id}')
    if answer != 'ok':
      raise GoPartError(f'checkpointable {self._name!r}: {answer.removeprefix("error: ")}')

  def _ask(self, directory):
    """Asks the Go process and returns its answer, or another one in its place."""
    asked = []
    try:
      try:
        problem = self._wait(directory, asked)
      except Exception as e:  # pylint: disable=broad-exception-caught
        problem = f'error: {e}'
      if problem is not None:
        try:
          self._client.key_value_set(self._answer, problem)
        except jax.errors.JaxRuntimeError as e:
          if 'ALREADY_EXISTS' not in str(e):  # otherwise the Go process was a moment earlier
            raise
      return self._client.key_value_try_get(self._answer)
    finally:
      if asked:
        self._client.key_value_delete(f'{self._dir}request')

  def _wait(self, directory, asked):
    """Waits until there is an answer, and returns None, or why there will be none.

    It appends to `asked` when it has set the request.
    """
    request = json.dumps({
        'version': _PROTOCOL, 'id': self._id, 'dir': str(directory.parent), 'name': directory.name,
    })
    start = alive = time.monotonic()
    beats = None
    while True:
      try:
        if not asked:
          self._client.key_value_set(f'{self._dir}request', request)
          asked.append(True)
        self._client.blocking_key_value_get(self._answer, 500)
        return None
      except jax.errors.JaxRuntimeError as e:
        if 'ALREADY_EXISTS' in str(e):
          time.sleep(0.1)  # another save waits for the Go process
        elif 'DEADLINE_EXCEEDED' not in str(e):
          raise
      now = time.monotonic()
      seen = sorted(self._client.key_value_dir_get(f'orbax-go/{self._name}/members/beats'))
      if seen and seen != beats:
        alive, beats = now, seen
      if now - alive > self._dead_after:
        if beats is None:
          return f'error: no Go process serves it; one has to call jax.Serve with this name ({self._dead_after:g} s waited)'
        return f'error: the Go process that serves it has shown no sign of life for {self._dead_after:g} s; start it again'
      if now - start > self._timeout:
        if not asked:
          return f'error: another save waits for the Go process since {self._timeout:g} s'
        return f'error: the Go process has not written it within {self._timeout:g} s'
