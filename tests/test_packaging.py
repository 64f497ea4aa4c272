"""The metadata of the package agrees with the files of requirements and with the code."""

import importlib
import re
import tomllib

import hero_jax
from tests.paths import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def required(file: str) -> dict[str, str]:
    """Returns the version, '' for none, of each package that a file of requirements names."""
    lines = (ROOT / file).read_text().splitlines()
    names = [re.match(r"([\w.-]+)(?:==([\w.]+))?", line) for line in lines]
    return {name[1]: name[2] or "" for name in names if name and not name[0].startswith("-")}


def package(requirement: str) -> str:
    return re.match(r"[\w.-]+", requirement)[0]


def test_dependencies_are_those_of_inference():
    assert {*map(package, PROJECT["dependencies"])} == required("requirements-inference.txt").keys()


def test_everything_together_is_what_is_pinned():
    extras = PROJECT["optional-dependencies"]
    named = [*PROJECT["dependencies"], *extras["train"], *extras["videos"], *extras["dev"]]
    assert {*map(package, named)} == required("requirements.txt").keys()


def test_commands_are_functions():
    for target in PROJECT["scripts"].values():
        module, _, function = target.partition(":")
        if module == "main":
            # It defines flags, which a process can do once.
            assert f"\ndef {function}(" in (ROOT / "main.py").read_text()
        else:
            assert callable(getattr(importlib.import_module(module), function))


def test_every_hook_runs_the_pinned_version():
    pinned = required("requirements.txt")["ruff"]
    assert f"rev: v{pinned}\n" in (ROOT / ".pre-commit-config.yaml").read_text()


def test_the_code_has_the_version():
    assert hero_jax.__version__ == PROJECT["version"]


def test_the_citation_has_the_version():
    assert f"version: {PROJECT['version']}\n" in (ROOT / "CITATION.cff").read_text()
