"""Features are compared with others of the same films, row by row."""

from pathlib import Path

import h5py
import numpy as np
import pytest

from hero_jax.extract import check


def parts(out: Path) -> dict[str, np.ndarray]:
    return {name: np.load(out / name / "film0.npz")["features"] for name in ("colours", "centre")}


def lines(printed, *beginnings):
    return [line for line in printed.out.splitlines() if line.startswith(beginnings)]


def test_the_worst_row_is_named(films, extract, tmp_path):
    film = films / "film0.mp4"
    extract(film)
    other = parts(tmp_path / "out")
    (tmp_path / "other").mkdir()
    changed = other["centre"].astype(np.float64)
    # At 60 degrees to the row itself.
    row = changed[2]
    across = np.cross(row, [1.0, 0.0, 0.0])
    changed[2] = row / np.linalg.norm(row) + np.sqrt(3) * across / np.linalg.norm(across)
    np.save(tmp_path / "other" / "film0.mp4.npy", changed)
    printed = extract(film, f"--check=centre={tmp_path / 'other'}")
    assert lines(printed, "colours", "centre") == [
        "centre film0: cosine mean 0.916667, least 0.500000 in row 2 (3 s)",
        "centre: 1 films with 6 rows compared, cosine mean 0.916667, least 0.500000; "
        "0 with another number of rows; 0 not compared",
    ]


@pytest.mark.parametrize("form", ["folders", "joined"])
def test_all_networks_at_once(films, extract, tmp_path, form):
    extract(films)
    other = tmp_path / ("other" if form == "folders" else "other.h5")
    if form == "folders":
        (tmp_path / "out").rename(other)
        extract(films)
    else:
        with h5py.File(other, "w") as file:
            file["film0"] = np.concatenate([*parts(tmp_path / "out").values()], axis=1)[:4]
            file["film1"] = np.ones((2, 5), np.float32)
    printed = extract(films, f"--check={other}")
    colours, centre = (lines(printed, f"{name}: ") for name in ("colours", "centre"))
    if form == "folders":
        for line in (*colours, *centre):
            assert "3 films with 11 rows compared, cosine mean 1.000000, least 1.000000" in line
    else:
        for line in (*colours, *centre):
            assert "1 films with 4 rows compared" in line
            assert "1 with another number of rows" in line
        assert lines(printed, "colours film0")[0].endswith("; 6 rows where the other file has 4")
        (one,) = lines(printed, "colours+centre film1: not compared: ")
        assert "has 5 numbers a row where colours + centre have 6" in one
        (none,) = lines(printed, "colours+centre film2: not compared: ")
        assert f"{other} has no features of it" in none
        assert len(lines(printed, "colours+centre: 0 films")) == 1


def test_rows_of_zeros_are_alike():
    first = np.array([[0, 0], [0, 0], [1, 0], [1, 0], [1, 1]], np.float16)
    second = np.array([[0, 0], [1, 0], [0, 0], [-2, 0]], np.float32)
    assert check._cosines(first, second).tolist() == [1, 0, 0, -1]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("--check={films}", "films holds no features"),
        ("--check=resnet=other", "are given for resnet, which is not among the networks colours"),
    ],
)
def test_what_cannot_be_compared_with_is_refused_before_the_work(
    films, extract, tmp_path, given, said
):
    printed = extract(films, given.format(films=films))
    assert printed.status == 1
    assert said in printed.out
    assert not (tmp_path / "out").exists()
