"""What there is: scenarios, configurators."""

import itertools
import json
import os
from collections.abc import Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Annotated

import typer
from rich.columns import Columns
from rich.markup import escape
from rich.padding import Padding

from commands._console import console, say

if TYPE_CHECKING:
    from target_algorithms.contract import Options
    from wrappers.scenario import Scenario


def command(
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Show the scenarios, the configurators and whether they can run here."""
    from wrappers.configurators import configurators
    from wrappers.scenario import read, scenarios

    every = [read(folder) for folder in scenarios()]
    available = {name: each.missing or "available" for name, each in configurators().items()}
    if as_json:
        shown = {"scenarios": [_as_json(each) for each in every], "configurators": available}
        print(json.dumps(shown, indent=1))
        return
    for set_, of_set in itertools.groupby(every, key=lambda s: s.set):
        members = list(of_set)
        console.print(f"[bold]{escape(set_)}[/bold]")
        console.print(Padding(_terms(members), (0, 0, 0, 2)), markup=False, highlight=False)
        named = (f"{escape(s.variant.name)} [dim]{len(s.space.parameters)}[/dim]" for s in members)
        console.print(Padding(Columns(named, padding=(0, 3)), (0, 0, 1, 2)))
    console.print(
        "[dim]Behind a variant: how many parameters it has. A scenario is a set and a variant, "
        "mnist5k/rigl.[/dim]\n"
    )
    for name, state in available.items():
        say(f"configurator {name:15} {state}")


def _as_json(scenario: "Scenario") -> dict[str, object]:
    options = {
        field.name: getattr(scenario.options, field.name)
        for field in fields(scenario.options)
        if getattr(scenario.options, field.name) != field.default
    }
    return {
        "name": scenario.name,
        "path": os.path.relpath(scenario.folder),
        "parameters": len(scenario.space.parameters),
        "training_instances": len(scenario.training),
        "test_instances": len(scenario.test),
        "trials": scenario.runcount_limit,
        "cutoff": scenario.cutoff,
        "options": options,
    }


def _terms(members: "Sequence[Scenario]") -> str:
    """What the scenarios of a set have in common, in words."""
    shown = members[0]
    instances = f"{len(shown.training)} training and {len(shown.test)} test instances"
    return f"{instances}, {budgets(members)}"


def budgets(members: "Sequence[Scenario]") -> str:
    """What the scenarios of a set grant and which network they name, in words."""
    shown = max(members, key=lambda s: s.options.active_weights or s.options.density or 0)
    options = shown.options
    network = options.network or f"network {'-'.join(map(str, options.hidden or ()))}"
    return (
        f"{shown.runcount_limit:,} trials of {_training_budget(options)} each, "
        f"{_weights(options)}, {network}"
    )


def _weights(options: "Options") -> str:
    from target_algorithms.contract import spelled

    told = "all active weights"
    if options.active_weights is not None:
        told = f"{options.active_weights:,} active weights"
    elif options.density is not None:
        told = f"density {spelled(options.density)}"
    if options.peak_weights is not None:
        told += f" (at most {options.peak_weights:,} on the way)"
    elif options.peak is not None:
        told += f" (at most {spelled(options.peak)} times as many on the way)"
    return told


def _training_budget(options: "Options") -> str:
    if options.training_flops is not None:
        return f"{options.training_flops / 1e6:,.6g} MFLOPs"
    if options.static_samples is not None:
        return f"the FLOPs of {options.static_samples:,} static samples"
    return f"{options.training_samples:,} samples"
