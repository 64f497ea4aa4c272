"""Fixtures of the tests of building."""

from pathlib import Path

import pytest

from tests.data.building.builds import build_films, read
from tests.data.building.films import Films


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """A build that was not interrupted."""
    folder = tmp_path_factory.mktemp("whole") / "films"
    build_films(folder, Films())
    return folder


@pytest.fixture(scope="module")
def order(whole) -> list[str]:
    """Ids of the clips in the order of records."""
    return [clip.clip_id for clip in read(whole, "train")]
