"""Progress on a terminal and elsewhere."""

import io
import time

import pytest

from data.progress import ProgressMeter


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def clock(monkeypatch):
    """Sets the time."""
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return lambda seconds: now.__setitem__(0, 100.0 + seconds)


def test_a_line_now_and_then_says_how_much_time_is_left(clock):
    file = io.StringIO()
    meter = ProgressMeter("films", 800, file)
    for seconds, done in [(5, 100), (11, 100), (12, 200), (21, 250), (300, 800)]:
        clock(seconds)
        meter.update(done, f"{done} done")
    meter.close()
    assert file.getvalue().splitlines() == [
        "films: 100 done, 0:01:17 left (11 s)",
        "films: 800 done (300 s)",
    ]


def test_the_last_state_is_told(clock):
    file = io.StringIO()
    meter = ProgressMeter("films", 800, file)
    clock(1)
    meter.update(100, "100 done")
    clock(2)
    meter.close()
    assert file.getvalue() == "films: 100 done, 0:00:07 left (2 s)\n"


def test_a_terminal_has_a_bar():
    file = Terminal()
    meter = ProgressMeter("films", 4, file)
    meter.update(1, "1 of 4 films")
    meter.update(4, "4 of 4 films")
    meter.close()
    last = file.getvalue().split("\r")[-1]
    assert last.startswith("100%|")
    assert last.rstrip().endswith("| films: 4 of 4 films")
