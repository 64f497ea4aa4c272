"""Building on one worker, on two and on Beam, with failures and interrupts."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time

import pytest

from data.building.workers import STOPPED
from data.errors import InputError
from data.records.reader import QuerySplit
from tests.data.building.builds import build_films, files, stamps
from tests.data.building.films import CLIPS, Films
from tests.data.clip_samples import build
from tests.data.raw_samples import raw_query
from tests.paths import ROOT

THREADS = ("--runner=DirectRunner", "--direct_num_workers=2")
THREADS += ("--direct_running_mode=multi_threading",)


def test_one_worker_two_workers_and_beam_write_the_same_bytes(tmp_path):
    splits = {"train": CLIPS[:6], "validation": CLIPS[6:9]}
    asked = {"train": [raw_query(index) for index in range(4)]}
    ways = {"one": {}, "two": {"workers": 2}, "threads": {"beam_options": THREADS}}
    for name, how in ways.items():
        build(tmp_path / name / "films", splits, asked, num_shards=3, **how)
    assert files(tmp_path / "one") == files(tmp_path / "two") == files(tmp_path / "threads")
    assert len(QuerySplit(tmp_path / "two" / "films", "train")) == 4


# The first eight videos in order are read before any worker starts, to estimate sizes.


def test_a_failure_stops_the_other_workers(tmp_path, order, whole):
    folder = tmp_path / "films"
    before = set(multiprocessing.active_children())
    with pytest.raises(InputError, match=f"^{order[8]} is broken: mend it$"):
        build_films(folder, Films((order[8],), late=order[9]), workers=2)
    assert {7} <= {*stamps(folder)} <= {*range(10)}
    assert set(multiprocessing.active_children()) <= before
    build_films(folder, Films(), workers=2)
    assert files(folder) == files(whole)


def test_a_failure_on_beam_is_the_same_sentence(tmp_path, order, whole):
    folder = tmp_path / "films"
    with pytest.raises(InputError, match=f"^{order[9]} is broken: mend it$"):
        build_films(folder, Films((order[9],)), beam_options=THREADS)
    build_films(folder, Films(), beam_options=THREADS)
    assert files(folder) == files(whole)


def test_a_bug_keeps_its_exception_on_a_worker(tmp_path, order):
    with pytest.raises(RuntimeError, match=r"^unheard of$"):
        build_films(tmp_path / "films", Films(unheard_of=order[9]), workers=2)


def test_a_killed_worker_is_reported(tmp_path, order):
    before = set(multiprocessing.active_children())
    with pytest.raises(InputError, match=r"a worker process ended unexpectedly.* fewer workers"):
        build_films(tmp_path / "films", Films(deadly=order[9], endless=order[10]), workers=2)
    assert set(multiprocessing.active_children()) <= before


def test_a_local_build_does_not_import_beam(tmp_path):
    code = (
        "import sys; from tests.data.building.builds import build_films; "
        "from tests.data.building.films import Films; "
        "build_films(sys.argv[1], Films(), workers=2); assert 'apache_beam' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code, tmp_path / "films"], cwd=ROOT, check=True)


# The last film is never made, so that the build is not over when it is interrupted.
INTERRUPTIBLE = """
if __name__ == "__main__":
    import signal
    import sys
    from pathlib import Path
    from data.building.workers import STOPPED
    from data.command import ends_with_a_sentence
    from tests.data.building.builds import build_films
    from tests.data.building.films import Films
    # A job in the background of a shell ignores SIGINT.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with ends_with_a_sentence(STOPPED):
        source = Films(slow=0.02, endless=sys.argv[3])
        build_films(Path(sys.argv[1]), source, workers=int(sys.argv[2]))
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
@pytest.mark.parametrize("workers", [1, 2])
def test_an_interrupted_build_continues_to_the_same_bytes(tmp_path, workers, how, order, whole):
    folder, script = tmp_path / "films", tmp_path / "script.py"
    script.write_text(INTERRUPTIBLE)
    process = subprocess.Popen(
        [sys.executable, script, folder, str(workers), order[11]],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        start_new_session=True,
        stderr=subprocess.PIPE,
        text=True,
    )
    while process.poll() is None and len(list(folder.glob("building/clips-*.json"))) < 3:
        time.sleep(0.01)
    if how == signal.SIGINT:
        os.killpg(process.pid, how)
    else:
        # The workers have to notice by themselves.
        process.kill()
    # Ends when the last process has closed its end of the pipe.
    _, printed = process.communicate(timeout=60)
    if how == signal.SIGINT:
        *progress, last = printed.splitlines()
        assert last == f"error: {STOPPED}"
        assert all(line.startswith("videos: ") for line in progress)
    assert process.returncode == (1 if how == signal.SIGINT else -signal.SIGKILL)
    done = {
        number: time
        for number, time in stamps(folder).items()
        if (folder / "building" / f"clips-train-{number:05d}-of-00012.json").exists()
    }
    assert 3 <= len(done) < 12
    build_films(folder, Films())
    assert stamps(folder).items() >= done.items()
    assert files(folder) == files(whole)
