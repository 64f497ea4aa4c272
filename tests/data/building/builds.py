"""Builds of the films of `Films`, and what they leave in their folder."""

from pathlib import Path

from data.building.dataset import build_dataset
from data.building.plan import Building
from data.records.reader import Split
from tests.data.building.films import CLIPS, Films
from tests.data.clip_samples import TOKENIZER


def files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def read(folder: Path, split: str) -> list:
    found = Split(folder, split)
    return [found.read(number) for number in range(len(found))]


def build_films(folder: Path, source: Films, **building):
    """A clip a shard, so that numbers of shards are places in the order of records."""
    return build_dataset(folder, source, TOKENIZER, Building(num_shards=len(CLIPS), **building))


def stamps(folder: Path) -> dict[int, int]:
    """When each shard was written, of a dataset that is finished or not."""
    paths = [*folder.glob("building/clips-*-of-*"), *folder.glob("clips/*/films-train.*-of-*")]
    times = {
        path.name.split("-of-")[0][-5:]: path.stat().st_mtime_ns
        for path in paths
        if path.name.endswith("00012")
    }
    return {int(number): time for number, time in times.items()}
