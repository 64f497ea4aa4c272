"""Public functions and methods of the product are annotated."""

import ast
from collections.abc import Iterator

import pytest

from tests.paths import ROOT

FILES = sorted(path for folder in ("hero_jax", "data") for path in (ROOT / folder).rglob("*.py"))
# Their return type is always None.
WITHOUT_RETURN_TYPE = ("__init__", "__post_init__")

Function = ast.FunctionDef | ast.AsyncFunctionDef


def public_functions(tree: ast.Module) -> Iterator[Function]:
    """Yields the public functions of a module and the public methods of its classes."""
    bodies: list[list[ast.stmt]] = [tree.body]
    while bodies:
        for node in bodies.pop():
            if isinstance(node, ast.ClassDef | ast.If | ast.Try):
                bodies.append(node.body)
            elif isinstance(node, Function) and is_public(node.name):
                yield node


def is_public(name: str) -> bool:
    special = name.startswith("__") and name.endswith("__")
    return special or not name.startswith("_")


def unannotated(function: Function) -> list[str]:
    """Returns the public parameters of a function without a type, and 'return' if it lacks one."""
    arguments = function.args
    parameters = [*arguments.posonlyargs, *arguments.args]
    static = any(
        isinstance(d, ast.Name) and d.id == "staticmethod" for d in function.decorator_list
    )
    if parameters and not static and parameters[0].arg in ("self", "cls"):
        del parameters[0]
    parameters += [*arguments.kwonlyargs, *filter(None, [arguments.vararg, arguments.kwarg])]
    names = [p.arg for p in parameters if p.annotation is None and not p.arg.startswith("_")]
    if function.returns is None and function.name not in WITHOUT_RETURN_TYPE:
        names.append("return")
    return names


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_public_functions_are_annotated(path):
    missing = {
        f"{function.name}:{function.lineno}": names
        for function in public_functions(ast.parse(path.read_text()))
        if (names := unannotated(function))
    }
    assert not missing
