"""The dataset of `unit_samples`, built once for each file of tests."""

import shutil

import pytest

from data.pipeline.units import AnnotatedSplit
from tests.data.pipeline.unit_samples import build_films


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    folder = tmp_path_factory.mktemp("built") / "films"
    build_films(folder)
    return folder


@pytest.fixture
def film_copy(films, tmp_path):
    """A copy of the dataset that a test may change, without the list of ids."""
    folder = tmp_path / "films"
    shutil.copytree(films, folder, ignore=shutil.ignore_patterns("*.ids.json"))
    return folder


@pytest.fixture(scope="module")
def split(films):
    return AnnotatedSplit(films, "train")
