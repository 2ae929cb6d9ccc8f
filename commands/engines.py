"""Build the truly sparse engine, and measure where it pays."""

import subprocess
import sys

import typer

from wrappers.processes import environment


def command() -> None:
    """Build the truly sparse engine and measure from which density on it is the faster one.

    Both engines train the same networks; trials use the faster one that can do what a configuration
    asks for. Once per machine; 'run_all.sh setup' does it. Takes about 20 seconds.
    """
    # In a process of its own: no command imports torch.
    words = [sys.executable, "-m", "sparse_training.crossover"]
    raise typer.Exit(subprocess.run(words, env=environment(), check=False).returncode)
