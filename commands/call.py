"""A call of a target algorithm that works, for one configuration of a scenario."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from commands._console import number, say
from sparse_training.errors import BadInput
from target_algorithms.contract import check_fidelity
from wrappers.aclib import Call

if TYPE_CHECKING:
    from wrappers.scenario import Scenario

ScenarioArgument = Annotated[str, typer.Argument(help="E.g. mnist5k/rigl, or its folder.")]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="Change a parameter; may be repeated."),
]
InstanceOption = Annotated[
    str | None, typer.Option(help="The scenario's first training instance if left out.")
]
SeedOption = Annotated[int, number("Of the trial.", least=0, most=2**32 - 1)]
FidelityOption = Annotated[
    float, typer.Option(help="Share of the training budget, above 0 and at most 1.")
]


def command(
    scenario: ScenarioArgument,
    changes: SetOption = None,
    instance: InstanceOption = None,
    seed: SeedOption = 1,
    fidelity: FidelityOption = 1.0,
) -> None:
    """Print a call that works: a scenario's default configuration, with changes.

    It is called from the folder that holds scenarios/. 'sparse-aclib eval' takes the same words,
    and evaluates it.
    """
    from wrappers.scenario import read
    from wrappers.space import number_text

    chosen = read(scenario)
    asked = _call(chosen, changes, instance, seed, fidelity)
    share = f" --fidelity {number_text(fidelity)}" if fidelity != 1 else ""
    words = [f"-{name} {value}" for name, value in asked.config.items()]
    say(
        f"{chosen.algo} --instance {asked.instance} --cutoff {number_text(asked.cutoff)}"
        f" --seed {asked.seed}{share} --config {' '.join(words)}"
    )


def call_of(
    scenario: ScenarioArgument,
    changes: SetOption = None,
    instance: InstanceOption = None,
    seed: SeedOption = 1,
    fidelity: FidelityOption = 1.0,
) -> Call:
    """The call for a scenario's default configuration with changes. Raises BadInput."""
    from wrappers.scenario import read

    return _call(read(scenario), changes, instance, seed, fidelity)


def _call(
    chosen: "Scenario",
    changes: Sequence[str] | None,
    instance: str | None,
    seed: int,
    fidelity: float,
) -> Call:
    from wrappers.space import number_text

    check_fidelity(fidelity)

    changed: dict[str, str] = {}
    for change in changes or ():
        name, equals, value = change.partition("=")
        if not equals or name in changed:
            raise BadInput(f"--set {change!r}: expected NAME=VALUE, each name once")
        changed[name] = value
    config = chosen.space.changed(changed)
    return Call(
        variant=chosen.variant.name,
        options=chosen.options.words,
        instance=instance or chosen.training[0],
        cutoff=chosen.cutoff,
        seed=seed,
        config={
            name: value if isinstance(value, str) else number_text(value)
            for name, value in config.items()
        },
        named=True,
        fidelity=fidelity,
    )
