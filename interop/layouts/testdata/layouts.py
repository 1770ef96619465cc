"""Makes the golden files of layouts/, each by the software whose layout it is.

    python layouts.py FOLDER [ROW ...]

writes ROW.zip, a checkpoint in the folder ROW, and ROW.json, what must be found
in it. Rows whose modules are not installed are left out. What requirements.txt
lists makes most of them, and

    pip install zarr==3.1.6 safetensors==0.8.0 ml_dtypes==0.6.0

elsewhere the others.
"""

import os

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("JAX_ENABLE_X64", "1")
os.environ.setdefault("XLA_FLAGS", "--xla_force_host_platform_device_count=8")

import json
import pathlib
import sys
import tempfile
import zipfile

from layouts_lib import ROWS, optional
import layouts_old  # these four register their rows
import layouts_stores
import layouts_v0
import layouts_v1


def pack(folder, archive):
    """Writes all that is in a folder, empty folders too, with a fixed time."""
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as z:
        for path in sorted(folder.rglob("*")):
            name = path.relative_to(folder).as_posix() + "/" * path.is_dir()
            data = b"" if path.is_dir() else path.read_bytes()
            z.writestr(zipfile.ZipInfo(name), data, zipfile.ZIP_DEFLATED)


def main(out, *chosen):
    out = pathlib.Path(out)
    out.mkdir(parents=True, exist_ok=True)
    for name in chosen or ROWS:
        needs, make = ROWS[name]
        if missing := [m for m in needs if optional(m) is None]:
            print(f"{name}: left out, there is no {', '.join(missing)}", file=sys.stderr)
            continue
        with tempfile.TemporaryDirectory() as tmp:
            expected = {"row": name, "needs": needs, **make(pathlib.Path(tmp))}
            pack(pathlib.Path(tmp), out / f"{name}.zip")
        (out / f"{name}.json").write_text(dump(expected))


def dump(expected):
    """JSON with a line for each leaf."""
    head = {k: v for k, v in expected.items() if k != "items"}
    lines = [json.dumps(head, ensure_ascii=False)[:-1] + ',\n "items": [']
    for i, item in enumerate(expected["items"]):
        rest = {k: v for k, v in item.items() if k != "leaves"}
        text = "  " + json.dumps(rest, ensure_ascii=False)
        if "leaves" in item:
            body = ",\n".join("    " + json.dumps(leaf, ensure_ascii=False) for leaf in item["leaves"])
            text = f'{text[:-1]}, "leaves": [\n{body}\n  ]}}'
        lines.append(text + "," * (i + 1 < len(expected["items"])))
    return "\n".join(lines) + "\n]}\n"


if __name__ == "__main__":
    main(*sys.argv[1:])
