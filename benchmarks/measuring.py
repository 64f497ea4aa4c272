"""Helpers of the benchmarks: seconds, memory, settings, functions in a process of their own."""

import argparse
import multiprocessing
import os
import pathlib
import time
from collections.abc import Callable
from typing import Any


def seconds_of(function: Callable, *arguments: Any) -> float:
    """Returns the seconds that a call takes."""
    begun = time.perf_counter()
    function(*arguments)
    return time.perf_counter() - begun


def cpu_seconds(process: int) -> float:
    """Returns the CPU seconds of user and system that a running process has taken."""
    fields = pathlib.Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    # Times are fields 14 and 15, and the third comes first here.
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory_field(path: str, name: str) -> int:
    """Returns the bytes in a field of a Linux file such as `/proc/self/status`."""
    lines = pathlib.Path(path).read_text().splitlines()
    return int(dict(line.split(":", 1) for line in lines)[name].split()[0]) * 1024


def peak_memory() -> float:
    """Returns the most memory that this process has had, in MB.

    The peak of `getrusage` includes the parent process that this one was forked from.
    """
    return memory_field("/proc/self/status", "VmHWM") / 2**20


def in_new_process(function: Callable, *arguments: Any) -> Any:
    """Returns the result of a call in a new process, as a process's peak memory never falls."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(function, arguments)


def setting(text: str) -> tuple[str, str]:
    """Returns name and value of NAME=VALUE."""
    name, separator, value = text.partition("=")
    if not separator:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    return name, value
