"""Files of the Hugging Face Hub, which are fetched once and kept in the hub's own cache."""

import contextlib
import logging
import textwrap
from collections.abc import Iterable, Iterator
from pathlib import Path

from data.errors import InputError

# Characters of the hub's message that are shown.
_REASON_SHOWN = 300


def fetch(repository: str, names: Iterable[str], advice: str) -> list[Path]:
    """Returns files of a repository, downloaded unless they are all in the cache.

    Args:
      repository: its owner and name.
      names: names of the files.
      advice: the end of the message of an error: how to do without the hub.

    Raises:
      InputError: a file cannot be downloaded.
    """
    try:
        from huggingface_hub import hf_hub_download
        from huggingface_hub.errors import HTTPError, LocalEntryNotFoundError
    except ImportError as error:
        raise InputError(
            f"{repository} is on the Hugging Face Hub: pip install huggingface_hub, or {advice}"
        ) from error
    names = list(names)
    try:
        try:
            return [Path(hf_hub_download(repository, n, local_files_only=True)) for n in names]
        except LocalEntryNotFoundError:
            logging.warning("%s is fetched from the Hugging Face Hub.", repository)
            with _quiet():
                return [Path(hf_hub_download(repository, name)) for name in names]
    except (OSError, HTTPError) as error:
        # If the hub cannot be reached, the cause tells why.
        why = textwrap.shorten(str(error.__cause__ or error), _REASON_SHOWN)
        raise InputError(
            f"{repository} cannot be fetched from the Hugging Face Hub ({why}): check the "
            f"connection, or {advice}"
        ) from error


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silences the hub's library, which reports each of many attempts to reach it."""
    logger = logging.getLogger("huggingface_hub")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(before)
