"""Films, networks, and the command."""

import pytest

from hero_jax.extract.__main__ import main
from tests.data.video import test_speech
from tests.hero_jax.extract import samples

whisper_model = test_speech.model


@pytest.fixture(autouse=True)
def networks(monkeypatch):
    samples.register(monkeypatch.setitem)


@pytest.fixture(scope="session")
def written(tmp_path_factory):
    """A folder with weights and three films of 9.1, 3 and 4 seconds; only for reading."""
    folder = tmp_path_factory.mktemp("written")
    samples.write_weights(folder / "weights.pt")
    (folder / "films").mkdir()
    for seed, seconds in enumerate((9.1, 3, 4)):
        samples.write_film(folder / "films" / f"film{seed}.mp4", seconds, seed=seed)
    return folder


@pytest.fixture
def films(written, tmp_path):
    """A copy of the films."""
    folder = tmp_path / "films"
    folder.mkdir()
    for path in (written / "films").iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    return folder


@pytest.fixture
def extract(written, tmp_path, capsys):
    """Runs the command, and returns its status, 1 for a sentence, and what it prints."""

    def run(*arguments, networks="colours,centre", weights=written / "weights.pt"):
        given = [f"--networks={networks}", f"--out={tmp_path / 'out'}", *map(str, arguments)]
        names = [name for name in networks.split(",") if name in samples.NETWORKS]
        given += [f"--weights={name}={weights}" for name in names if weights]
        status = 0
        try:
            main(given)
        except SystemExit as end:
            status = 1
            print(end.code)
        printed = capsys.readouterr()
        return samples.Printed(status, printed.out, printed.err)

    return run
