"""The machine: its memory, and a place for what is kept between runs. Standard library only."""

import os
from pathlib import Path


def memory() -> int:
    """Bytes of this machine's memory; more than there can be where it does not say."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError):
        return 1 << 60


def cache_directory() -> Path:
    """`sparse-aclib` in the user's cache directory; it need not exist.

    Raises RuntimeError where the user has no home and XDG_CACHE_HOME is not set.
    """
    cache = os.environ.get("XDG_CACHE_HOME")
    return (Path(cache) if cache else Path.home() / ".cache") / "sparse-aclib"
