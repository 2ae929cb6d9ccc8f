"""Fitness of instance sets, on numbers worked out by hand and on trials."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from analysis.fitness import Fitness, noise_and_spread, rank_correlation
from commands.fitness import command
from target_algorithms import SHARED_PCS, Role, variants
from tests.examples import BASELINE, scenario_name
from wrappers.fitness import drawn, fitness_pairs, of_rules
from wrappers.pairs import training_pairs, validation_pairs
from wrappers.records import Record, read_lines
from wrappers.scenario import read
from wrappers.space import canonical, read_pcs

COMBINATION = next(each for each in variants().values() if each.role is Role.COMBINATION)
GOOD = Fitness(
    set="some",
    configurations=40,
    pairs=20,
    noise=0.004,
    spread=0.008,
    correlation=0.9,
    defaults={each.name: 0.1 for each in variants().values()},
    best_baseline=0.15,
    failed=0.1,
    inert={"grow": (0, 40), "drop_power": (1, 5)},
    still=0.0,
    masked=0.4,
    seconds=0.1,
)


def test_noise_is_what_setting_and_pair_do_not_explain() -> None:
    # Settings .1, .3 and pairs -.02, +.02; rest of +-.01: 4 x .0001 over one degree of freedom.
    costs = np.array([[0.09, 0.11], [0.27, 0.33]])
    noise, spread = noise_and_spread(costs)
    assert noise == pytest.approx(math.sqrt(0.0004))
    # Means .1 and .3: variance .02, less noise^2 / 2 pairs.
    assert spread == pytest.approx(math.sqrt(0.02 - 0.0002))


def test_settings_that_differ_by_pair_only_have_no_spread() -> None:
    assert noise_and_spread(np.array([[0.1, 0.2], [0.1, 0.2]])) == (0.0, 0.0)
    noise, spread = noise_and_spread(np.array([[0.1, 0.2], [0.2, 0.1]]))
    assert noise == pytest.approx(0.1) and spread == 0.0


def test_rank_correlation_is_between_instances_over_their_seeds() -> None:
    costs = np.array([[0.1, 0.1, 0.9], [0.2, 0.2, 0.5], [0.3, 0.3, 0.1]])
    assert rank_correlation(costs, ["a", "a", "b"]) == pytest.approx(-1.0)
    assert rank_correlation(costs, ["a", "b", "c"]) == pytest.approx((1 - 1 - 1) / 3)
    assert math.isnan(rank_correlation(costs, ["a", "a", "a"]))


def test_a_set_is_fit_or_says_what_it_lacks() -> None:
    assert GOOD.verdict == "fit" and GOOD.ratio == 2.0
    assert "spread only 1.2 times the noise" in replace(GOOD, spread=0.0048).verdict
    assert "rank correlation 0.30" in replace(GOOD, correlation=0.3).verdict
    assert "40% of the dynamic settings never update" in replace(GOOD, still=0.4).verdict
    assert replace(GOOD, inert={"grow": (9, 40), "drop_power": (1, 5)}).verdict == "inert: grow"
    assert "30% of the trials fail" in replace(GOOD, failed=0.3).verdict
    assert "a static mask is as good" in replace(GOOD, best_baseline=0.1).verdict
    several = replace(GOOD, noise=0.1, still=0.5)
    assert several.verdict.count(";") == 1 and "fit" not in several.verdict


def test_random_settings_are_of_the_rules_alone() -> None:
    scenario = read(scenario_name(COMBINATION))
    shared = read_pcs(SHARED_PCS.read_text(), "recipe").by_name
    space = of_rules(scenario.space)
    assert not set(space.by_name) & set(shared)
    assert set(space.by_name) == set(scenario.space.by_name) - set(shared)
    configs = drawn(scenario, 25)
    assert len({canonical(config) for config in configs}) == 25
    default = scenario.space.default
    for config in configs:  # one of the recipe may hang on a rule, and be inactive
        assert all(default[name] == value for name, value in config.items() if name in shared)
    assert drawn(scenario, 25) == configs
    assert len(drawn(read(scenario_name(BASELINE)), 10)) == 10


def test_seeds_of_a_measurement_are_no_runs() -> None:
    scenario = read(scenario_name())
    own = {seed for _, seed in fitness_pairs(scenario, 3)}
    others = {seed for _, seed in validation_pairs(scenario, 10)}
    others |= {seed for run in range(1, 20) for _, seed in training_pairs(scenario, run, 200)}
    assert len(own) == 3 and not own & others


def test_the_command_measures_a_set_and_goes_on_with_what_it_has(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    counts = []
    for markdown in (False, True):
        command(["digits"], configurations=4, seeds=1, results=tmp_path, markdown=markdown)
        logs = list((tmp_path / "fitness" / "digits").glob("*.jsonl"))
        records = [record for log in logs for record in read_lines(log, Record)]
        assert len(records) == len({(r.key, r.code) for r in records})
        counts.append(len(records))
    assert counts[0] == counts[1] > (len(logs) + 4 + 2) * 10  # and a probe of each parameter
    told = capsys.readouterr().out
    assert "settings x pairs: 4 x 10" in told and "verdict:" in told and "defaults:" in told
    row = told.splitlines()[-1]
    assert row.startswith("| digits | 4 x 10 | 0.0") and row.count("|") == 14
