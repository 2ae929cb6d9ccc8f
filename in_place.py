"""The build backend: that of setuptools, for `pip install -e .` in the checkout and nothing else.

A wheel would lack the scenarios and the command that they call; this refuses one before pip
downloads anything for it.
"""

import sys
from typing import Any, NoReturn

from setuptools import build_meta

get_requires_for_build_editable = build_meta.get_requires_for_build_editable
prepare_metadata_for_build_editable = build_meta.prepare_metadata_for_build_editable


def build_editable(folder: str, settings: Any = None, metadata: str | None = None) -> str:
    """One that names the checkout as a folder to look in.

    setuptools' other kind is a finder, which every start of Python would import: 30 ms.
    """
    return build_meta.build_editable(
        folder, {**(settings or {}), "editable_mode": "compat"}, metadata
    )


def get_requires_for_build_wheel(*_: Any, **__: Any) -> NoReturn:
    """Say in one line how this suite is installed."""
    sys.exit(
        "sparse-aclib runs from its checkout, where scenarios/ and wrappers/target lie:"
        " use './run_all.sh setup', or 'pip install -e .' in the checkout"
    )


get_requires_for_build_sdist = build_wheel = build_sdist = get_requires_for_build_wheel
