"""One tiny dataset and one cache of compiled functions for all of these tests."""

import pytest
from runs import Runs, build


@pytest.fixture(scope="session")
def runs(tmp_path_factory) -> Runs:
    """Starts runs on a tiny dataset."""
    folder = tmp_path_factory.mktemp("shared")
    build(folder / "datasets" / "tiny")
    return Runs(folder / "datasets" / "tiny", folder / "cache")
