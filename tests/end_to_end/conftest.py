"""One tiny dataset and one cache of compiled functions for all of these tests."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.end_to_end.harness import Runs, build


@pytest.fixture(scope="session")
def runs(tmp_path_factory) -> Runs:
    """Starts runs on a tiny dataset."""
    folder = tmp_path_factory.mktemp("shared")
    build(folder / "datasets" / "tiny")
    return Runs(folder / "datasets" / "tiny", folder / "cache")


@pytest.fixture(scope="session")
def pool():
    """Takes runs that do not wait for each other, two at a time."""
    with ThreadPoolExecutor(2) as pool:
        yield pool
