"""One configuration by hand, with a readable answer."""

from typing import Any

import typer
from rich.markup import escape
from rich.table import Table

from commands._console import console
from sparse_training.errors import BadInput

SETTINGS: dict[str, Any] = {
    "context_settings": {
        "allow_extra_args": True,
        "ignore_unknown_options": True,
        "help_option_names": [],
    }
}


def command(context: typer.Context) -> None:
    """Evaluate one configuration; the words of ./wrappers/target, a readable answer."""
    from contextlib import closing
    from dataclasses import asdict

    from wrappers import aclib, call
    from wrappers.evaluator import WorkerProcess

    if not context.args or {"-h", "--help"} & set(context.args[:2]):
        print(call.help_text(context.args).replace("./wrappers/target", "sparse-aclib eval"))
        return
    asked = aclib.parse(context.args)
    with closing(WorkerProcess()) as worker:
        result = call.evaluate(asked, worker.run)
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
        raise BadInput(f"{result.status}: {result.error}")
