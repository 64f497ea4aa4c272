"""Settings of JAX, processes and data folders that all tests share."""

import gc
import multiprocessing
import os
import shutil
import signal
import tempfile
from concurrent.futures import ProcessPoolExecutor

import pytest

# JAX reads these variables when it is imported. What tests compile runs once or twice: optimizing
# it takes longer than it saves, and so does compiling it in parallel beside another worker.
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
os.environ.setdefault(
    "XLA_FLAGS",
    "--xla_cpu_opt_preset=CPU_OPT_PRESET_FAST_COMPILE"
    " --xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1",
)
# Tracing allocates so many objects that the default collects garbage for a third of its time.
gc.set_threshold(50_000, 20, 50)
# One cache of compiled functions for all workers and processes of a test run.
_NEW_CACHE = "JAX_COMPILATION_CACHE_DIR" not in os.environ
if _NEW_CACHE:
    os.environ["JAX_COMPILATION_CACHE_DIR"] = tempfile.mkdtemp(prefix="hero_jax-tests-")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
# A shell without job control starts background processes with SIGINT ignored, and programs that
# tests start and interrupt would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_unconfigure(config):
    """Deletes the cache; workers leave that to the process that started them."""
    del config
    if _NEW_CACHE:
        shutil.rmtree(os.environ["JAX_COMPILATION_CACHE_DIR"], ignore_errors=True)


# Files that take longest, which start first so that no worker ends long after the others.
LONGEST = ("tests/end_to_end/test_resume", "tests/end_to_end/test_downstream", "tests/golden")


def pytest_collection_modifyitems(items):
    """Puts the longest files first; skips tests marked `shared` if there is no shared data."""

    def rank(item):
        places = (n for n, name in enumerate(LONGEST) if item.nodeid.startswith(name))
        return next(places, len(LONGEST))

    items.sort(key=rank)
    if "HERO_SHARED" not in os.environ:
        for item in items:
            if item.get_closest_marker("shared"):
                item.add_marker(pytest.mark.skip(reason="HERO_SHARED is not set"))


def pytest_terminal_summary(terminalreporter):
    """Counts the tests that used the shared data, or could not."""

    def count(*outcomes):
        reports = [report for name in outcomes for report in terminalreporter.stats.get(name, ())]
        # A file that cannot be imported has a report without keywords.
        return len({r.nodeid for r in reports if "shared" in getattr(r, "keywords", ())})

    used, skipped = count("passed", "failed", "error"), count("skipped")
    if used:
        terminalreporter.write_line(f"{used} tests used HERO_SHARED")
    if skipped:
        terminalreporter.write_line(f"{skipped} tests skipped: HERO_SHARED is not set")


@pytest.fixture(scope="session")
def eight_devices():
    """Calls functions, by reference, in one process with eight virtual devices.

    A worker's tests share the process: importing JAX and TensorFlow takes longer than most calls.
    """
    flags = os.environ["XLA_FLAGS"]
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        os.environ["XLA_FLAGS"] = f"{flags} --xla_force_host_platform_device_count=8"
        try:
            # The first call starts the process, with the environment of this moment.
            pool.submit(os.getpid).result()
        finally:
            os.environ["XLA_FLAGS"] = flags
        yield lambda function, *arguments: pool.submit(function, *arguments).result()
