"""Films that cannot be used are listed with their reasons, and the others are done."""

import wave

import pytest

from tests.hero_jax.extract.samples import files, write_film, write_weights


def write_sound(path):
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(bytes(16000))


WRITE = {
    "empty": lambda path: path.write_bytes(b""),
    "text": lambda path: path.write_text("no film at all\n" * 99),
    "sound": write_sound,
    "one frame": lambda path: write_film(path, 0.1),
    "gone": lambda path: path.symlink_to("nowhere"),
}


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "films"
    folder.mkdir()
    return folder


def test_the_others_are_done(folder, extract, tmp_path):
    write_film(folder / "good.mp4", 3)
    for name, write in WRITE.items():
        write(folder / f"{name}.mp4")
    printed = extract(folder, networks="colours")
    assert printed.status == 1
    assert f"1 films done, 0 were finished before, {len(WRITE)} failed" in printed.out
    assert f"error: {len(WRITE)} of {len(WRITE) + 1} films are without features" in printed.out
    failures = [line for line in printed.err.splitlines() if line.startswith("failed: ")]
    assert len(failures) == len(WRITE)
    for name, line in zip(sorted(WRITE), failures, strict=True):
        assert line.startswith(f"failed: {folder / name}.mp4")
        assert "Traceback" not in line
    assert {name.split("/")[1] for name in files(tmp_path / "out")} == {"good.npz", "good.json"}
    (folder / "empty.mp4").unlink()
    write_film(folder / "empty.mp4", 3)
    again = extract(folder / "empty.mp4", folder / "good.mp4", networks="colours")
    assert again.status == 0
    assert "1 films done, 1 were finished before, 0 failed" in again.out


def test_a_film_that_ends_early_is_done_with_a_warning_each_time(folder, extract):
    write_film(folder / "cut.mkv", 9)
    content = (folder / "cut.mkv").read_bytes()
    (folder / "cut.mkv").write_bytes(content[: len(content) * 2 // 3])
    for _ in range(2):
        printed = extract(folder / "cut.mkv", networks="colours")
        assert printed.status == 0
        (warning,) = [line for line in printed.err.splitlines() if line.startswith("warning: ")]
        assert warning.startswith(f"warning: {folder / 'cut.mkv'} ends at ")
        assert "where 9.0 s are declared" in warning


def test_numbers_that_half_precision_does_not_hold(folder, extract, tmp_path):
    write_film(folder / "a.mp4", 3)
    weights = write_weights(tmp_path / "huge.pt", 1e6)
    printed = extract(folder / "a.mp4", networks="colours", weights=weights)
    assert printed.status == 1
    assert "which half precision does not hold: check its weights" in printed.err
    assert not files(tmp_path / "out")
