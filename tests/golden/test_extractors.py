"""The report of frames and sampling passes on right vectors and fails on wrong ones."""

import hashlib
import json

import numpy as np
import pytest

from tests.data.video.film_samples import grey_frames, write_film
from tests.golden import extractors
from tests.paths import TESTDATA

SAMPLING = TESTDATA / "extractors" / "sampling.json"


@pytest.fixture
def run(capsys):
    """Runs the report; returns True if all of it passes, and the lines it prints."""

    def run(*arguments):
        capsys.readouterr()
        passed = extractors.main([*map(str, arguments)])
        return passed, capsys.readouterr().out.splitlines()

    return run


def written(path, content):
    path.write_text(json.dumps(content))
    return path


@pytest.fixture
def films(tmp_path):
    """Returns a folder with a film, and its frames, of which the right grey is known."""
    write_film(tmp_path / "a.mkv", grey_frames(100))

    def case(numbers, height, width):
        pixels = np.broadcast_to(
            np.array(numbers, np.uint8)[:, None, None, None], (len(numbers), height, width, 3)
        )
        return {
            "frames": len(numbers),
            "height": height,
            "width": width,
            "sha256": hashlib.sha256(pixels.tobytes()).hexdigest(),
            "mean_rgb_first": [float(numbers[0])] * 3,
            "mean_rgb_last": [float(numbers[-1])] * 3,
        }

    cases = {
        "a.mkv/2d": case([18, 56, 93], 224, 298),
        "a.mkv/2d_crop": case([18, 56, 93], 224, 224),
        "a.mkv/2d_2s": case([24, 74], 224, 298),
    }
    return tmp_path, cases


def test_right_sampling_passes_and_wrong_sampling_fails(run, tmp_path):
    passed, lines = run("--sampling", SAMPLING)
    cases = json.loads(SAMPLING.read_text())
    assert passed
    assert len(lines) == len(cases) > 10
    assert all(line.startswith("ok ") for line in lines)
    cases[2]["clips"] += 1
    cases[3]["last"][5] += 1
    cases[4]["sha256"] = cases[5]["sha256"]
    passed, lines = run("--sampling", written(tmp_path / "wrong.json", cases))
    assert not passed
    wrong = {n: line.rpartition(": ")[2] for n, line in enumerate(lines) if line[:2] != "ok"}
    assert wrong == {2: "clips", 3: "last", 4: "sha256"}


def test_right_frames_pass_and_wrong_frames_fail(run, films):
    folder, cases = films
    passed, lines = run("--frames", written(folder / "frames.json", cases), folder)
    assert passed
    assert lines == [f"ok    {name}" for name in cases]
    cases["a.mkv/2d"]["mean_rgb_last"][1] += 0.001
    cases["a.mkv/2d_crop"] |= {"frames": 4, "height": 225}
    cases["a.mkv/2d_2s"]["sha256"] = "0" * 64
    passed, lines = run("--frames", written(folder / "wrong.json", cases), folder)
    assert not passed
    assert lines == [
        "WRONG a.mkv/2d: mean_rgb_last",
        "WRONG a.mkv/2d_crop: frames, size",
        "WRONG a.mkv/2d_2s: sha256",
    ]


def test_a_missing_film_and_an_unknown_sampling_fail(run, films):
    folder, cases = films
    cases = {"no.mp4/2d": cases["a.mkv/2d"], "a.mkv/4d": cases["a.mkv/2d"]}
    passed, lines = run("--frames", written(folder / "frames.json", cases), folder)
    assert not passed
    assert lines[0].startswith("WRONG no.mp4/2d: ")
    assert "does not exist" in lines[0]
    assert lines[1] == "WRONG a.mkv/4d: a sampling that is not known"


def test_frames_need_a_folder_and_a_report_a_file(run, capsys):
    for arguments in ([], ["--frames", SAMPLING]):
        with pytest.raises(SystemExit):
            run(*arguments)
    assert "needs the folder of the films" in capsys.readouterr().err
