"""The files of a checkpoint, read on the host, and their checksums.

The checksums find damage that the arrays' format does not. They are in a file of the checkpoint's
folder as `sha256sum` writes them, so that `sha256sum --check checksums.sha256` compares them too.
"""

import contextlib
import hashlib
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from data.files import replacing
from data.text import parse_json

# Arrays, and JSON values about the checkpoint and about its evaluation.
ARRAYS = ("state", "stream")
ABOUT = "about/metadata"
METRICS = "metrics/metrics"
CHECKSUMS = "checksums.sha256"
# What Orbax writes when all else is in place; reading needs none of it.
_LATER = ("commit_success.txt", "_CHECKPOINT_METADATA")
# Characters of a missing file's name that are shown.
_NAME_SHOWN = 200
_LINE = re.compile(r"([0-9a-f]{64})  (.+)")


def read_json(path: Path) -> dict[str, Any]:
    """Returns the object in a JSON file; raises ValueError if there is none."""
    content = parse_json(path.read_bytes())
    if not isinstance(content, dict):
        raise ValueError(f"{path.name} is no object")
    return content


def read_arrays(path: Path, *branches: str) -> dict[str, Any]:
    """Returns the arrays of a saved tree, or of some of its branches."""
    checkpointer = ocp.PyTreeCheckpointer()
    tree = checkpointer.metadata(path).item_metadata.tree
    chosen = {name: tree[name] for name in branches} if branches else tree
    abstract = jax.tree.map(lambda m: jax.ShapeDtypeStruct(m.shape, m.dtype), chosen)
    restore_args = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), abstract)
    args = ocp.args.PyTreeRestore(abstract, restore_args=restore_args, partial_restore=True)
    return checkpointer.restore(path, args=args)


def has_checksums(folder: Path) -> bool:
    """Returns whether a checkpoint has checksums, which earlier versions did not write."""
    return (folder / CHECKSUMS).exists()


def write_checksums(folder: Path) -> None:
    """Writes the checksums of all files of a folder."""
    names = sorted(
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if path.is_file() and path.name not in (CHECKSUMS, *_LATER)
    )
    lines = [f"{_digest(folder / name)}  {name}\n" for name in names]
    with replacing(folder / CHECKSUMS) as temporary:
        temporary.write_text("".join(lines))


def find_damage(folder: Path) -> str:
    """Compares a folder with its checksums.

    Returns:
      What is wrong, as the end of a sentence; '' if nothing is, or if there are no checksums.
    """
    if not has_checksums(folder):
        return ""
    lines = (folder / CHECKSUMS).read_text(errors="replace").splitlines()
    matches = [_LINE.fullmatch(line) for line in lines]
    digests = {match[2]: match[1] for match in matches if match}
    if not digests or len(digests) < len(matches):
        return f"{CHECKSUMS} cannot be read"
    for name in digests:
        # A damaged name may be longer than the system takes, which `Path.is_file` raises.
        if not os.path.isfile(folder / name):
            return f"{name[:_NAME_SHOWN]} is missing"
    for name, digest in digests.items():
        try:
            same = _digest(folder / name) == digest
        except OSError as error:
            return f"{name} cannot be read ({error.strerror})"
        if not same:
            return f"{name} is not as it was saved"
    return ""


def is_whole(folder: Path) -> bool:
    """Returns whether a checkpoint can be read as it was saved."""
    if has_checksums(folder):
        return not find_damage(folder)
    try:
        read_json(folder / ABOUT)
        for name in ARRAYS:
            read_arrays(folder / name)
    except Exception:
        # The readers of a damaged file raise errors of any type.
        return False
    return True


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextlib.contextmanager
def without_late_errors() -> Iterator[None]:
    """Keeps reads that end after another one failed from printing a traceback each.

    They call an event loop that Orbax has closed by then. As they may end at any time, they stay
    unheard for the rest of the process if reading fails.
    """
    previous = sys.unraisablehook

    def hook(unraisable: Any) -> None:
        if str(unraisable.exc_value) != "Event loop is closed":
            previous(unraisable)

    sys.unraisablehook = hook
    yield
    sys.unraisablehook = previous
