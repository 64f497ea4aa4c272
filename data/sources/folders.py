"""Names in a folder that no reader looks at: hidden files, and leftovers of the system."""

_LEFTOVERS = frozenset(
    (
        *("thumbs.db", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini", "icon\r"),
        *("__macosx", "$recycle.bin", "system volume information", "@eadir", "lost+found"),
    )
)


def passed_over(name: str) -> bool:
    """Returns whether a file or folder is hidden, or was left by macOS, Windows or a server."""
    return name.startswith(".") or name.lower() in _LEFTOVERS
