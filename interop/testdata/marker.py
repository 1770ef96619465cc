"""Records what real Orbax does to the disk when it commits by marker.

    python marker.py OUT.zip

runs every save under strace, and writes for each a list of operations, as NAME.json:
["mkdir", name], ["create", name] (empty, or emptied), ["write", name, base64] (at its
end), ["rename", old, new], ["unlink", name], ["rmdir", name]. What a process that is
killed leaves is what the first of them make.
"""

import base64
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import zipfile


def saves(root):
    """Returns the saves, by name. The checkpoint of one is in the folder of its name."""
    os.environ["JAX_PLATFORMS"] = "cpu"
    import jax.numpy as jnp
    import numpy as np
    import orbax.checkpoint as v0
    import orbax.checkpoint.experimental.v1 as ocp
    from orbax.checkpoint._src.path import atomicity

    state = {"w": np.arange(6, dtype=np.float32).reshape(2, 3), "j": jnp.arange(4.0), "step": 7}
    by_marker = atomicity.CommitFileTemporaryPath

    def context():
        c = ocp.Context()
        c.atomicity.mode = "commit_file"
        return c

    def free(path):
        with context():
            ocp.save(path, {**state, "s": "text"}, custom_metadata={"k": 1})

    def parts(path):
        with context():
            ocp.save_checkpointables(path, {"model": state, "aux": {"a": np.ones(2)}})

    def training(path):
        with ocp.training.Checkpointer(path, context=context()) as c:
            c.save(1, state, metrics={"loss": 0.25})

    def manager(path):
        options = v0.CheckpointManagerOptions(temporary_path_class=by_marker, enable_async_checkpointing=False)
        with v0.CheckpointManager(path, options=options, item_names=("state", "js")) as m:
            m.save(1, args=v0.args.Composite(state=v0.args.StandardSave(state), js=v0.args.JsonSave({"a": [1, 2]})))

    def standard(path):
        with v0.AsyncCheckpointer(v0.StandardCheckpointHandler(), temporary_path_class=by_marker) as c:
            c.save(path, args=v0.args.StandardSave(state))

    def files(path):
        handler = v0.PyTreeCheckpointHandler(use_ocdbt=False)
        with v0.Checkpointer(handler, temporary_path_class=by_marker) as c:
            c.save(path, args=v0.args.PyTreeSave(state))

    def overwrite(path):
        with context():
            ocp.save(path, state, overwrite=True)

    return {f.__name__: f for f in (free, parts, training, manager, standard, files)} | {"overwrite": overwrite}


def child(root):
    for name, save in saves(root).items():
        path = f"{root}/{name}"
        if name == "overwrite":
            saves(root)["free"](path)
        mark(name)
        save(path)
        mark("")


def mark(name):
    """Leaves a line in the trace."""
    try:
        os.stat(f"/MARK/{name}")
    except OSError:
        pass


CALLS = "openat,mkdir,rename,unlink,unlinkat,rmdir,write,pwrite64,writev,stat,newfstatat"
STRING = r'"((?:\\x[0-9a-f]{2})*)"'


def parse(lines, root):
    """Yields the operations of a trace."""
    unfinished = {}
    for line in lines:
        thread, rest = re.match(r"(\d+)\s+(.*)", line).groups()
        if rest.endswith("<unfinished ...>"):
            unfinished[thread] = rest.removesuffix("<unfinished ...>")
            continue
        if m := re.match(r"<\.\.\. \w+ resumed>(.*)", rest):
            rest = unfinished.pop(thread, "") + m[1]
        m = re.match(r"(\w+)\((.*)\)\s+= (-?\d+)", rest)
        if not m:
            continue
        call, args, result = m[1], m[2], int(m[3])
        strings = [bytes.fromhex(s.replace("\\x", "")) for s in re.findall(STRING, args)]
        names = [s.decode("latin1") for s in strings]
        if "stat" in call:
            if names and names[0].startswith("/MARK/"):
                yield ["mark", names[0].removeprefix("/MARK/")]
            continue
        of_file = re.match(r"(?:-?\d+|AT_FDCWD)<((?:\\x[0-9a-f]{2})*)>", args)
        at = bytes.fromhex(of_file[1].replace("\\x", "")).decode() if of_file else ""
        local = lambda name: os.path.relpath(os.path.join(at, name), root)
        inside = lambda name: os.path.join(at, name).startswith(root + "/")
        if result < 0:
            continue
        if "write" in call:
            if at.startswith(root + "/"):
                yield ["write", os.path.relpath(at, root), base64.b64encode(b"".join(strings)).decode()]
        elif not names or not inside(names[0]):
            continue
        elif call == "openat":
            if "O_CREAT" in args or "O_TRUNC" in args:
                yield ["create", local(names[0])] + (["keep"] if "O_TRUNC" not in args else [])
        elif call == "rename":
            yield ["rename", local(names[0]), local(names[1])]
        else:
            kind = "rmdir" if call == "rmdir" or "AT_REMOVEDIR" in args else call.removesuffix("at")
            yield [kind, local(names[0])]


def main(out):
    with tempfile.TemporaryDirectory() as tmp:
        root, trace = f"{tmp}/root", f"{tmp}/trace"
        os.mkdir(root)
        command = ["strace", "-f", "-y", "-s", "1000000", "-xx", "-e", "trace=" + CALLS, "-o", trace]
        subprocess.run([*command, sys.executable, __file__, "--child", root], check=True)
        with open(trace, errors="replace") as f:
            found = list(parse(f, root))
    lists, now = {}, None
    for op in found:
        if op[0] == "mark":
            now = lists.setdefault(op[1], []) if op[1] else None
        elif now is not None:
            now.append(op)
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as z:
        for name, ops in lists.items():
            text = "[\n" + ",\n".join(map(json.dumps, ops)) + "\n]\n"
            z.writestr(zipfile.ZipInfo(f"{name}.json"), text, zipfile.ZIP_DEFLATED)


if __name__ == "__main__":
    if sys.argv[1] == "--child":
        child(sys.argv[2])
    else:
        main(sys.argv[1])
