"""One configuration by hand, with a readable answer."""

from collections.abc import Sequence
from typing import Any

import typer
from rich.markup import escape
from rich.table import Table

from commands._console import console
from commands.call import call_of
from sparse_training.errors import BadInput
from wrappers import aclib

SETTINGS: dict[str, Any] = {
    "context_settings": {
        "allow_extra_args": True,
        "ignore_unknown_options": True,
        "help_option_names": [],
    }
}


def _by_scenario(words: Sequence[str]) -> aclib.Call | None:
    """The call that the words of 'sparse-aclib call' make, None if they name no scenario."""
    if "/" not in words[0] and len(words) > 1 and "--set" not in words:
        return None
    app = typer.Typer(add_completion=False)
    app.command(help="Evaluate a scenario's default configuration, with changes.")(call_of)
    made = typer.main.get_command(app).main(
        list(words), prog_name="sparse-aclib eval", standalone_mode=False
    )
    if isinstance(made, aclib.Call):
        return made
    raise typer.Exit  # the help has been shown


def command(context: typer.Context) -> None:
    """Evaluate one configuration: a scenario's default with changes, or a whole call.

    sparse-aclib eval mnist5k/rigl --set drop_fraction=0.2, or the words of ./wrappers/target.
    """
    from dataclasses import asdict

    from wrappers import call
    from wrappers.evaluator import Evaluator

    words = context.args
    if not words or ("/" not in words[0] and {"-h", "--help"} & set(words[:2])):
        print("A scenario's default with changes: sparse-aclib eval mnist5k/rigl --help")
        print(call.help_text(words).replace("./wrappers/target", "sparse-aclib eval"))
        return
    asked = _by_scenario(words) or aclib.parse(words)
    with Evaluator(1) as evaluator:
        result = call.evaluate(asked, lambda trial: evaluator.submit(trial).result())
    colour = "green" if result.status == "SUCCESS" else "red"
    table = Table(box=None, show_header=False)
    table.add_row("status", f"[{colour}]{result.status}")
    table.add_row("cost", f"{result.cost:.6g}  (1 - balanced accuracy on {asked.instance})")
    table.add_row("runtime", f"{result.runtime:.3f} s, peak memory {result.peak_memory:.0f} MiB")
    if result.trained is not None:
        trained = result.trained
        table.add_row(
            "active weights",
            f"{trained.active_weights} of {trained.weights} (density {trained.density:.4f})",
        )
        table.add_row(
            "FLOPs",
            f"training {trained.training_flops:.4g}, inference {trained.inference_flops:.4g} a row",
        )
        table.add_row("engine", trained.engine)
        for name, value in asdict(trained.misc).items():
            if value is not None:
                shown = f"{value:.6g}" if isinstance(value, float) else escape(str(value))
                table.add_row(name, shown)
    console.print(table)
    if result.error:
        failed = result.status != "SUCCESS"
        raise BadInput(f"{result.status}: {result.error}" if failed else result.error)
