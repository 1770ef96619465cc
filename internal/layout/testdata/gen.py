"""Makes the golden files of package layout with the real Orbax.

    python gen.py

repr.json pairs strings with CPython's repr of a tuple of them. documents/ has
the documents of checkpoints that orbax-checkpoint wrote, and documents.json
what the tree in each is, by the names that Orbax itself reads back.
"""

import json
import pathlib
import random
import shutil
import tempfile

import jax
import numpy as np
import orbax.checkpoint.experimental.v1 as ocp

here = pathlib.Path(__file__).parent


def reprs():
  rng = random.Random(1)
  names = [
      '', 'a', 'params.w', "it's", 'say "hi"', '''both ' and "''', '\\', 'a\\b', '\\n',
      'tab\there', 'line\nfeed', 'return\r', '\0', '\x01\x1f\x7f', '\x80\x9f\xa0\xad',
      'é', 'ÿ', 'Ā', '日本語', '\u200b', '\u2028\u2029', '\ufeff', '\ufffd', '\uffff', '\ue000',
      '😀', '\U000e0001', '\U0010ffff', '\U000f0000', 'e\u0301', '\u00a0', '\u3000', '\u1680',
      "'", '"', "''", '""', '\'"', '\\\'', '\x0b\x0c\x1b', ' ', '  a ', '~', 'a/b', '日\n本',
  ]
  pools = ['\'"\\ab', '\n\r\t\0\x1b\x7f\x85', 'aé日😀', '\u200d\u2029\ufeff\U000e0020\U00100000']
  for _ in range(400):
    pool = ''.join(rng.sample(pools, rng.randint(1, 4)))
    names.append(''.join(rng.choice(pool) for _ in range(rng.randint(0, 12))))
  table = [[[n], repr((n,))] for n in names]
  for _ in range(60):
    keys = [rng.choice(names) for _ in range(rng.choice([0, 2, 3, 5]))]
    table.append([keys, repr(tuple(keys))])
  # Runs of code points that cover every category.
  block = 64
  for start in [*range(0, 0x600, block), *range(0x2000, 0x2100, block), 0x3000, 0xD7C0, 0xE000,
                0xFE00, 0xFFC0, 0x10300, 0x1D540, 0x1F600, 0xE0000, 0x10FFC0]:
    s = ''.join(map(chr, range(start, start + block)))
    table.append([[s], repr((s,))])
  text = ',\n'.join(json.dumps(row, ensure_ascii=False) for row in table)
  (here / 'repr.json').write_text(f'[\n{text}\n]\n')


def documents():
  out = here / 'documents'
  shutil.rmtree(out, ignore_errors=True)
  trees = {
      'kinds': {
          'dict': {'a': np.arange(3, dtype=np.int32), "it's": 1.5, 'a.b\n': 2},
          'list': [np.zeros((2, 2)), 3.5, 'text'],
          'tuple': (7, None),
          'empty': {'d': {}, 'l': [], 't': (), 'n': None},
          'jax': jax.numpy.ones((4, 2), jax.numpy.bfloat16),
          'key': jax.random.key(7),
          'slash/name': 'nested',
      },
      'bare': np.arange(4, dtype=np.uint8),
      'strings': {'a': 'x', 'b': ['', 'y\n"', 'é日😀'], 'deep': {'c': {'d': 'z'}}},
  }
  custom = {
      'kinds': {'epoch': 3, 'nan': float('nan'), 'inf': float('-inf'), 'big': 2**70, 'é': 'NaN', 'list': [1, 2.5, None, True]},
      'bare': None,
      'strings': {},
  }
  variants = {
      'zarr3': {},
      'zarr2': dict(use_zarr3=False),
      'files': dict(use_ocdbt=False),
  }
  table = {}
  for name, tree in trees.items():
    for variant, options in variants.items():
      if variant != 'zarr3' and name != 'kinds':
        continue
      full = f'{name}_{variant}'
      with tempfile.TemporaryDirectory() as tmp:
        path = pathlib.Path(tmp) / 'ckpt'
        saving = ocp.options.ArrayOptions.Saving(**options)
        with ocp.Context(array_options=ocp.options.ArrayOptions(saving=saving)):
          ocp.save(path, tree, custom_metadata=custom[name])
        for file in sorted(path.rglob('*')):
          rel = file.relative_to(path)
          if file.is_file() and rel.name in (
              '_CHECKPOINT_METADATA', '_METADATA', '_strings.json', 'process_0'):
            target = out / full / rel.name.lstrip('_').replace('.json', '')
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, target)
      leaves, _ = jax.tree_util.tree_flatten_with_path(
          tree, is_leaf=lambda x: x is None or isinstance(x, (dict, list, tuple)) and not x)
      def step(k):
        return [str(k.idx), True] if isinstance(k, jax.tree_util.SequenceKey) else [k.key, False]
      table[full] = [[step(k) for k in path] for path, _ in leaves]
  (here / 'documents.json').write_text(json.dumps(table, indent=1) + '\n')


reprs()
documents()
