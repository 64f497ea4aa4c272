"""Datasets without faults, and copies to change."""

import shutil
from pathlib import Path

import pytest

from data.schema import RawQuery
from tests.data.clip_samples import build
from tests.data.raw_samples import raw_clip
from tests.data.validate.validation_samples import clip, question


@pytest.fixture(scope="session")
def sound(tmp_path_factory):
    """Four clips and questions; nothing about it is odd, its test split has no annotations."""
    folder = tmp_path_factory.mktemp("sound") / "films"
    clips = {
        "train": [clip(0, (3, 5)), clip(1, (70, 2), num_frames=12)],
        "validation": [clip(2, (1, 4))],
        "test": [clip(3, (6, 7))],
    }
    queries = {
        "train": [
            question(0, "clip0", ((1.5, 5.25),), 6, 0),
            question(1, "clip1", ((0.0, 3.0), (1.0, 18.0)), 3, 1),
        ],
        "validation": [question(2, "clip2", (), 61, 1)],
        "test": [question(3, "", (), 2, -1)],
    }
    build(folder, clips, queries, query_type="question")
    return folder


@pytest.fixture(scope="session")
def statements(tmp_path_factory):
    folder = tmp_path_factory.mktemp("statements") / "films"
    queries = {
        "train": [
            RawQuery("s0", "clip0", "it is red", label=1, group="pair"),
            RawQuery("s1", "clip0", "it is blue", label=0, group="pair"),
        ],
        "test": [
            RawQuery("s2", "clip1", "it is big", group="pair"),
            RawQuery("s3", "clip1", "it is small", group="pair"),
        ],
    }
    clips = {"train": [raw_clip(0)], "test": [raw_clip(1)]}
    build(folder, clips, queries, query_type="statement")
    return folder


@pytest.fixture
def films(sound, tmp_path):
    """A copy of `sound` to be changed."""
    return Path(shutil.copytree(sound, tmp_path / "films"))


@pytest.fixture
def pairs(statements, tmp_path):
    """A copy of `statements` to be changed."""
    return Path(shutil.copytree(statements, tmp_path / "films"))
