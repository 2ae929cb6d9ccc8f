"""`sparse-aclib`: run scenarios with any configurator, validate, analyse, show."""

import os
import pkgutil
import signal
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Annotated, TypeGuard

import commands
from sparse_training.errors import BadInput, Busy
from wrappers.processes import isolate

if TYPE_CHECKING:
    import typer

PROGRAM = "sparse-aclib"


def build() -> "typer.Typer":
    """The command line, of the commands that there are."""
    import typer

    app = typer.Typer(
        no_args_is_help=True,
        invoke_without_command=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
        help="Algorithm configuration of sparse neural-network training: an AClib-style"
        " benchmark.\n\n"
        f"Start with '{PROGRAM} list', then '{PROGRAM} run scenarios/mnist5k/rigl'.",
    )

    @app.callback()
    def common(
        version: Annotated[
            bool, typer.Option("--version", is_eager=True, help="Show the version.")
        ] = False,
    ) -> None:
        if version:
            from wrappers.origin import product

            print(f"{PROGRAM} {product().version} ({product().commit or 'not a git checkout'})")
            raise typer.Exit

    for module in pkgutil.iter_modules(commands.__path__):
        if module.name.startswith("_"):
            continue
        loaded = import_module(f"commands.{module.name}")
        # A file may not be called by a word of Python's, nor with a dash.
        name = module.name.rstrip("_").replace("_", "-")
        if hasattr(loaded, "app"):
            app.add_typer(loaded.app, name=name)
        else:
            settings = getattr(loaded, "SETTINGS", {})
            app.command(name=name, **settings)(loaded.command)
    return app


def _check_each_once(words: Sequence[str]) -> None:
    """Raises BadInput for an option that is there twice: of two values, one would be lost."""
    names = [word.partition("=")[0] for word in words if word.startswith("--")]
    for name in names:
        if names.count(name) > 1 and name != "--set":
            raise BadInput(f"option {name} is given twice, expected it once")


def _of_a_file(error: Exception) -> TypeGuard[OSError]:
    return isinstance(error, OSError) and error.filename is not None and bool(error.strerror)


def main() -> None:
    """Runs the command line; whatever the user can mend ends in one line and status 2.

    Status 75 (try again later) where another process works on the same folder.
    """
    # A run must make the same choices in any process, or it can't go on where it was killed.
    isolate(["-m", "commands", *sys.argv[1:]])
    # Ended from outside, the processes that this one has started are ended too.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    try:
        _check_each_once(sys.argv[1:])
        try:
            build()(prog_name=PROGRAM)
        finally:
            sys.stdout.flush()
    except BrokenPipeError:  # who reads the output has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except (BadInput, OSError) as error:
        told = f"{error.filename}: {error.strerror}" if _of_a_file(error) else error
        print(f"{PROGRAM}: error: {told}", file=sys.stderr)
        sys.exit(os.EX_TEMPFAIL if isinstance(error, Busy) else 2)
    except SystemExit as end:
        if end.code == 130:  # what Typer makes of Ctrl-C
            print(f"{PROGRAM}: interrupted; the same command goes on", file=sys.stderr)
        raise


if __name__ == "__main__":
    main()
