"""Reads the text of a compiled program: its collectives, and its compiler's cycles by kind."""

import collections
import dataclasses
import math
import re
from collections.abc import Iterator

BYTES = {"pred": 1, "s8": 1, "u8": 1, "bf16": 2, "f16": 2, "s16": 2, "u16": 2}
BYTES |= {"f32": 4, "s32": 4, "u32": 4, "f64": 8, "s64": 8, "u64": 8}
COLLECTIVES = ("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-permute")

# Kinds of work: the first whose functions appear among those that an operation was written in.
KINDS = (
    ("heads", r"sum_over_selected|\w+Head\.__call__|contrast|ranking_losses|cross_entropy"),
    ("dense products", r"Linear\.__call__"),
    ("attention", r"Attention\.__call__|same_segment"),
    ("norms and dropout", r"LayerNorm\.__call__|dropout|gelu"),
    ("embeddings, frames", r"\w+Embedding\.\w+|\w+Encoder\.__call__|HERO\.\w+|permute_entries"),
    ("update", r".*update.*|\w*norm\w*|change|apply_updates|.*\.step"),
)
ARRAY = re.compile(r"\b(pred|[a-z]+\d+)\[([\d,]*)\]")
INSTRUCTION = re.compile(r"\s+(?:ROOT )?%?([\w.\-]+) = (.*?\S) ([a-z][a-z0-9\-]*)\((.*)")


@dataclasses.dataclass(frozen=True)
class Collective:
    """One collective operation.

    Attributes:
      kind: one of COLLECTIVES.
      arrays: dtype and shape of each array of its result.
      times: how often an update runs it.
      function: the operation in the model that it comes from.
      overlaps: whether it is started apart from its end, or fused with other work.
    """

    kind: str
    arrays: tuple[tuple[str, tuple[int, ...]], ...]
    times: int
    function: str
    overlaps: bool

    @property
    def bytes(self) -> int:
        """Bytes of its results in one update."""
        sizes = (BYTES[dtype] * math.prod(shape) for dtype, shape in self.arrays)
        return self.times * sum(sizes)


class Compiled:
    """A compiled program's text, read."""

    def __init__(self, text: str):
        """Reads the text of `jax.stages.Compiled.as_text()`."""
        self._bodies: dict[str, list[str]] = {}
        self._functions = _stack_functions(text)
        name = ""
        for line in text.splitlines():
            if line[:1] in ("%", "E") and line.endswith("{"):
                name = line.split()[1 if line.startswith("ENTRY") else 0].lstrip("%")
                self._bodies[name] = []
                if line.startswith("ENTRY"):
                    self.entry = name
            elif line.startswith("  ") and name:
                self._bodies[name].append(line)
        # Loops of a number of rounds that only the device knows.
        self.open_loops = 0

    def operations(self) -> Iterator[tuple[str, int]]:
        """Yields each operation's line and how often an update runs it.

        Loops of an open number of rounds do not run: those here take what the first chunk of a
        head left, which is nothing with the published masks.
        """
        self.open_loops = 0
        yield from self._inside(self.entry, 1)

    def _inside(self, name: str, times: int) -> Iterator[tuple[str, int]]:
        for line in self._bodies[name]:
            yield line, times
            if match := re.search(r" while\(.*condition=%?([\w.\-]+), body=%?([\w.\-]+)", line):
                rounds = self._rounds(line, match[1])
                self.open_loops += rounds is None
                if rounds:
                    yield from self._inside(match[2], times * rounds)
            elif match := re.search(
                r" (?:call|async-start)\(.*(?:to_apply|calls)=%?([\w.\-]+)", line
            ):
                yield from self._inside(match[1], times)
            elif match := re.search(r"branch_computations=\{([^}]*)\}", line):
                # One branch runs; the first stands for all.
                yield from self._inside(match[1].split(",")[0].strip().lstrip("%"), times)

    def _rounds(self, line: str, condition: str) -> int | None:
        known = re.search(r'known_trip_count":?\{"n":"(\d+)"', line)
        if known:
            return int(known[1])
        body = self._bodies[condition]
        text = "\n".join(body)
        for called in re.findall(r"calls=%?([\w.\-]+)", text):
            text += "\n".join(self._bodies[called])
        limits = re.findall(r"= s32\[\][^=]* constant\((\d+)\)", text)
        return int(limits[0]) if len(limits) == 1 and "direction=LT" in text else None

    def functions(self, line: str) -> list[str]:
        """Returns the Python functions that an operation was written in, innermost first."""
        match = re.search(r"stack_frame_id=(\d+)", line)
        return self._functions.get(int(match[1]), []) if match else []

    def kind(self, line: str) -> str:
        """Returns the kind of work of an operation."""
        functions = self.functions(line)
        short = [name.removesuffix(">").split("<locals>.")[-1] for name in functions]
        whole = [part for name in functions for part in name.split(".<locals>.")]
        for kind, pattern in KINDS:
            if any(re.fullmatch(pattern, name) for name in (*short, *whole)):
                return kind
        return "copies, others"

    def cycles(self) -> dict[str, int]:
        """Returns the compiler's estimate of cycles by kind of work."""
        total: collections.Counter[str] = collections.Counter()
        for line, times in self.operations():
            if match := re.search(r'"estimated_cycles":"(\d+)"', line):
                total[self.kind(line)] += times * int(match[1])
        return dict(total)

    def largest(self, count: int) -> list[tuple[int, int, str, str]]:
        """Returns the operations of most cycles: cycles, times, kind and what they compute."""
        rows = []
        for line, times in self.operations():
            if match := re.search(r'"estimated_cycles":"(\d+)"', line):
                name = re.search(r'op_name="([^"]*)"', line)
                where = " < ".join(f.split(".<locals>")[0] for f in self.functions(line)[:3])
                what = f"{name[1].rsplit('/', 1)[-1] if name else line.split()[0]} {where}"
                rows.append((times * int(match[1]), times, self.kind(line), what))
        return sorted(rows, reverse=True)[:count]

    def collectives(self) -> list[Collective]:
        """Returns the collective operations of an update, those inside of fusions too."""
        found: dict[str, Collective] = {}
        for line, times in self.operations():
            called = re.search(r" fusion\(.*calls=%?([\w.\-]+)", line)
            for inner in self._bodies.get(called[1], []) if called else [line]:
                if one := _collective(inner, times, fused=bool(called)):
                    # A collective that is split among fusions has one channel in all of them. In
                    # other places, several have the same.
                    channel = re.search(r"channel_id=(\d+)", inner) if called else None
                    found.setdefault(channel[1] if channel else inner, one)
        return list(found.values())


def _collective(line: str, times: int, fused: bool) -> Collective | None:
    match = INSTRUCTION.match(line)
    if not match or match[3].removesuffix("-start") not in COLLECTIVES:
        return None
    kind, started = match[3].removesuffix("-start"), match[3].endswith("-start")
    arrays = ARRAY.findall(match[2])
    if started and kind in ("all-gather", "collective-permute"):
        # Its operands come before its results.
        arrays = arrays[len(arrays) // 2 :]
    shapes = tuple((dtype, tuple(int(n) for n in sizes.split(",") if n)) for dtype, sizes in arrays)
    name = re.search(r'op_name="([^"]*)"', line)
    return Collective(kind, shapes, times, name[1] if name else "", started or fused)


def _stack_functions(text: str) -> dict[int, list[str]]:
    """Returns the functions of each stack frame of the text, innermost first."""

    def table(title: str) -> dict[int, str]:
        match = re.search(rf"^{title}\n((?:\d+ .*\n)*)", text, re.MULTILINE)
        rows = (line.split(" ", 1) for line in match[1].splitlines()) if match else ()
        return {int(number): row for number, row in rows}

    def field(row: str, name: str) -> int:
        match = re.search(rf"{name}=(\d+)", row)
        return int(match[1]) if match else 0

    names = {number: row.strip('"') for number, row in table("FunctionNames").items()}
    places = {
        number: names.get(field(row, "function_name_id"), "")
        for number, row in table("FileLocations").items()
    }
    frames = table("StackFrames")
    functions: dict[int, list[str]] = {}
    for number, row in frames.items():
        # Numbers of parents are one higher than those of the frames.
        parent = field(row, "parent_frame_id") - 1
        own = places.get(field(row, "file_location_id"), "")
        functions[number] = [own, *functions.get(parent, [])]
    return functions
