"""Comparison of features with those of other files: the cosine of each row."""

import collections
import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np

from data.arguments import user_path
from data.errors import InputError
from data.report import Report
from data.sources.features import FeatureParts
from data.sources.names import KnownNames
from hero_jax.extractors.registry import NETWORKS


@dataclasses.dataclass(frozen=True)
class Compared:
    """Cosines of a film's rows, by one network, with those of another file.

    Attributes:
      cosines: of each row that both have, float64 `[rows]`.
      rows, other_rows: number of rows here and there.
      problem: why nothing could be compared, '' otherwise.
    """

    video_id: str
    network: str
    cosines: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(0))
    rows: int = 0
    other_rows: int = 0
    problem: str = ""


def others_of(networks: Sequence[str], texts: Sequence[str]) -> list[tuple[tuple[str, ...], Path]]:
    """Returns the other files to compare with: the networks that they hold, and where they are.

    Args:
      networks: all networks, in order.
      texts: `NETWORK=PATH`; or `PATH` of a folder with a folder for each network, or of features of
        all networks, joined in their order.

    Raises:
      InputError: a path does not exist or holds no features, or is for another network.
    """
    found: list[tuple[tuple[str, ...], Path]] = []
    for text in texts:
        name, equals, rest = text.partition("=")
        path = user_path(rest if equals and name in networks else text)
        if equals and name in NETWORKS and name not in networks and not path.exists():
            raise InputError(
                f"features to compare with are given for {name}, which is not among the networks "
                f"{', '.join(networks)}: correct the name"
            )
        if not path.exists():
            raise InputError(f"{path} to compare with does not exist: correct the path")
        inner = [name for name in networks if (path / name).is_dir()]
        if equals and name in networks:
            found.append(((name,), path))
        elif inner:
            found += [((name,), path / name) for name in inner]
        else:
            found.append((tuple(networks), path))
    for _, path in found:
        # What cannot be compared with is noticed before hours of work.
        FeatureParts([path]).ids()
    return found


def compare(
    out: Path, networks: Sequence[str], other: Path, ids: Sequence[str]
) -> Iterator[Compared]:
    """Yields the comparison of each film, network by network.

    Args:
      out: folder of a folder for each network.
      networks: the networks that the other features are of, joined in this order.
      other: folder or file as `FeatureParts` reads it.
      ids: ids of films that have features here.

    Raises:
      InputError: the other features cannot be listed.
    """
    theirs = FeatureParts([other])
    ours = FeatureParts([out / name for name in networks])
    known = KnownNames(theirs.ids())
    for video_id in ids:
        parts = ours.read(video_id, Report())
        name = known.find(video_id)
        try:
            if name is None:
                raise InputError(f"{other} has no features of it")
            (joined,) = theirs.read(name, Report())
            widths = [part.shape[1] for part in parts]
            if joined.shape[1] != sum(widths):
                raise InputError(
                    f"{theirs.where(name)} has {joined.shape[1]} numbers a row where "
                    f"{' + '.join(networks)} have {sum(widths)}"
                )
        except InputError as error:
            yield Compared(video_id, "+".join(networks), problem=str(error))
            continue
        ends = np.cumsum(widths)[:-1]
        for network, part, same in zip(
            networks, parts, np.split(joined, ends, axis=1), strict=True
        ):
            yield Compared(video_id, network, _cosines(part, same), len(part), len(same))


def _cosines(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Returns the cosine of each row that both have; two rows of zeros are alike."""
    length = min(len(first), len(second))
    a, b = (part[:length].astype(np.float64) for part in (first, second))
    norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    both_zero = ~(a.any(axis=1) | b.any(axis=1))
    return np.where(both_zero, 1.0, (a * b).sum(axis=1) / np.where(norms > 0, norms, 1.0))


def lines(compared: Iterable[Compared], seconds_per_feature: Fraction) -> Iterator[str]:
    """Yields a line for each film and network, and then one for each network."""
    cosines: dict[str, list[np.ndarray]] = collections.defaultdict(list)
    other_lengths: collections.Counter[str] = collections.Counter()
    missing: collections.Counter[str] = collections.Counter()
    for result in compared:
        name = f"{result.network} {result.video_id}"
        if result.problem:
            missing[result.network] += 1
            yield f"{name}: not compared: {result.problem}"
            continue
        cosines[result.network].append(result.cosines)
        worst = int(result.cosines.argmin())
        line = (
            f"{name}: cosine {_summary(result.cosines)} in row {worst} "
            f"({float(worst * seconds_per_feature):g} s)"
        )
        if result.rows != result.other_rows:
            other_lengths[result.network] += 1
            line += f"; {result.rows} rows where the other file has {result.other_rows}"
        yield line
    for network in {**cosines, **missing}:
        rows = np.concatenate(cosines[network]) if cosines[network] else np.zeros(0)
        line = f"{network}: {len(cosines[network])} films with {len(rows)} rows compared"
        line += f", cosine {_summary(rows)}" if len(rows) else ""
        line += f"; {other_lengths[network]} with another number of rows"
        yield f"{line}; {missing[network]} not compared"


def _summary(cosines: np.ndarray) -> str:
    return f"mean {cosines.mean():.6f}, least {cosines.min():.6f}"
