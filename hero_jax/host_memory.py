"""The C library's memory, for programs that compute on the CPU."""

import ctypes
import importlib.util
import sys

# Parameters of glibc's mallopt, from malloc.h.
M_MXFAST, M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX, M_ARENA_MAX = 1, -1, -2, -4, -8
# The largest value of a parameter.
LARGEST = 2**31 - 1
# Memory is taken from the system by this many bytes at once.
TAKEN_AT_ONCE = 64 * 2**20
# Packages with which JAX computes on another device.
ACCELERATORS = ("libtpu", "jax_plugins")


def keep() -> None:
    """Makes the C library keep freed memory, instead of returning it to the system.

    XLA allocates the temporary arrays of a step, some 100 MB, anew in each step. By default the C
    library takes them from the system every time, which clears them page by page. This has to run
    before JAX starts its threads, that is before its first use of a device: they would have memory
    of their own, which cannot be that large. It does nothing where JAX may find an accelerator, or
    without glibc.
    """
    if sys.platform != "linux" or any(installed(name) for name in ACCELERATORS):
        return
    # The program itself, with the libraries that are loaded.
    library = ctypes.CDLL(None)
    if not hasattr(library, "gnu_get_libc_version"):
        return
    for parameter, value in (
        (M_ARENA_MAX, 1),
        (M_MMAP_MAX, 0),
        (M_TRIM_THRESHOLD, LARGEST),
        (M_TOP_PAD, TAKEN_AT_ONCE),
        # Without bins that are emptied whenever a large array is freed.
        (M_MXFAST, 0),
    ):
        library.mallopt(parameter, value)


def installed(package: str) -> bool:
    """Checks if a package can be imported, without importing it."""
    return importlib.util.find_spec(package) is not None
