"""A fixture of the benchmarks' tests."""

import pytest

from configs import pretrain


@pytest.fixture
def shallow(monkeypatch):
    """Gives small models one layer of each kind: every layer is compiled into every function."""
    small = pretrain.small

    def shallow(config):
        small(config)
        config.model.update(cross_modal_layers=1, temporal_layers=1)

    monkeypatch.setattr(pretrain, "small", shallow)
