"""When a claim is confirmed, refuted or undecided, and that every claim can be put to the test."""

import math
from dataclasses import astuple, replace

import pandas as pd
import pytest

from benchmarks.claims import (
    CLAIMS,
    RECIPES,
    Arm,
    Claim,
    Difference,
    Verdict,
    differences,
    run,
    table,
    topology,
    verdict,
)

CONFIRMED, REFUTED, UNDERPOWERED = Verdict.CONFIRMED, Verdict.REFUTED, Verdict.UNDERPOWERED
ARM, ONE, OTHER = (Arm(method=f"static first_layer={n}", density=0.1) for n in ("a", "b", "c"))
CLAIM = Claim(statement="A wins", source="us", arm=ARM, rivals=(ONE,), at_least=0.0, seeds=3)


def runs_of(**accuracies: list[float]) -> pd.DataFrame:
    """A run a number, a seed each from 0, which took two seconds."""
    rows = [
        (*astuple(Arm(method=f"static first_layer={name}", density=0.1)), seed, accuracy, 2.0)
        for name, own in accuracies.items()
        for seed, accuracy in enumerate(own)
    ]
    names = ["method", "density", "budget", "network", "seed", "accuracy", "cpu_seconds"]
    return pd.DataFrame(rows, columns=names)


@pytest.mark.parametrize(
    ("mean", "half", "at_least", "at_most", "expected"),
    [
        (0.01, 0.005, 0.0, math.inf, CONFIRMED),  # better: all of .005 to .015 is above 0
        (-0.01, 0.005, 0.0, math.inf, REFUTED),
        (0.01, 0.02, 0.0, math.inf, UNDERPOWERED),  # above, but the interval has 0 in it
        (-0.003, 0.001, -0.005, math.inf, CONFIRMED),  # worse, and by less than the margin
        (-0.003, 0.001, 0.0, math.inf, REFUTED),  # the same is not better
        (-0.007, 0.001, -0.005, math.inf, REFUTED),
        (0.01, 0.001, -math.inf, 0.0, REFUTED),
        (-0.01, 0.001, -math.inf, 0.0, CONFIRMED),
        (0.0, 0.004, -0.005, 0.005, CONFIRMED),  # the same: the interval lies in the margin
        (0.0, 0.006, -0.005, 0.005, UNDERPOWERED),  # a wide interval around 0 shows nothing
        (0.02, 0.006, -0.005, 0.005, REFUTED),
        (0.01, math.nan, 0.0, math.inf, UNDERPOWERED),  # a single seed
        (0.0, 0.0, -0.005, 0.005, CONFIRMED),
    ],
)
def test_a_difference_is_judged_by_where_its_interval_lies(
    mean: float, half: float, at_least: float, at_most: float, expected: Verdict
) -> None:
    assert Difference(mean, half).verdict(at_least, at_most) is expected


@pytest.mark.parametrize(
    ("means", "expected"),
    [
        ([0.1, 0.1], CONFIRMED),
        ([0.1, 0.0], UNDERPOWERED),
        ([0.0, -0.1], REFUTED),
        ([-0.1, 0.1], REFUTED),
    ],
)
def test_a_claim_holds_against_every_rival_or_not_at_all(
    means: list[float], expected: Verdict
) -> None:
    assert verdict(CLAIM, [Difference(mean, 0.05) for mean in means]) is expected


def test_arms_are_paired_by_seed() -> None:
    """Both vary by .3, their differences by .01: .01, .02, .03, so ± 4.3027 x .01 / sqrt(3)."""
    (found,) = differences(CLAIM, runs_of(a=[0.51, 0.62, 0.83], b=[0.5, 0.6, 0.8]))
    assert found.mean == pytest.approx(0.02)
    assert found.half == pytest.approx(0.024841, abs=1e-6)


def test_intervals_of_several_rivals_are_wide_enough_to_hold_together() -> None:
    """With two each is one of 97.5 %: t of 2 degrees of freedom is 6.2053."""
    claim = replace(CLAIM, rivals=(ONE, OTHER))
    found = differences(claim, runs_of(a=[0.51, 0.62, 0.83], b=[0.5, 0.6, 0.8], c=[0.5, 0.6, 0.8]))
    assert [each.half for each in found] == [pytest.approx(0.035826, abs=1e-6)] * 2


def test_only_the_seeds_that_were_fixed_before_count() -> None:
    """Seeds that another claim had run must not join when they please."""
    runs = runs_of(a=[0.51, 0.62, 0.83, 0.0], b=[0.5, 0.6, 0.8, 1.0])
    assert differences(CLAIM, runs)[0].mean == pytest.approx(0.02)


def test_the_table_has_a_verdict_an_interval_and_the_cost_of_each_claim() -> None:
    """Six runs of two seconds."""
    text = table([CLAIM], runs_of(a=[0.51, 0.62, 0.83], b=[0.5, 0.6, 0.8]))
    assert text.splitlines()[2:] == [
        "| **A wins** (us) | ≥ 0 | | 3 | **UNDERPOWERED** | 12 |",
        "| `static first_layer=a`, S = 0.9 less `static first_layer=b`, S = 0.9 | "
        "| +0.0200 ± 0.0248 | | underpowered | |",
    ]


# The claims ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.statement)
def test_every_claim_can_be_confirmed_and_refuted(claim: Claim) -> None:
    """Its arms differ and train with settings that there are; it does not allow everything."""
    arms = (claim.arm, *claim.rivals)
    assert len({(topology(arm.method), arm.density) for arm in arms}) == len(arms) > 1
    assert all(arm.network in RECIPES and arm.budget in ("samples", "flops") for arm in arms)
    assert len({(arm.network, arm.budget) for arm in arms}) == 1
    assert claim.at_least < claim.at_most
    assert claim.at_least > -math.inf or claim.at_most < math.inf
    assert claim.seeds >= 2


def test_no_claim_is_made_twice() -> None:
    assert len(CLAIMS) == len(set(CLAIMS))


def test_a_budget_of_flops_is_what_equal_densities_cost_for_the_samples() -> None:
    """160,000 rows through 26,620 of 266,200 weights, at 6 FLOPs a weight."""
    row = run("static layer_density_power=0.0", 0.1, "flops", "perceptron", 0)
    assert row["training_flops"] == 160_000 * 26_620 * 6
    assert (
        row["accuracy"]
        == run("static layer_density_power=0.0", 0.1, "samples", "perceptron", 0)["accuracy"]
    )
