"""Checks of a finished dataset; the command is `python -m data.validate`."""

from data.validate.checks import Validation, validate

__all__ = ["Validation", "validate"]
