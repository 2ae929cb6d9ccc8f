"""Refuses to make a wheel: this suite is run from its checkout."""

import sys

from setuptools import setup
from setuptools.command.bdist_wheel import bdist_wheel


class Refused(bdist_wheel):
    """A wheel would lack scenarios, kernels and the commands that scenarios name."""

    def run(self) -> None:
        sys.exit(
            "sparse-aclib runs from its checkout, where scenarios, kernels and wrappers/target lie:"
            " use './run_all.sh setup', or 'pip install -e .' in the checkout"
        )


setup(cmdclass={"bdist_wheel": Refused})
