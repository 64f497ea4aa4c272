"""Files of features with what lies beside them, as extraction writes both."""

import hashlib
import json
from pathlib import Path

import numpy as np

WEIGHTS = hashlib.sha256(b"weights").hexdigest()


def describe(file: Path, **changes) -> Path:
    """Writes the description of a file of features; a change to None leaves its field out."""
    with np.load(file) as stored:
        rows, width = stored["features"].shape
    content = {
        "network": "resnet",
        "weights": WEIGHTS,
        "seconds_per_feature": "3/2",
        "source_rate": 29,
        "rows": rows,
        "duration": 1.5 * rows,
        "width": width,
        "even_sampling": False,
        "tool": "hero_jax 0.1.0",
        "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
        "video": {"name": f"{file.stem}.mp4", "bytes": 1, "sha256": "0"},
    }
    content = {name: x for name, x in (content | changes).items() if x is not None}
    path = file.with_name(f"{file.stem}.json")
    path.write_text(json.dumps(content))
    return path


def describe_all(folder: Path, **changes) -> None:
    for file in folder.glob("*.npz"):
        describe(file, **changes)
