"""The type of settings that come from a config or from an exported model."""

from typing import Any, Protocol


class Config(Protocol):
    """A block of settings with its fields as attributes: a ConfigDict, or exported settings."""

    def __getattr__(self, name: str) -> Any: ...

    def __getitem__(self, name: str) -> Any: ...
