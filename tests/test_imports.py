"""Which way imports run, read from the sources: nothing is imported."""

import ast
import dataclasses
import importlib.util
import pathlib

import pytest

ROOT = pathlib.Path(__file__).parents[1]
OURS = ("main", "configs", "data", "hero_jax", "benchmarks", "tests")
# PyTorch wrote the files that tests of its formats read; this is how, and no test runs it.
EXCEPT = ("tests.testdata.torch.make",)
MODEL = ("hero_jax.model", "hero_jax.heads", "hero_jax.losses")
TASK_NAMES = (
    *("captioning", "fom", "inference", "mfm", "mlm", "moment_retrieval", "question_answering"),
    *("video_retrieval", "vsm"),
)
TASKS = tuple(f"hero_jax.tasks.{name}" for name in TASK_NAMES)
STEP = ("hero_jax.step", "hero_jax.train", "hero_jax.evaluate", "main")


@dataclasses.dataclass(frozen=True)
class Rule:
    """What modules never import, or what alone they do: themselves or by way of others of ours.

    A name stands for all below it, too.
    """

    modules: tuple[str, ...]
    never: tuple[str, ...] = ()
    only: tuple[str, ...] = ()


RULES = {
    "data": Rule(("data",), never=("jax", "jaxlib", "flax", "optax", "orbax", "hero_jax")),
    "no_tensorflow": Rule(
        (*MODEL, "hero_jax.layers", "hero_jax.draws", "hero_jax.task", "hero_jax.tasks"),
        never=("tensorflow", "tensorflow_datasets"),
    ),
    "layers": Rule(
        ("hero_jax.layers",),
        never=(*MODEL, "hero_jax.draws", "hero_jax.task", "hero_jax.tasks", *STEP),
    ),
    "model": Rule(MODEL, never=("hero_jax.tasks", *STEP)),
    "heads": Rule(("hero_jax.heads",), never=("hero_jax.model",)),
    "tasks": Rule(("hero_jax.tasks",), never=STEP),
    "siblings": Rule(TASKS, never=("hero_jax.tasks",)),
    "main": Rule(("configs", "data", "hero_jax"), never=("main",)),
    "configs": Rule(("configs",), only=("configs", "ml_collections")),
    "inference": Rule(
        ("hero_jax.inference", "hero_jax.index", "hero_jax.compiled", "hero_jax.search_page"),
        never=(
            *("tensorflow", "tensorflow_datasets", "ml_collections", "orbax", "optax", "configs"),
            *(*STEP, "hero_jax.optimizer", "hero_jax.feed", "hero_jax.export"),
        ),
    ),
    "no_torch": Rule(OURS, never=("torch",)),
}


def read_sources() -> dict[str, str]:
    """Our sources by module."""
    sources = {}
    for name in OURS:
        for path in [ROOT / f"{name}.py", *(ROOT / name).rglob("*.py")]:
            if path.exists():
                parts = path.relative_to(ROOT).with_suffix("").parts
                module = ".".join(parts).removesuffix(".__init__")
                if module not in EXCEPT:
                    sources[module] = path.read_text()
    return sources


SOURCES = read_sources()


def below(name, names) -> bool:
    """Whether a module is one of these or in one of them."""
    return any(name == one or name.startswith(one + ".") for one in names)


def imported(module, sources) -> set[str]:
    """What a module imports, in functions too; with `a.b` also `a`, which Python runs first."""
    is_package = any(name.startswith(module + ".") for name in sources)
    package = module if is_package else module.rpartition(".")[0]
    found = set()
    for node in ast.walk(ast.parse(sources[module])):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            origin = importlib.util.resolve_name("." * node.level + (node.module or ""), package)
            # What is taken from there may be a module as well.
            found |= {f"{origin}.{alias.name}" for alias in node.names}
    parts = [name.split(".") for name in found]
    return {".".join(part[:n]) for part in parts for n in range(1, len(part) + 1)}


def violations(rule, sources) -> list[str]:
    """`module -> import` of everything that the rule's modules reach and may not."""
    waiting = [name for name in sources if below(name, rule.modules)]
    found, seen = [], set(waiting)
    while waiting:
        module = waiting.pop()
        for name in sorted(imported(module, sources)):
            if below(name, rule.never) or (rule.only and not below(name, rule.only)):
                found.append(f"{module} -> {name}")
            elif name in sources and name not in seen:
                seen.add(name)
                waiting.append(name)
    return found


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_imports_run_one_way(rule):
    assert violations(rule, SOURCES) == []


def test_rules_are_about_the_modules_there_are():
    for rule in RULES.values():
        for name in (*rule.modules, *rule.never):
            if below(name, OURS):
                assert any(below(module, [name]) for module in SOURCES), name
    assert set(TASKS) == {name for name in SOURCES if name.startswith("hero_jax.tasks.")}


VIOLATIONS = [
    ("data", "data.raw", "import jax.numpy as jnp", "data.raw -> jax.numpy"),
    ("data", "data.raw", "def f():\n    from hero_jax import task", "data.raw -> hero_jax.task"),
    ("no_tensorflow", "hero_jax.draws", "import tensorflow as tf", "hero_jax.draws -> tensorflow"),
    # Two modules away.
    ("no_tensorflow", "hero_jax.task", "from data import pipeline", "data.pipeline -> tensorflow"),
    ("layers", "hero_jax.layers", "from . import losses", "hero_jax.layers -> hero_jax.losses"),
    ("model", "hero_jax.heads", "import hero_jax.train", "hero_jax.heads -> hero_jax.train"),
    ("heads", "hero_jax.heads", "from .model import HERO", "hero_jax.heads -> hero_jax.model"),
    ("tasks", "hero_jax.tasks", "from ..step import Program", "hero_jax.tasks -> hero_jax.step"),
    ("tasks", "hero_jax.draws", "from hero_jax import step", "hero_jax.draws -> hero_jax.step"),
    ("siblings", TASKS[0], "from .mlm import Task", f"{TASKS[0]} -> hero_jax.tasks.mlm"),
    ("main", "hero_jax.feed", "import main", "hero_jax.feed -> main"),
    ("configs", "configs.pretrain", "from data import packing", "configs.pretrain -> data.packing"),
    ("no_torch", "tests.golden.report", "import torch.nn", "tests.golden.report -> torch"),
]


@pytest.mark.parametrize(("rule", "module", "line", "violation"), VIOLATIONS)
def test_a_violation_is_found(rule, module, line, violation):
    sources = SOURCES | {module: f"{SOURCES[module]}\n{line}\n"}
    assert violation in violations(RULES[rule], sources)
