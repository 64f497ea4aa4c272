"""The operations of a compiled function that take the most time, and the code they come from."""

import collections
import dataclasses
import pathlib
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import jax
from jax.profiler import ProfileData

import hero_jax

PROJECT = pathlib.Path(hero_jax.__file__).parent
# Rows of the tables at the head of a compiled module's text.
_ROWS = {
    "FileNames": re.compile(r'(\d+) "(.*)"$'),
    "FunctionNames": re.compile(r'(\d+) "(.*)"$'),
    "FileLocations": re.compile(r"(\d+) \{file_name_id=(\d+) function_name_id=(\d+) line=(\d+)"),
    "StackFrames": re.compile(r"(\d+) \{file_location_id=(\d+) parent_frame_id=(\d+)"),
}
_INSTRUCTION = re.compile(r"\s*(?:ROOT )?%?([\w.-]+) = .*?metadata=\{(.*)\}")


@dataclasses.dataclass(frozen=True)
class Item:
    """Operations of one kind from one line of code.

    name: kind of operation, and function, file and line of its code.
    share: of the time of all operations.
    seconds: of all of them in one call of the function; on a CPU, those of its threads together.
    """

    name: str
    share: float
    seconds: float


def largest_operations(
    compiled: jax.stages.Compiled, call: Callable[[], Any], count: int = 10
) -> list[Item]:
    """Profiles one call of a compiled function.

    Args:
      compiled: has the names of the operations.
      call: calls it.
      count: items to return, largest first.
    """
    with tempfile.TemporaryDirectory() as folder:
        with jax.profiler.trace(folder):
            jax.block_until_ready(call())
        (path,) = pathlib.Path(folder).rglob("*.xplane.pb")
        profile = ProfileData.from_file(str(path))
    names = operation_names(compiled.as_text() or "")
    seconds = collections.Counter[str]()
    for operation, own in _own_seconds(profile):
        name = names.get(operation) or re.sub(r"[.\d]+$", "", operation)
        seconds[name] += own
    total = sum(seconds.values())
    return [Item(name, value / total, value) for name, value in seconds.most_common(count)]


def operation_names(text: str) -> dict[str, str]:
    """Returns a name by operation of a compiled module's text.

    A name has the kind of operation, 'backward' for one of a gradient, and function, file and line
    of this project that it comes from; for operations that are fused, these are of the last one.
    """
    places, names = _places(text), {}
    for line in text.splitlines():
        if (found := _INSTRUCTION.match(line)) is None:
            continue
        path = re.search(r'op_name="([^"]*)"', found[2])
        frame = re.search(r"stack_frame_id=(\d+)", found[2])
        kind = path[1].rpartition("/")[2] if path else ""
        if path and "transpose(" in path[1]:
            kind += " backward"
        place = places.get(int(frame[1]), "") if frame else ""
        names[found[1]] = ", ".join(filter(None, (kind, place)))
    return names


def _places(text: str) -> dict[int, str]:
    """Returns function, file and line of this project by number of a stack frame.

    They are those of the innermost call that the project has in the frame, or of the frame itself.
    """
    rows: dict[str, dict[int, tuple[str, ...]]] = collections.defaultdict(dict)
    section = ""
    for line in text.splitlines():
        if line in _ROWS:
            section = line
        elif section and (row := _ROWS[section].match(line)):
            number, *values = row.groups()
            rows[section][int(number)] = tuple(values)
    frames = {number: tuple(map(int, values)) for number, values in rows["StackFrames"].items()}
    # The number of the caller is counted from that of a frame without one.
    outermost = min((caller for _, caller in frames.values()), default=0)

    def described(frame: int) -> tuple[str, bool]:
        file, function, line = rows["FileLocations"][frames[frame][0]]
        path = pathlib.Path(rows["FileNames"][int(file)][0])
        name = rows["FunctionNames"][int(function)][0].replace("<locals>.", "")
        return f"{name} ({path.name}:{line})", path.is_relative_to(PROJECT)

    def place(frame: int) -> str:
        call = frame
        while call:
            words, ours = described(call)
            if ours:
                return words
            call = frames[call][1] - outermost
        return described(frame)[0]

    return {frame: place(frame) for frame in frames}


def _own_seconds(profile: ProfileData) -> Iterator[tuple[str, float]]:
    """Yields each operation that ran, and its seconds without those of operations inside it."""
    planes = list(profile.planes)
    devices = [plane for plane in planes if plane.name.startswith("/device:")]
    lines = [line for plane in devices or planes for line in plane.lines]
    if devices:
        # A TPU has a line of operations; a GPU has streams, and other lines that repeat them.
        own = [line for line in lines if line.name == "XLA Ops"]
        lines = own or [line for line in lines if line.name.startswith("Stream")]
    for line in lines:
        yield from _without_inner(_operations(line.events, anything=bool(devices)))


def _operations(events: Iterable[Any], anything: bool) -> Iterator[tuple[str, float, float]]:
    """Yields operation, start and end of events in nanoseconds.

    Args:
      anything: whether an event without the name of an operation goes by its own, as that of a
        kernel.
    """
    for event in events:
        operation = dict(event.stats).get("hlo_op") or (event.name if anything else None)
        if operation:
            yield str(operation), event.start_ns, event.start_ns + event.duration_ns


def _without_inner(
    operations: Iterable[tuple[str, float, float]],
) -> Iterator[tuple[str, float]]:
    """Yields operations of one line with their own seconds; an outer one, a loop, begins first."""
    open_ones: list[list[Any]] = []
    for name, start, end in sorted(operations, key=lambda x: (x[1], -x[2])):
        while open_ones and open_ones[-1][1] <= start:
            yield open_ones[-1][0], open_ones.pop()[2] * 1e-9
        if open_ones:
            open_ones[-1][2] -= end - start
        open_ones.append([name, end, end - start])
    for name, _, own in open_ones:
        yield name, own * 1e-9
