"""Hidden files and leftovers of systems are no data."""

import pytest

from data.sources.folders import passed_over


@pytest.mark.parametrize(
    "name",
    ["._a.npy", ".DS_Store", ".hidden.srt", "Thumbs.db", "THUMBS.DB", "desktop.ini", "Icon\r"],
)
def test_passes_over_leftovers(name):
    assert passed_over(name)


@pytest.mark.parametrize("name", ["a.npy", "a..srt", "thumbs.srt", "icon", "_a.npy", "-a.npy"])
def test_does_not_pass_over_names_of_videos(name):
    assert not passed_over(name)
