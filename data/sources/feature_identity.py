"""Reads what lies beside files of features: how they were made, an `ID.json` for each `ID.npz`.

`hero_jax.extract` writes it. A JSON file of other content is none of these, and is passed over.
"""

import dataclasses
import hashlib
import itertools
import logging
import re
from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path

from data.errors import InputError
from data.networks import in_words
from data.report import Report
from data.schema import FeatureIdentity
from data.sources.json_files import Mistake, as_object, as_string, read_json, required_text

UNDESCRIBED = "features that do not name their network, unlike others: it counts as unknown"
# Largest relative difference of seconds per feature that are the same number, of which one has few
# digits.
_ROUNDING = 1e-6
_SECONDS = re.compile(r"[0-9]{1,9}(/[0-9]{1,9})?")


@dataclasses.dataclass(frozen=True)
class Origin:
    """Network and rate that features were made with.

    identity: the network; None for a part of which not all files say it.
    seconds_per_feature: between two frames.
    """

    identity: FeatureIdentity | None
    seconds_per_feature: Fraction


@dataclasses.dataclass(frozen=True)
class Description:
    """Content of a file that describes the features beside it.

    origin: how they were made.
    rows: their number.
    sha256: hash of their file.
    """

    origin: Origin
    rows: int
    sha256: str

    def check(self, file: Path, rows: int) -> None:
        """Checks that a file of features is the one that was described.

        Args:
          rows: number of its rows.

        Raises:
          InputError: it is another, or cannot be read.
        """
        advice = f"extract it again, or remove {description_path(file).name} if it is as you want"
        if rows != self.rows:
            raise InputError(
                f"{file} has {rows} rows, not the {self.rows} that "
                f"{description_path(file).name} beside it describes: {advice}"
            )
        try:
            with file.open("rb") as content:
                sha256 = hashlib.file_digest(content, "sha256").hexdigest()
        except OSError as error:
            raise InputError(f"{file} cannot be read ({error.strerror}): {advice}") from error
        if sha256 != self.sha256:
            raise InputError(
                f"{file} is not the file that {description_path(file).name} beside it describes, "
                f"it was damaged or replaced: {advice}"
            )


def description_path(file: Path) -> Path:
    """Returns the path of the description of a file of features."""
    return file.with_suffix(".json")


def read_description(file: Path) -> Description | None:
    """Returns the description of a file of features, None if there is none or only other JSON."""
    try:
        content = as_object(read_json(description_path(file)), "it")
        network, weights = (required_text(content, name) for name in ("network", "weights"))
        seconds = as_string(content.get("seconds_per_feature"), "seconds_per_feature")
        even, rows = content.get("even_sampling"), content.get("rows")
        sha256 = required_text(content, "sha256")
        if not _SECONDS.fullmatch(seconds) or not (network + weights).isprintable():
            return None
        if type(even) is not bool or type(rows) is not int:
            return None
        seconds_per_feature = Fraction(seconds)
    except (InputError, Mistake, ZeroDivisionError):
        return None
    if not seconds_per_feature:
        return None
    return Description(
        Origin(FeatureIdentity(network, weights, even), seconds_per_feature), rows, sha256
    )


def origin_of_part(
    files: Iterable[tuple[Path, bool]], unread: str, report: Report
) -> Origin | None:
    """Returns how the features of a part were made; None if no file says it.

    Args:
      files: of each video, and whether a JSON file lies beside it.
      unread: reason by which JSON files of other content are counted.
      report: counts these, and features without a description beside others that have one.

    Raises:
      InputError: two files were made differently.
    """
    first: tuple[Path, Origin] | None = None
    undescribed: list[str] = []
    for file, has_json in files:
        described = read_description(file) if has_json else None
        if described is None:
            undescribed.append(str(file))
            if has_json:
                report.add(unread, str(description_path(file)))
        elif first is None:
            first = file, described.origin
        elif described.origin != first[1]:
            raise InputError(
                f"{first[0]} has {_in_words(first[1])}, and {file} has "
                f"{_in_words(described.origin)}: extract one of them again, or put files of "
                "different networks into different folders"
            )
    if first is None:
        return None
    report.add_all(UNDESCRIBED, undescribed)
    return dataclasses.replace(first[1], identity=None) if undescribed else first[1]


def agreed_seconds(origins: Sequence[Origin | None], given: float | None) -> float | None:
    """Returns the seconds per feature, None if neither the features nor the user say them.

    Args:
      origins: how each part was made, None if that is unknown.
      given: by the user, None if he gave none.

    Raises:
      InputError: what is said differs.
    """
    known = list(filter(None, origins))
    for one, other in itertools.pairwise(known):
        if one.seconds_per_feature != other.seconds_per_feature:
            raise InputError(
                f"the parts are {_in_words(one)}, and {_in_words(other)}: extract one of them again"
            )
    if not known:
        return given
    stated = known[0].seconds_per_feature
    if given is not None and abs(given / stated - 1) > _ROUNDING:
        raise InputError(
            f"seconds_per_feature={given:g} is not the {stated} that the files beside features of "
            f"{in_words([known[0].identity])} say: correct it, or leave it out"
        )
    # Files that say nothing may have been made otherwise.
    if given is None and not any(origin.identity for origin in known):
        logging.warning("Some features say that they are %s s apart, others say nothing.", stated)
        return None
    if given is None:
        logging.warning("%s s per feature, as the files beside the features say.", stated)
    return float(stated)


def _in_words(origin: Origin) -> str:
    return f"features of {in_words([origin.identity])}, one every {origin.seconds_per_feature} s"
