"""Tests of the C library's settings, by the page faults of a program of its own."""

import ctypes
import subprocess
import sys

import pytest

from hero_jax.host_memory import ACCELERATORS, installed

# The temporary array has 100 MB, or 24,400 pages.
PROGRAM = """
import resource, sys
import jax, jax.numpy as jnp
from hero_jax import host_memory

@jax.jit
def step(x):
    products = jax.lax.optimization_barrier(x[:, None] * x)
    return products.sum(0) + products.sum(1)

if sys.argv[1] == "keep":
    host_memory.keep()
for number in range(6):
    if number == 3:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    jax.block_until_ready(step(jnp.ones(5_000)))
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(mode):
    """Returns the page faults of three steps."""
    command = [sys.executable, "-c", PROGRAM, mode]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


@pytest.mark.skipif(
    sys.platform != "linux" or not hasattr(ctypes.CDLL(None), "gnu_get_libc_version"),
    reason="another C library than glibc",
)
@pytest.mark.skipif(any(map(installed, ACCELERATORS)), reason="JAX may find an accelerator")
def test_a_step_finds_the_memory_that_the_last_one_freed():
    assert faults("keep") < 3_000
    assert faults("leave") > 30_000
