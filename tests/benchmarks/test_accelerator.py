"""The questions to an accelerator are asked of the CPU, at a tiny size."""

import re

import jax
import jax.numpy as jnp
import pytest

from benchmarks.accelerator import __main__ as command
from benchmarks.accelerator import attention
from benchmarks.accelerator.operations import largest_operations, operation_names
from hero_jax.models.ops import gelu


def test_largest_operations_are_named_by_the_code_that_they_come_from():
    def function(x):
        y = jax.lax.fori_loop(0, 20, lambda _, y: y @ x, x)
        return jnp.sum(gelu(y))

    x = jnp.full((256, 256), 1 / 256)
    compiled = jax.jit(function).lower(x).compile()
    compiled(x)
    items = largest_operations(compiled, lambda: compiled(x), 3)
    # The time of products is not that of the loop around them, too.
    assert items[0].name.startswith("dot_general, ")
    assert "test_accelerator.py" in items[0].name
    assert items[0].share > 0.5
    assert [item.seconds for item in items] == sorted((x.seconds for x in items), reverse=True)
    assert sum(item.share for item in items) <= 1 + 1e-9


def test_names_are_of_the_innermost_line_of_the_project():
    text = jax.jit(jax.grad(lambda x: jnp.sum(gelu(x)))).lower(jnp.ones(8)).compile().as_text()
    names = operation_names(text).values()
    assert any(re.fullmatch(r"erf, gelu \(ops.py:\d+\)", name) for name in names)
    assert any(re.fullmatch(r"mul backward, gelu \(ops.py:\d+\)", name) for name in names)


def test_attention_prints_what_runs_here_and_why_others_do_not(monkeypatch, capsys):
    monkeypatch.setattr(attention, "REPEATS", 1)
    attention.main(["--rows=1", "--dtype=float32"])
    _, _, ours, xla, *others = capsys.readouterr().out.splitlines()
    for line in (ours, xla):
        (far,) = re.findall(r"(\S+) from ours in float32", line)
        assert float(far) < 1e-5
    assert len(others) == 3
    assert all("left out: " in line for line in others)


def test_leaking_attention_is_far_from_ours():
    wanted, leaking = jnp.ones((2, 3)), jnp.array([[1.0, 1.0, 1.0], [1.0, 1.5, 1.0]])
    assert attention.distance((leaking,), (wanted,)) == pytest.approx(0.5)


@pytest.mark.slow
@pytest.mark.usefixtures("shallow")
def test_the_largest_batch_is_found_and_tasks_are_profiled_on_it(capsys):
    small = ["--small", "--dtype=float32", "--clips=2", "--steps=1", "--at_most=1"]
    command.main([*small, "--only", "largest", "tasks"])
    out = capsys.readouterr().out
    assert re.search(r"^packed +vsm +2 ", out, re.MULTILINE)
    for task in ("mlm", "mfm_nce", "fom", "vsm"):
        profiled = rf"^packed +{task} +2 .*\n(?: +\S+% .*\n){{10}}"
        assert len(re.findall(profiled, out, re.MULTILINE)) == 1
