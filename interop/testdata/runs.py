"""Training runs: turns of the real Orbax at a root that others also save to.

A turn is one opening of a checkpointer: what a program does between two
restarts. The actions of one, in "do", are objects with "act", a name below.

  save     {"step", "tree" | "items": {name: tree}, "metrics", "custom_metadata" |
            "custom_json": text, "async", "force", "overwrite", "nan", "json"} -> {"saved": bool}; with
            "nan", the name of a metric, that one is no number; with "json", of v0,
            the tree is the item "params" and that document the item "config"
  load     {"step", "name"} -> {"step", "tree"}      step null is the latest
  digests  {"step", "name"} -> {"step", "digests": {path: text}}   for large trees
  delete   {"step"} -> {}

After them the checkpointer is closed, and a new one lists the root: "steps" has
{"step", "metrics", "custom_metadata", "timed"} for each, "timed" being whether
it began before it ended and both are known, "latest" is a step or null, and
"root" is the custom metadata of the root or null.
"""

import hashlib
import json

import jax
import numpy as np
import orbax.checkpoint as v0
import orbax.checkpoint.experimental.v1 as ocp

import wire


def _digests(tree):
    """For each leaf its dtype, shape and the SHA-256 of its bytes."""
    out = {}
    for path, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]:
        a = np.asarray(leaf)
        name = ".".join(str(getattr(k, "key", getattr(k, "idx", None))) for k in path)
        out[name] = f"{a.dtype.name}{list(a.shape)} {hashlib.sha256(a.tobytes()).hexdigest()}"
    return out


def custom(request):
    """The custom metadata of a request: "custom_metadata", or the document "custom_json",
    which may have NaN and Infinity."""
    if "custom_json" in request:
        return json.loads(request["custom_json"])
    return request.get("custom_metadata")


def spelled(v):
    """A value for an answer in JSON: what is not finite becomes a string."""
    if isinstance(v, dict):
        return {k: spelled(e) for k, e in v.items()}
    if isinstance(v, list):
        return [spelled(e) for e in v]
    return str(v) if isinstance(v, float) and not np.isfinite(v) else v


class _V1:
    """ocp.training.Checkpointer.

    Options: "prefix" and "length" of names, "custom_metadata" of the root,
    "latest_n", "every_n" (kept), "clean" (temporary directories), "atomicity".
    """

    def __init__(self, root, options):
        preservation = ocp.training.preservation_policies
        kept = []
        if "latest_n" in options:
            kept.append(preservation.LatestN(options["latest_n"]))
        if "every_n" in options:
            kept.append(preservation.EveryNSteps(options["every_n"]))
        kwargs = {}
        if kept:
            kwargs["preservation_policy"] = preservation.AnyPreservationPolicy(kept)
        if "prefix" in options or "length" in options:
            kwargs["step_name_format"] = ocp.path.step.standard_name_format(
                step_prefix=options.get("prefix"), step_format_fixed_length=options.get("length")
            )
        if "atomicity" in options:
            kwargs["context"] = ocp.Context()
            kwargs["context"].atomicity.mode = options["atomicity"]
        self.checkpointer = ocp.training.Checkpointer(
            root,
            custom_metadata=custom(options),
            cleanup_tmp_directories=options.get("clean", False),
            **kwargs,
        )

    def save(self, action):
        kwargs = {k: action[k] for k in ("metrics", "force", "overwrite") if k in action}
        kwargs["custom_metadata"] = custom(action)
        if "nan" in action:
            kwargs["metrics"] = {**kwargs["metrics"], action["nan"]: float("nan")}
        if "items" in action:
            items = {k: wire.decode(v) for k, v in action["items"].items()}
            response = self.checkpointer.save_checkpointables_async(action["step"], items, **kwargs)
        else:
            response = self.checkpointer.save_async(action["step"], wire.decode(action["tree"]), **kwargs)
        if response is None:
            return {"saved": False}
        return {"saved": True if action.get("async") else response.result()}

    def wait(self):
        self.checkpointer.wait()

    def load(self, step, name):
        kwargs = {"checkpointable_name": name} if name else {}
        return self.checkpointer.load(step, **kwargs)

    def delete(self, action):
        self.checkpointer.delete(action["step"])
        return {}

    def latest(self):
        return self.checkpointer.latest.step if self.checkpointer.latest else None

    def listing(self):
        steps = []
        for listed in self.checkpointer.checkpoints:
            m = self.checkpointer.checkpointables_metadata(listed.step)
            began, ended = m.init_timestamp_nsecs, m.commit_timestamp_nsecs
            steps.append({
                "step": listed.step,
                "metrics": spelled(listed.metrics),
                "custom_metadata": spelled(m.custom_metadata),
                "timed": bool(began and ended and began <= ended),
            })
        return {"steps": steps, "root": spelled(self.checkpointer.root_metadata().custom_metadata)}

    def close(self):
        self.checkpointer.close()


class _V0:
    """CheckpointManager with one item, a StandardSave. Metrics have "loss".

    Options: those of _V1 but "latest_n" and "every_n".
    """

    def __init__(self, root, options):
        self.manager = v0.CheckpointManager(
            root,
            options=v0.CheckpointManagerOptions(
                step_prefix=options.get("prefix"),
                step_format_fixed_length=options.get("length"),
                cleanup_tmp_directories=options.get("clean", False),
                best_fn=lambda metrics: metrics["loss"],
            ),
            metadata=custom(options),
        )

    def save(self, action):
        if "json" in action:
            args = v0.args.Composite(
                params=v0.args.StandardSave(wire.decode(action["tree"])), config=v0.args.JsonSave(action["json"])
            )
        else:
            args = v0.args.StandardSave(wire.decode(action["tree"]))
        saved = self.manager.save(
            action["step"],
            args=args,
            metrics=action["metrics"],
            custom_metadata=custom(action),
            force=action.get("force", False),
        )
        if not action.get("async"):
            self.manager.wait_until_finished()
        return {"saved": bool(saved)}

    def wait(self):
        self.manager.wait_until_finished()

    def load(self, step, name):
        if name == "config":
            return self.manager.restore(step, args=v0.args.Composite(config=v0.args.JsonRestore()))["config"]
        assert name in (None, "default"), name
        return self.manager.restore(step, args=v0.args.StandardRestore())

    def delete(self, action):
        self.manager.delete(action["step"])
        return {}

    def latest(self):
        return self.manager.latest_step()

    def listing(self):
        steps = []
        for step in self.manager.all_steps():
            m = self.manager.metadata(step)
            steps.append({
                "step": step,
                "metrics": spelled(self.manager.metrics(step)),
                "custom_metadata": spelled(m.custom_metadata),
                "timed": bool(m.init_timestamp_nsecs and m.commit_timestamp_nsecs),
            })
        return {"steps": steps, "root": spelled(self.manager.metadata(None).custom_metadata)}

    def close(self):
        self.manager.close()


def turn(request):
    """{"root", "api": "v1" | "v0", "options": {}, "do": [action, ...]} ->
    {"results": [...], "steps", "latest", "root"}"""
    cls = {"v1": _V1, "v0": _V0}[request.get("api", "v1")]
    options = request.get("options") or {}
    run, results = cls(request["root"], options), []
    try:
        for action in request.get("do") or []:
            act = action["act"]
            if act != "save":
                run.wait()  # a step is listed, and cannot be loaded, while it is saved
            if act in ("load", "digests"):
                step = run.latest() if action.get("step") is None else action["step"]
                tree = run.load(action.get("step"), action.get("name"))
                results.append({
                    "step": step,
                    **({"tree": wire.encode(tree)} if act == "load" else {"digests": _digests(tree)}),
                })
            else:
                results.append({"save": run.save, "delete": run.delete}[act](action))
    finally:
        run.close()
    # Nothing that the first one remembers may help.
    run = cls(request["root"], {k: v for k, v in options.items() if k in ("prefix", "length", "atomicity")})
    try:
        return {"results": results, "latest": run.latest(), **run.listing()}
    finally:
        run.close()


OPS = {"run_turn": turn}
