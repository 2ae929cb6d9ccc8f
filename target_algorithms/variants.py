"""The target algorithms there are: every folder beside this file that holds an algorithm.py.

Standard library only: command lines and wrappers read parameter spaces without importing torch.
"""

import importlib
from pathlib import Path
from typing import TYPE_CHECKING

from target_algorithms.errors import BadInput

if TYPE_CHECKING:
    from collections.abc import Callable

    from target_algorithms.settings import Topology

FOLDER = Path(__file__).resolve().parent


def variants() -> tuple[str, ...]:
    """The names of all variants, sorted."""
    return tuple(sorted(file.parent.name for file in FOLDER.glob("*/algorithm.py")))


def variant_pcs(variant: str) -> tuple[Path, Path]:
    """The two files that make up the variant's parameter space: its own and the shared one.

    Raises BadInput for an unknown variant.
    """
    _known(variant)
    return FOLDER / variant / "params.pcs", FOLDER / "training.pcs"


def topology_of(variant: str) -> "Callable[..., Topology]":
    """The variant's `topology` function: its own parameters in, settings of the topology out.

    Raises BadInput for an unknown variant. Imports numpy, not torch.
    """
    _known(variant)
    function: Callable[..., Topology] = importlib.import_module(
        f"target_algorithms.{variant}.algorithm"
    ).topology
    return function


def _known(variant: str) -> None:
    if variant not in variants():
        raise BadInput(f"unknown variant {variant!r}: expected one of {', '.join(variants())}")
