"""Names of networks, and the files of their weights, as users give them."""

import difflib
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from data.arguments import user_path
from data.errors import InputError
from hero_jax.extractors import download, known
from hero_jax.extractors.registry import GROUPS, NETWORKS

AUTO = "auto"
# A comma between two files of weights; the names of files may have commas.
_COMMA = re.compile(rf",(?=[\w.-]+=|{AUTO}(?:,|$))")


def chosen(text: str) -> tuple[str, ...]:
    """Returns the networks in a list of names of networks and of groups, in order.

    Raises:
      InputError: a name is not known, or a network comes twice.
    """
    names: list[str] = []
    for name in filter(None, (part.strip() for part in text.split(","))):
        if name not in NETWORKS and name not in GROUPS:
            near = difflib.get_close_matches(name, [*NETWORKS, *GROUPS], 3, 0.4)
            known = " or ".join(near) if near else f"one of {', '.join([*NETWORKS, *GROUPS])}"
            raise InputError(f"there is no network {name!r}: use {known}")
        names += GROUPS.get(name, (name,))
    if not names:
        raise InputError(f"no network is named: use one of {', '.join([*NETWORKS, *GROUPS])}")
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"the network {name} is named twice: name it once")
    return tuple(names)


def with_weights(names: Sequence[str], texts: Iterable[str]) -> tuple[tuple[str, Path | None], ...]:
    """Returns each network with the file of its weights, None for those that need none.

    Args:
      names: the networks.
      texts: lists of `NETWORK=FILE`, `NETWORK=auto` and `auto`, which downloads what is missing.

    Raises:
      InputError: weights are missing, or of a network that is not among these.
    """
    files: dict[str, str] = {}
    for part in (part.strip() for text in texts for part in _COMMA.split(text)):
        name, equals, file = part.partition("=")
        if part == AUTO:
            files |= {name: AUTO for name in names if name not in files}
        elif not equals or not file:
            raise InputError(f"{part!r} is no NETWORK=FILE, as resnet=resnet152-394f9c45.pth")
        elif name not in names:
            raise InputError(
                f"there are weights for {name}, which is not among the networks {', '.join(names)}:"
                " correct the name"
            )
        elif files.get(name, AUTO) != AUTO:
            raise InputError(f"weights of {name} are given twice: give one file")
        else:
            files[name] = file
    return tuple((name, _file(name, files.get(name, ""))) for name in names)


def _file(name: str, given: str) -> Path | None:
    network = NETWORKS[name]
    if given and given != AUTO:
        return user_path(given).absolute()
    if network.packaged is not None or not network.needs_weights:
        return None
    if given == AUTO:
        return download.fetch(name)
    files = " or ".join(
        f"{file.name} from {file.source} ({file.licence})" for file in known.FILES.get(name, ())
    )
    raise InputError(
        f"{name} needs its weights: give --weights={name}=FILE, or --weights={name}=auto to "
        f"download {files or 'them'}"
    )
