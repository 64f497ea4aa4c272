"""Parts of the search command that need packages of their own, imported when a command runs."""

import argparse
from types import ModuleType

from data.errors import InputError


def serve(options: argparse.Namespace) -> None:
    """Runs the command; raises InputError without the packages that it needs."""
    try:
        from hero_jax.search.server import opening
    except ModuleNotFoundError as error:
        raise InputError(
            f"nothing can be served without the package {error.name}: install "
            "requirements-inference.txt"
        ) from error
    opening.run(options)


def films() -> ModuleType:
    """Returns `hero_jax.search.films`; raises InputError without the packages that it needs."""
    try:
        from hero_jax.search import films as module
    except ModuleNotFoundError as error:
        raise InputError(
            f"films cannot be read without the package {error.name}: install what that needs with "
            "`pip install 'hero_jax[videos]'`, or -r requirements.txt"
        ) from error
    return module
