"""The folder of the user's cache, and compiled programs that are kept in it."""

import errno
import os
import shutil
import sys
from pathlib import Path

from data.arguments import user_path

# The environment's variable for the folder.
CACHE = "HERO_JAX_CACHE"
# Bytes of compiled programs: those that were not used for longest are deleted beyond.
MAX_SIZE = 1 << 30
# Bytes that the disk has to have free, as JAX would warn of each program that it cannot write.
ROOM = 1 << 26
# Seconds to wait for another process that reads or writes.
LOCK_SECONDS = 10
# Seconds that compiling has to take for a program to be kept.
MIN_SECONDS = 0.1


def cache_folder() -> Path:
    """Returns the folder of the user's cache, which need not exist."""
    if folder := os.environ.get(CACHE):
        return user_path(folder, CACHE)
    caches = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return user_path(caches, "XDG_CACHE_HOME") / "hero_jax"


def keep_compiled() -> None:
    """Lets JAX keep what it compiles in the user's cache, and take it from there the next time.

    To be called before the first compilation. JAX's own variables go first:
    JAX_COMPILATION_CACHE_DIR for another folder, whose bounds are the user's affair, and
    JAX_ENABLE_COMPILATION_CACHE=0 to keep nothing. JAX locks the folder, so that processes share
    it. The key of a program has its code, the options, the versions, and the kind of device (of a
    CPU, the instructions that it knows).
    """
    import jax

    settings = jax.config.values
    if settings["jax_compilation_cache_dir"] or not settings["jax_enable_compilation_cache"]:
        return
    folder = cache_folder() / "compiled"
    try:
        # What is read from it is executed, so nobody else may write to it.
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if shutil.disk_usage(folder).free < ROOM:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        _delete_halves(folder)
    # A TimeoutError is an OSError; a disk without locks is NotImplementedError.
    except (OSError, NotImplementedError) as error:
        print(
            f"warning: compiled programs are not kept, because {folder} cannot be written to or "
            f"locked ({getattr(error, 'strerror', None) or error}): set {CACHE} to another folder",
            file=sys.stderr,
        )
        return
    jax.config.update("jax_compilation_cache_dir", str(folder))
    for name, value in (
        ("jax_compilation_cache_max_size", MAX_SIZE),
        ("jax_persistent_cache_min_compile_time_secs", MIN_SECONDS),
    ):
        if name.upper() not in os.environ:
            jax.config.update(name, value)


def _delete_halves(folder: Path) -> None:
    """Deletes programs that a killed process left half written, which JAX would stumble over.

    JAX writes the time of a program's last use after the program, under the same lock.
    """
    from filelock import FileLock

    # A process that holds the lock for longer has hung: every read and write would wait for it.
    with FileLock(folder / ".lockfile", timeout=LOCK_SECONDS):
        for program in folder.glob("*-cache"):
            if not program.with_name(f"{program.name.removesuffix('-cache')}-atime").exists():
                program.unlink()
