"""Films become features beside their descriptions; what is finished is kept, the rest is made."""

import hashlib
import json
import os
from fractions import Fraction

import numpy as np
import pytest

from data.sources.features import FeatureParts
from data.video.decoding import Video
from data.video.sampling import ClipSampling, FrameSampling
from hero_jax.extract import output
from hero_jax.extract.film import read_film
from hero_jax.extractors.registry import load
from tests.hero_jax.extract.samples import files, stamps, write_film, write_weights

STEP = Fraction(3, 2)


def expected(film, sampling, factor=0.5):
    """Mean colours of the rows of a film, computed here."""
    with Video(film) as video:
        rows = [row for _, row in video.rows([sampling])]
    means = [row.reshape(-1, 3).mean(0, dtype=np.float64) * factor for row in rows]
    return np.array(means)


def test_each_network_has_its_rows_and_a_description(films, extract, written, tmp_path):
    printed = extract(films, networks="colours,motion")
    assert printed.status == 0
    out = tmp_path / "out"
    names = [f"{network}/film{n}" for network in ("colours", "motion") for n in range(3)]
    assert [*files(out)] == sorted(f"{n}{end}" for n in names for end in (".json", ".npz"))
    frames = expected(films / "film0.mp4", FrameSampling(STEP, crop=False))
    clips = expected(films / "film0.mp4", ClipSampling(STEP))
    assert (len(frames), len(clips)) == (6, 7)
    for network, rows in {"colours": frames, "motion": clips[:6]}.items():
        with np.load(out / network / "film0.npz") as arrays:
            assert arrays.files == ["features"]
            assert arrays["features"].dtype == np.float16
            np.testing.assert_allclose(arrays["features"], rows, rtol=1e-3)
    described = json.loads((out / "motion" / "film0.json").read_text())
    film = films / "film0.mp4"
    assert described | {"sha256": "", "weights": "", "video": {}} == {
        "network": "motion",
        "weights": "",
        "seconds_per_feature": "3/2",
        "source_rate": 10,
        "rows": 6,
        "cut": 1,
        "duration": 9.1,
        "width": 3,
        "even_sampling": False,
        "dtype": "float32",
        "warnings": [],
        "tool": "hero_jax 0.1.0",
        "sha256": "",
        "video": {},
    }
    assert described["weights"] == load("motion", written / "weights.pt").weights
    assert described["video"] == output.VideoFile(film).describe()
    assert (
        described["sha256"] == hashlib.sha256((out / "motion/film0.npz").read_bytes()).hexdigest()
    )


def test_the_order_of_networks_is_that_of_their_names(films, written):
    extractors = [load(name, written / "weights.pt") for name in ("motion", "colours")]
    features = read_film(films / "film1.mp4", extractors, STEP)
    frames = expected(films / "film1.mp4", FrameSampling(STEP, crop=False))
    clips = expected(films / "film1.mp4", ClipSampling(STEP))
    rows = min(len(frames), len(clips))
    for part, means in zip(features.parts, (clips, frames), strict=True):
        np.testing.assert_allclose(part, means[:rows], rtol=1e-3)


def test_a_second_run_does_nothing(films, extract, tmp_path):
    first = extract(films)
    before = stamps(tmp_path / "out")
    again = extract(films)
    assert "3 films done, 0 were finished before, 0 failed; 11 rows" in first.out
    assert "0 films done, 3 were finished before, 0 failed; 11 rows" in again.out
    assert stamps(tmp_path / "out") == before


def spoil(path):
    content = bytearray(path.read_bytes())
    content[-30] ^= 1
    path.write_bytes(content)


def touch(path):
    os.utime(path, ns=(1, 1))


DAMAGES = {
    "npz": lambda out: spoil(out / "centre" / "film1.npz"),
    "no npz": lambda out: (out / "centre" / "film1.npz").unlink(),
    "no json": lambda out: (out / "centre" / "film1.json").unlink(),
    "half a json": lambda out: os.truncate(out / "centre" / "film1.json", 99),
    "another json": lambda out: (out / "centre" / "film1.json").write_text("[1]"),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
def test_a_damaged_file_is_made_again_and_no_other(films, extract, tmp_path, damage):
    extract(films)
    out = tmp_path / "out"
    whole, before = files(out), stamps(out)
    damage(out)
    assert "1 films done, 2 were finished before" in extract(films).out
    assert files(out) == whole
    changed = {name for name, time in stamps(out).items() if time != before[name]}
    assert changed == {"centre/film1.npz", "centre/film1.json"}


def test_a_film_that_changes_is_extracted_again_and_a_copy_is_not(films, extract, tmp_path):
    extract(films)
    before = stamps(tmp_path / "out")
    os.utime(films / "film0.mp4")
    content = (films / "film2.mp4").read_bytes()
    write_film(films / "film1.mp4", 4, seed=2)
    assert (films / "film1.mp4").read_bytes() == content
    assert "1 films done, 2 were finished before" in extract(films).out
    changed = {name for name, time in stamps(tmp_path / "out").items() if time != before[name]}
    assert {name.split("/")[1].split(".")[0] for name in changed} == {"film1"}


@pytest.mark.parametrize(
    ("arguments", "made"),
    [
        (["--seconds_per_feature=2"], ["centre", "colours"]),
        (["--dtype=bfloat16"], ["centre", "colours"]),
        (["--even_sampling"], []),
        (["--seconds_per_feature=1.5"], []),
        (["--max_pixels=100000"], []),
    ],
    ids=str,
)
def test_what_is_made_in_another_way_is_made_again(films, extract, tmp_path, arguments, made):
    extract(films)
    before = stamps(tmp_path / "out")
    printed = extract(films, *arguments)
    assert printed.status == 0
    changed = {name for name, time in stamps(tmp_path / "out").items() if time != before[name]}
    assert sorted({name.split("/")[0] for name in changed}) == made
    assert "do not match checkpoints" not in printed.err


def test_even_sampling_is_for_clips_and_is_said(films, extract, tmp_path):
    film, networks = films / "film1.mp4", "colours,motion"
    published = extract(film, networks=networks)
    before = stamps(tmp_path / "out")
    even = extract(film, "--even_sampling", networks=networks)
    assert "do not match checkpoints" in even.err
    assert "do not match checkpoints" not in published.err
    changed = {name for name, time in stamps(tmp_path / "out").items() if time != before[name]}
    assert changed == {"motion/film1.npz", "motion/film1.json"}
    means = expected(film, ClipSampling(STEP, even=True))
    with np.load(tmp_path / "out" / "motion" / "film1.npz") as arrays:
        np.testing.assert_allclose(arrays["features"], means, rtol=1e-3)


def test_features_of_other_weights_are_made_again(films, extract, tmp_path):
    extract(films)
    extract(films, weights=write_weights(tmp_path / "others.pt", 0.25))
    means = expected(films / "film1.mp4", FrameSampling(STEP, crop=False), 0.25)
    with np.load(tmp_path / "out" / "colours" / "film1.npz") as arrays:
        np.testing.assert_allclose(arrays["features"], means[: len(arrays["features"])], rtol=1e-3)


@pytest.mark.parametrize("first", ["colours", "motion"])
def test_networks_that_are_added_later_end_as_all_at_once(films, extract, tmp_path, first):
    film = films / "film0.mp4"
    alone = extract(film, networks=first)
    assert "cut" not in alone.out
    printed = extract(film, networks="colours,motion")
    assert "1 rows of motion, in 1 films, cut" in printed.out
    added = files(tmp_path / "out")
    (tmp_path / "out").rename(tmp_path / "first")
    extract(film, networks="colours,motion")
    assert added == files(tmp_path / "out")
    reader = FeatureParts([tmp_path / "out" / "colours", tmp_path / "out" / "motion"])
    assert reader.num_frames("film0") == 6
