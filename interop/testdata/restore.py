"""Saves and restores runs of the old CheckpointManager, in a process of its own.

    python restore.py save ROOT      saves step 1 of ROOT/one and ROOT/several
    python restore.py restore ROOT   restores step 2 of each without arguments

A manager that has restored a step of its own knows the types of the items, and would
hide that another step does not have them.
"""

import os
import sys

os.environ["JAX_PLATFORMS"] = "cpu"

import numpy as np
import orbax.checkpoint as v0


def main(act, root):
    one, several = os.path.join(root, "one"), os.path.join(root, "several")
    if act == "save":
        state = {"w": np.arange(4, dtype=np.float32)}
        with v0.CheckpointManager(one) as manager:
            manager.save(1, args=v0.args.StandardSave(state))
        with v0.CheckpointManager(several) as manager:
            items = {"state": v0.args.StandardSave(state), "params": v0.args.StandardSave(state)}
            manager.save(1, args=v0.args.Composite(config=v0.args.JsonSave({"a": 1}), **items))
        return
    with v0.CheckpointManager(one) as manager:
        print(manager.restore(2)["w"].tolist())
    with v0.CheckpointManager(several) as manager:
        got = manager.restore(2)
        print(got["state"]["w"].tolist(), got["params"]["w"].tolist(), got["config"])


main(*sys.argv[1:])
