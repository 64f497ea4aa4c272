"""The user's cache keeps what was compiled, and a program from it computes the same bits."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
from filelock import FileLock

from hero_jax.cache import cache_folder

PROGRAM = """
import jax, jax.numpy as jnp
from hero_jax.cache import keep_compiled
keep_compiled()
step = jax.jit(lambda x, y: (x - 0.1 * jnp.tanh(x @ y), (x * y).sum()), donate_argnums=0)
x, y = jax.random.normal(jax.random.key(0), (2, 64, 64))
for _ in range(3):
    x, loss = step(x, y)
print(float(loss).hex(), float(x.sum()).hex())
"""


@pytest.fixture
def run(tmp_path):
    """Runs a program with a cache of its own; returns what it printed."""

    def run(program=PROGRAM, **variables):
        environment = {k: v for k, v in os.environ.items() if "COMPILATION_CACHE" not in k}
        environment |= {"HERO_JAX_CACHE": str(tmp_path / "cache"), **variables}
        done = subprocess.run(
            [sys.executable, "-c", program], env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return done

    return run


def programs(folder):
    return {path.name: path.stat().st_mtime_ns for path in folder.glob("*-cache")}


def test_programs_are_kept(run, tmp_path):
    folder = tmp_path / "cache/compiled"
    first = run()
    kept = programs(folder)
    assert any("lambda" in name for name in kept)
    # As if the process had been killed while it wrote this one.
    half = next(name for name in kept if "lambda" in name)
    (folder / half).write_bytes(b"half")
    (folder / f"{half.removesuffix('-cache')}-atime").unlink()
    again = run()
    mended = programs(folder)
    assert mended.keys() == kept.keys()
    assert {name for name in kept if mended[name] != kept[name]} == {half}
    assert (folder / half).stat().st_size > 100
    last = run()
    assert programs(folder) == mended
    assert first.stdout == again.stdout == last.stdout
    assert "warning" not in (first.stderr + again.stderr + last.stderr).lower()


def test_the_bound(run, tmp_path):
    run(JAX_COMPILATION_CACHE_MAX_SIZE="20000")
    sizes = [path.stat().st_size for path in (tmp_path / "cache/compiled").glob("*-cache")]
    assert 0 < sum(sizes) <= 20000


def test_variables_of_jax_go_first(run, tmp_path):
    run(JAX_COMPILATION_CACHE_DIR=str(tmp_path / "mine"))
    assert programs(tmp_path / "mine")
    run(JAX_ENABLE_COMPILATION_CACHE="0")
    assert not (tmp_path / "cache").exists()


def test_a_folder_that_cannot_be_written(run, tmp_path):
    (tmp_path / "file").touch()
    done = run(HERO_JAX_CACHE=str(tmp_path / "file/cache"))
    assert "warning: compiled programs are not kept" in done.stderr
    assert done.stdout


def test_a_full_disk(run, tmp_path):
    done = run("import hero_jax.cache as cache; cache.ROOM = 1 << 62\n" + PROGRAM)
    (line,) = done.stderr.splitlines()
    assert line.startswith("warning: compiled programs are not kept")
    assert "(No space left on device)" in line
    assert done.stdout
    assert not programs(tmp_path / "cache/compiled")


def test_a_lock_that_is_held(run, tmp_path):
    folder = tmp_path / "cache/compiled"
    folder.mkdir(parents=True)
    with FileLock(folder / ".lockfile"):
        done = run("import hero_jax.cache as cache; cache.LOCK_SECONDS = 0.1\n" + PROGRAM)
    assert "warning: compiled programs are not kept" in done.stderr
    assert done.stdout
    assert not programs(folder)
    # What a process that was killed leaves is no lock.
    assert "warning" not in run().stderr
    assert programs(folder)


def test_processes_share_the_folder(run, tmp_path):
    with ThreadPoolExecutor() as pool:
        done = list(pool.map(lambda _: run(), range(3)))
    assert len({one.stdout for one in done}) == 1
    assert "warning" not in "".join(one.stderr for one in done).lower()
    kept = programs(tmp_path / "cache/compiled")
    assert run().stdout == done[0].stdout
    assert programs(tmp_path / "cache/compiled") == kept


def test_the_cache_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("HERO_JAX_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert cache_folder() == tmp_path / ".cache/hero_jax"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg/hero_jax"
    monkeypatch.setenv("HERO_JAX_CACHE", "~/mine")
    assert cache_folder() == tmp_path / "mine"
