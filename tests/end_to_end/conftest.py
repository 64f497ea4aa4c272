"""A tiny dataset that all of these tests share."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.end_to_end.harness import Runs, build


@pytest.fixture(scope="session")
def runs(tmp_path_factory) -> Runs:
    """Starts runs on a tiny dataset."""
    folder = tmp_path_factory.mktemp("tiny")
    build(folder / "datasets" / "tiny")
    return Runs(folder / "datasets" / "tiny")


@pytest.fixture(scope="module")
def pool():
    """Waits for processes in the background while tests run in this one."""
    with ThreadPoolExecutor(1) as pool:
        yield pool
