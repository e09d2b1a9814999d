"""What a visit finds, as JSON lines. Each line is on the disk before the next measurement begins, so that a call which is
stopped loses nothing."""

import json
import os


class Journal:
    """Begins anew: what an earlier try of the same call found is replaced."""

    def __init__(self, file):
        self.file = file
        file.parent.mkdir(parents=True, exist_ok=True)
        file.unlink(missing_ok=True)

    def write(self, kind, **fields):
        with open(self.file, "a") as out:
            out.write(json.dumps({"kind": kind, **fields}, default=str) + "\n")
            out.flush()
            os.fsync(out.fileno())


def read(folder):
    """The records of all calls, in the order of the calls. A last line that was cut off is left out."""
    records = []
    for file in sorted(folder.glob("call-*.jsonl")):
        for line in file.read_text().splitlines():
            try:
                records.append(json.loads(line))
            except ValueError:
                continue
    return records
