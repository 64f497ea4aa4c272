"""The type of settings from a config or from an exported model."""

from typing import Any, Protocol


class Config(Protocol):
    """A block of settings with fields as attributes: a ConfigDict, or exported settings."""

    def __getattr__(self, name: str) -> Any: ...

    def __getitem__(self, name: str) -> Any: ...
