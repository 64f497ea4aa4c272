"""Reads damaged files with every reader: `python -m tests.fuzz --minutes=N [--seed=N] [READER]`.

Inputs that show a fault are saved, and read again with `python -m tests.fuzz FILE`.
"""

import argparse
import logging
import sys
import tempfile
import time
from pathlib import Path

from tests.fuzz.engine import campaign, fault_of, path_of
from tests.fuzz.readers import READERS


def main() -> int:
    """Runs the command; returns its exit status, 1 if a fault was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("what", nargs="*", help=f"an input that was saved, or {', '.join(READERS)}")
    parser.add_argument("--minutes", type=float, default=1, help="for each reader")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--out", type=Path, help="folder of the inputs that show a fault")
    options = parser.parse_args()
    saved = [Path(what) for what in options.what if what not in READERS]
    for file in saved:
        reader = READERS[file.name.split("-")[0]]
        files = reader.files() | {path_of(file): file.read_bytes()}
        print(f"{file}: {fault_of(reader, files, path_of(file)) or 'no fault'}")
    if saved:
        return 0
    logging.disable(logging.WARNING)
    out = options.out or Path(tempfile.mkdtemp(prefix="fuzz-"))
    out.mkdir(parents=True, exist_ok=True)
    found = 0
    for name in options.what or READERS:
        tried, faults = campaign(READERS[name], options.seed, options.minutes * 60, out)
        print(f"{name}: {tried} inputs of seed {options.seed}, {faults} faults", flush=True)
        found += faults
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
