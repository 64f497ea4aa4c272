"""What lies in every folder and is nobody's data."""

# Names that Windows, macOS and network drives give to files and folders of their own.
_LEFTOVERS = frozenset(
    ["thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r", "__macosx", "@eadir", "$recycle.bin"]
)


def passed_over(name: str) -> bool:
    """Returns whether a file or folder is hidden, or a leftover of a system: never data."""
    return name.startswith(".") or name.lower() in _LEFTOVERS
