"""One server that tests share which change nothing."""

import pytest

from tests.hero_jax.search.server import serving


@pytest.fixture(scope="session")
def library(tmp_path_factory):
    """Films and their index."""
    return serving.make_library(tmp_path_factory.mktemp("library"))


@pytest.fixture(scope="session")
def client(library):
    with serving.serving(*library) as client:
        yield client
