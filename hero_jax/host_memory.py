"""The C library's memory, for programs that compute on the CPU."""

import ctypes
import importlib.util
import sys

import jax

# Parameters of glibc's mallopt, from malloc.h.
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4
# The largest value of a parameter.
LARGEST = 2**31 - 1
# Memory is taken from the system by this many bytes at once.
TAKEN_AT_ONCE = 64 * 2**20
# Packages with which JAX computes on another device.
ACCELERATORS = ("libtpu", "jax_plugins")


def keep() -> None:
    """Makes the C library keep freed memory, instead of returning it to the system.

    XLA allocates the temporary arrays of a step, some 100 MB, anew in each step. By default the C
    library takes them from the system every time, which clears them page by page. Only the main
    thread's memory can grow by that much, so steps have to run in it. (One memory for all threads
    does as well, and makes compiling in threads take 1.5 times the CPU time.)

    This has to run before the first use of a device. It does nothing where JAX may find an
    accelerator, or without glibc.
    """
    if sys.platform != "linux" or any(installed(name) for name in ACCELERATORS):
        return
    # The program itself, with the libraries that are loaded.
    library = ctypes.CDLL(None)
    if not hasattr(library, "gnu_get_libc_version"):
        return
    for parameter, value in (
        (M_MMAP_MAX, 0),
        (M_TRIM_THRESHOLD, LARGEST),
        (M_TOP_PAD, TAKEN_AT_ONCE),
    ):
        library.mallopt(parameter, value)
    jax.config.update("jax_cpu_enable_async_dispatch", False)


def installed(package: str) -> bool:
    """Checks if a package can be imported, without importing it."""
    return importlib.util.find_spec(package) is not None
