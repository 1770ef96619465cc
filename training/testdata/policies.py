"""Records what Orbax's own policies and name formats decide.

Made with orbax-checkpoint 0.12.8. Run in this directory; writes policies.json:

  sequences     checkpoints of a run: steps, times in microseconds from an
                arbitrary start, and a metric, or null where there is none
  preservation  a policy, and for each sequence which checkpoints it keeps, when
                the present is the sequence's "now"
  runs          steps that a run could save: as above, and for each whether a
                save is in progress and whether the program is preempted
  saves         a policy, and for each run which steps it saves; what it saves is
                in the history of the steps after it
  entries       the names of some directories
  names         a name format, the name of some steps, and which of the entries
                it takes for which step

Policies are written as {name: parameters}, a composite one as {name: [...]}.
"""

import datetime
import json
import pathlib
import random
import tempfile
import types

from orbax.checkpoint import options
from orbax.checkpoint._src.checkpoint_managers import preservation_policy as pp
from orbax.checkpoint._src.checkpoint_managers import save_decision_policy as sd
from orbax.checkpoint._src.path import step as step_lib

START = datetime.datetime(2025, 1, 1, tzinfo=datetime.timezone.utc)
SECOND = 1_000_000
BITS = lambda flags: ''.join('1' if f else '0' for f in flags)

present = START


class Clock(datetime.datetime):

  @classmethod
  def now(cls, tz=None):
    return present


pp.datetime = types.SimpleNamespace(
    datetime=Clock, timedelta=datetime.timedelta, timezone=datetime.timezone
)


def at(us):
  return START + datetime.timedelta(microseconds=us)


def info(step, us, metric=None):
  return types.SimpleNamespace(
      step=step, time=at(us), metrics=None if metric is None else {'m': metric}
  )


def build(spec):
  """Returns the policy of Orbax that spec describes."""
  (name, args), = spec.items()
  cls = getattr(pp, name, None) or getattr(sd, name)
  if isinstance(args, list):
    return cls([build(a) for a in args])
  args = dict(args)
  if name == 'BestN':
    args['get_metric_fn'] = lambda metrics: metrics['m']
  if name == 'LatestDuration':
    args = {'duration': datetime.timedelta(seconds=args['duration'])}
  return cls(**args)


def sequence(rng, n, gaps, seconds, metrics, now):
  steps, times = [], []
  step, us = rng.choice([0, 0, gaps[0]]), 0
  for _ in range(n):
    steps.append(step)
    times.append(us)
    step += rng.choice(gaps)
    us += round(rng.choice(seconds) * SECOND)
  m = [rng.choice(metrics) for _ in range(n)]
  return dict(steps=steps, times=times, metrics=m, now=us + now * SECOND)


def sequences():
  rng = random.Random(1)
  result = [sequence(rng, 0, [1], [1], [None], 0)]
  values = [0, 1, 0.5, -2, 1e300, -0.0, 0.25]
  for n in (1, 2, 3, 5, 12, 40):
    result.append(sequence(rng, n, [1], [1], [None], 0))
    result.append(sequence(rng, n, [10], [10], values, 5))
    result.append(sequence(rng, n, [5], [0, 0.999999, 1], values + [None] * 3, 1))
    result.append(sequence(rng, n, [1, 2, 3, 7], [0.1, 1, 59, 60], [1], 100))
    result.append(sequence(rng, n, [3, 50, 51, 100], [600, 3599.999999, 3600], [None, 2], 0))
    # A clock that was set back now and then.
    result.append(sequence(rng, n, [2, 4], [5, -3, 30], values, -2))
    result.append(sequence(rng, n, [1], [7, -6], [None], 3))
  result.append(sequence(rng, 20, [2**40, 2**39, 2**39 + 1], [1], values, 0))
  return result


def preservation_specs():
  yield {'PreserveAll': {}}
  for n in (None, 1, 2, 5, 1000):
    yield {'LatestN': {'n': n}}
  for s in (1, 10, 60, 3600):
    yield {'EveryNSeconds': {'interval_secs': s}}
  for n in (1, 3, 10, 100, 2**40):
    for keep in (None, 1, 3):
      for exact in (True, False):
        yield {'EveryNSteps': {
            'interval_steps': n, 'exact_interval': exact, 'max_to_keep': keep}}
  for n in (1, 2, 3, 4, 10, 20, 100, 2**40):
    for keep in (None, 1, 2, 5):
      yield {'EveryNStepsClosest': {'interval_steps': n, 'max_to_keep': keep}}
  for steps in ([], [0], [10, 5, 10, 30, 31]):
    yield {'CustomSteps': {'steps': steps}}
  for n in (None, 1, 3, 10):
    for reverse in (False, True):
      for keep in (True, False):
        yield {'BestN': {
            'n': n, 'reverse': reverse, 'keep_checkpoints_without_metrics': keep}}
  for s in (0.000001, 1, 5, 15, 100, 3600, 86400):
    yield {'LatestDuration': {'duration': s}}
  best = {'BestN': {
      'n': 2, 'reverse': True, 'keep_checkpoints_without_metrics': False}}
  every = {'EveryNSteps': {
      'interval_steps': 10, 'exact_interval': True, 'max_to_keep': 4}}
  yield {'AnyPreservationPolicy': [{'LatestN': {'n': 3}}]}
  yield {'AnyPreservationPolicy': [{'LatestN': {'n': 1}}, best, every]}
  yield {'AnyPreservationPolicy': [
      {'AnyPreservationPolicy': [{'LatestDuration': {'duration': 15}}, best]},
      {'CustomSteps': {'steps': [0, 20]}},
      {'EveryNSeconds': {'interval_secs': 60}},
  ]}
  yield {'AnyPreservationPolicy': [{'PreserveAll': {}}, every]}


def keeps(spec, seq):
  global present
  present = at(seq['now'])
  infos = [info(*x) for x in zip(seq['steps'], seq['times'], seq['metrics'])]
  return BITS(build(spec).should_preserve(infos, context=pp.PreservationContext()))


def runs():
  rng = random.Random(2)
  for gaps, seconds, busy, preempted in (
      ([1], [1], 0, 0),
      ([1], [1, 2.5, 0.25], 0.5, 0.1),
      ([1, 2, 5], [3], 0.2, 0.3),
      ([10], [59.999999, 60, 0.000001], 0.1, 0.05),
      ([25, 50, 75], [20, -15], 0.3, 0.1),
      ([7, 11], [0], 0.9, 0.2),
  ):
    seq = sequence(rng, 40, gaps, seconds, [None], 0)
    yield dict(
        steps=seq['steps'], times=seq['times'],
        saving=BITS(rng.random() < busy for _ in seq['steps']),
        preempted=BITS(rng.random() < preempted for _ in seq['steps']))


def save_specs():
  for n in (1, 2, 3, 7, 50):
    yield {'FixedIntervalPolicy': {'interval': n}}
  for steps in ([], [0], [30, 2, 5, 70]):
    yield {'SpecificStepsPolicy': {'steps': steps}}
  for s in (None, 1, 5, 60):
    yield {'ContinuousCheckpointingPolicy': {'minimum_interval_secs': s}}
  preemption, initial = {'PreemptionCheckpointingPolicy': {}}, {'InitialSavePolicy': {}}
  yield preemption
  yield initial
  continuous = {'ContinuousCheckpointingPolicy': {'minimum_interval_secs': None}}
  minute = {'ContinuousCheckpointingPolicy': {'minimum_interval_secs': 60}}
  yield {'AnySavePolicy': []}
  yield {'AnySavePolicy': [initial, continuous, preemption]}
  yield {'AnySavePolicy': [{'FixedIntervalPolicy': {'interval': 5}}, preemption]}
  yield {'AnySavePolicy': [
      {'AnySavePolicy': [initial, {'SpecificStepsPolicy': {'steps': [3, 50]}}]},
      {'AnySavePolicy': [minute]},
  ]}


def saves(spec, run):
  policy, previous, decisions = build(spec), [], []
  for step, us, saving, preempted in zip(
      run['steps'], run['times'], run['saving'], run['preempted']):
    candidate = info(step, us)
    context = sd.DecisionContext(
        is_saving_in_progress=saving == '1', reached_preemption=preempted == '1',
        multiprocessing_options=options.MultiprocessingOptions())
    decisions.append(policy.should_save(candidate, previous, context=context))
    if decisions[-1]:
      previous.append(candidate)
  return BITS(decisions)


ENTRIES = [
    '0', '00', '7', '07', '007', '0007', '-7', '+7', '7 ', '1_000', '12', '012',
    '123456789012345678', '9223372036854775807', 'metadata', 'x',
    'ck_7', 'ck_007', 'ck_012', 'ck_', 'ck7', '_7', 'ck_ck_7', 'a_ck_7', 'ck_1234',
    '7.orbax-checkpoint-tmp', 'ck_007.orbax-checkpoint-tmp-12', '7x', '0x7']


def names():
  with tempfile.TemporaryDirectory() as root:
    for e in ENTRIES:
      (pathlib.Path(root) / e).mkdir()
    standard = step_lib.standard_name_format
    for prefix in (None, 'ck'):
      for length in (None, 1, 2, 3, 4, 18):
        f = standard(step_prefix=prefix, step_format_fixed_length=length)
        yield dict(
            prefix=prefix, length=length,
            names={s: f.build_name(s) for s in (0, 7, 10, 999, 1000, 10**17, 2**63 - 1)},
            found={m.path.name: m.step for m in sorted(
                f.find_all(root), key=lambda m: m.path.name)})


def main():
  record = dict(sequences=sequences(), runs=list(runs()))
  record['preservation'] = [
      dict(policy=s, keeps=[keeps(s, q) for q in record['sequences']])
      for s in preservation_specs()]
  record['saves'] = [
      dict(policy=s, saves=[saves(s, r) for r in record['runs']])
      for s in save_specs()]
  record['entries'] = ENTRIES
  record['names'] = list(names())
  # One line for each entry of each list.
  lines = ',\n'.join(
      f'{json.dumps(key)}: [\n' + ',\n'.join(
          json.dumps(e, separators=(',', ':')) for e in entries) + ']'
      for key, entries in record.items())
  pathlib.Path('policies.json').write_text('{' + lines + '}\n')


if __name__ == '__main__':
  main()
