"""Every reader of outside files, on damaged files; see `tests.fuzz.engine` for its duties."""

import itertools

import pytest

from tests.fuzz.engine import CORPUS, fault_of, inputs, path_of, warm_up
from tests.fuzz.readers import READERS

INPUTS, FEW_INPUTS = 30, 4


@pytest.fixture(scope="module", params=READERS)
def reader(request):
    warm_up(READERS[request.param])
    return READERS[request.param]


def test_valid_files_are_read(reader, tmp_path):
    files = reader.files()
    for number, chosen in enumerate([[path] for path in files] if reader.alone else [files]):
        folder = tmp_path / str(number)
        for path in chosen:
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(files[path])
        assert [*reader.read(folder)] == []


def test_damaged_files_are_read_or_refused(reader):
    number = FEW_INPUTS if reader.threads else INPUTS
    made = [make() for make in itertools.islice(inputs(reader, seed=0), number)]
    assert [fault_of(reader, *files) for files in made] == [""] * number


def test_files_that_showed_faults_are_read_or_refused(reader):
    saved = sorted(CORPUS.glob(f"{reader.name}-*"))
    faults = {
        file.name: fault_of(
            reader, reader.files() | {path_of(file): file.read_bytes()}, path_of(file)
        )
        for file in saved
    }
    assert faults == dict.fromkeys(faults, "")
