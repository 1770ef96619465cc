"""Writes deletion.json: records of deletions, as the real Orbax makes and judges
them. Run it with the Python of an environment that has orbax-checkpoint 0.12.8.
"""

import asyncio
import json
import pathlib
import tempfile

from orbax.checkpoint.experimental.v1._src.deletion import metadata as deletion

ID = "0123456789abcdef0123456789abcdef"

# Documents with a handler of "opt".
DOCUMENTS = [
    '{"item_handlers": {"opt": "a.B", "state": "c.D"}, "metrics": {}, "performance_metrics": {}, '
    '"init_timestamp_nsecs": 1763923200123456789, "commit_timestamp_nsecs": 1763923200123456790, "custom_metadata": {}}',
    '{"item_handlers":{"opt":null}}',
    '{"item_handlers": {"opt": "x", "Z": "y", "a": "z", "\\u00e9": "w"}, "custom_metadata": '
    '{"b": [1, -0, 1.0, -0.0, 0.1, 1e2, 1E16, 123456789012345678, 1e15, 1e22, 1.5e-5, 0.0001, 5e-324, 1.7976931348623157e308, 1e999, -1e999, '
    '123456789012345678901234567890], "a": [NaN, Infinity, -Infinity, true, false, null, {}, [], ""], '
    '"\\u0000\\u007f\\b\\f\\n\\r\\t/\\\\\\"": "\\u00e4\\u20ac\\ud83d\\ude00 ~<>&\\u2028", "\\uffff": 1, "\\ud83d\\ude00": 2, "a\\\\ud800": 3}, "x": {"z": 1, "y": {"b": 1, "a": 2}}}',
]


def record(doc, **changes):
    original = json.loads(doc)
    made = deletion.DeletionRecord(
        operation_id=ID,
        checkpointable_name="opt",
        destination=None,
        original_metadata=original,
        updated_metadata=deletion.updated_metadata(original, "opt"),
    ).to_json()
    made.update(changes)
    return made


def dumps(value):
    return json.dumps(value, sort_keys=True)


def accepted(text, metadata):
    with tempfile.TemporaryDirectory() as d:
        path = pathlib.Path(d)
        (path / deletion.RECORD_FILENAME).write_text(text, encoding="utf-8")
        (path / "_CHECKPOINT_METADATA").write_text(metadata, encoding="utf-8")
        try:
            asyncio.run(deletion.read_record(path))
        except deletion.DeletionRecoveryError:
            return False
        return True


def main():
    doc = DOCUMENTS[0]
    good = record(doc)
    other = {**good["original_metadata"], "custom_metadata": {"a": 1}}
    without = {k: v for k, v in good.items() if k != "updated_metadata"}
    records = {
        "good": (dumps(good), doc),
        "already replaced": (dumps(good), dumps(good["updated_metadata"])),
        "moved": (dumps(record(doc, destination="gs://bucket/trash/opt-" + ID)), doc),
        "without destination": (dumps({k: v for k, v in good.items() if k != "destination"}), doc),
        "more members": (dumps({**good, "x": 1}), doc),
        "not JSON": (dumps(good)[:-1], doc),
        "no object": ("[]", doc),
        "empty": ("", doc),
        "without name": (dumps(record(doc, checkpointable_name=None)), doc),
        "a name that is none": (dumps(record(doc, checkpointable_name="..")), doc),
        "another name": (dumps(record(doc, checkpointable_name="state")), doc),
        "a name that has no handler": (dumps(record(doc, checkpointable_name="x")), doc),
        "without id": (dumps(record(doc, operation_id=None)), doc),
        "an id that is too short": (dumps(record(doc, operation_id=ID[:-1])), doc),
        "an id in capitals": (dumps(record(doc, operation_id=ID.upper())), doc),
        "a destination that is a number": (dumps(record(doc, destination=1)), doc),
        "without updated metadata": (dumps(without), doc),
        "other updated metadata": (dumps(record(doc, updated_metadata=other)), doc),
        "updated metadata that are none": (dumps(record(doc, updated_metadata=1)), doc),
        "original metadata that are none": (dumps(record(doc, original_metadata=[])), doc),
        "metadata of another save": (dumps(good), dumps(other)),
        "empty metadata": (dumps(good), ""),
    }
    out = {
        "made": [
            {
                "metadata": d,
                "record": dumps(record(d)),
                "updated": dumps(record(d)["updated_metadata"]),
            }
            for d in DOCUMENTS
        ],
        "judged": {k: {"record": r, "metadata": m, "ok": accepted(r, m)} for k, (r, m) in records.items()},
    }
    text = json.dumps(out, indent=1, sort_keys=True)
    (pathlib.Path(__file__).parent / "deletion.json").write_text(text + "\n", encoding="ascii")


main()
