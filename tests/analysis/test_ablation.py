import itertools
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis import ablation, records
from commands.ablate import ablate as ablate_run
from sparse_training.errors import BadInput
from tests.analysis.benchmark import PLAIN_DEFAULT, make_run
from wrappers.records import AblationPath, from_json, to_json
from wrappers.space import Config, Space, config_id, read_pcs

FLAT = "".join(f"{name} [0, 1] [0]\n" for name in "abcd")


def flat() -> tuple[Space, Config, Config]:
    space = read_pcs(FLAT, "t.pcs")
    return space, space.default, dict.fromkeys("abcd", 1.0)


def value(config: Config, name: str) -> float:
    return float(config[name])


def additive(config: Config) -> float:
    weights = {"a": 0.1, "b": 0.4, "c": -0.05, "d": 0.2}
    return 1 - sum(weight * value(config, name) for name, weight in weights.items())


def costs_of(cost: Callable[[Config], float]) -> ablation.Costs:
    return lambda configs: [cost(config) for config in configs]


def telescopes(path: AblationPath) -> None:
    whole = path.source_cost - path.target_cost
    assert sum(step.gain for step in path.steps) == pytest.approx(whole, abs=1e-12)
    assert path.steps[-1].config == path.target
    assert path.steps[-1].cost == path.target_cost
    if whole:
        assert sum(step.share or 0.0 for step in path.steps) == pytest.approx(1)


def test_an_additive_function_is_taken_in_the_order_of_its_contributions() -> None:
    path = ablation.ablate(*flat(), costs_of(additive))
    assert [step.parameters for step in path.steps] == [("b",), ("d",), ("a",), ("c",)]
    assert [step.gain for step in path.steps] == pytest.approx([0.4, 0.2, 0.1, -0.05])
    assert [step.share for step in path.steps] == pytest.approx(
        [g / 0.65 for g in (0.4, 0.2, 0.1, -0.05)]
    )
    telescopes(path)


def test_a_step_is_taken_even_where_every_flip_makes_it_worse() -> None:
    space = read_pcs("a {0, 1} [0]\nb {0, 1} [0]\n", "t.pcs")
    path = ablation.ablate(
        space,
        {"a": "0", "b": "0"},
        {"a": "1", "b": "1"},
        costs_of(lambda c: {"00": 0.5, "11": 0.1}.get(f"{c['a']}{c['b']}", 0.9)),
    )
    assert [step.gain for step in path.steps] == pytest.approx([-0.4, 0.8])
    assert path.steps[0].parameters == ("a",)
    telescopes(path)


def test_a_parent_flips_with_the_children_that_it_concerns() -> None:
    space = read_pcs(
        "mode {p, q} [p]\nrate [0, 1] [0.5]\nshare [0, 1] [0.5]\nfree [0, 1] [0]\n"
        "rate | mode in {p}\nshare | mode in {q}\n",
        "t.pcs",
    )
    target: Config = {"mode": "q", "share": 0.9, "free": 1.0}
    path = ablation.ablate(
        space, space.default, target, costs_of(lambda c: 1 - 0.3 * (c["mode"] == "q"))
    )
    assert [step.parameters for step in path.steps] == [("mode", "rate", "share"), ("free",)]
    assert path.steps[0].config == {"mode": "q", "share": 0.9, "free": 0.0}
    assert ablation.table(path)["changes"][1] == (
        "mode: p > q; rate: 0.5 > inactive; share: inactive > 0.9"
    )
    telescopes(path)


def test_a_child_that_the_target_does_not_have_takes_its_default_for_a_while() -> None:
    space = read_pcs(
        "a {0, 1} [0]\nb {0, 1} [1]\nchild [0, 1] [0.25]\nchild | a in {1}\nchild | b in {1}\n",
        "t.pcs",
    )
    flipped = ablation.flip(space, space.default, {"a": "1", "b": "0"}, "a")
    assert flipped == {"a": "1", "b": "1", "child": 0.25}


def test_a_child_active_on_both_sides_is_flipped_on_its_own() -> None:
    space = read_pcs("mode {p, q, r} [p]\nrate [0, 1] [0.5]\nrate | mode in {p, q}\n", "t.pcs")
    path = ablation.ablate(
        space, space.default, {"mode": "q", "rate": 0.1}, costs_of(lambda c: value(c, "rate"))
    )
    assert [step.parameters for step in path.steps] == [("rate",), ("mode",)]


def test_a_forbidden_intermediate_is_avoided_in_its_round_only() -> None:
    space = read_pcs("a {0, 1} [0]\nb {0, 1} [0]\n{a=1, b=0}\n", "t.pcs")
    seen: list[Config] = []

    def evaluate(configs: list[Config]) -> list[float]:
        seen.extend(configs)
        return [0.9 - 0.5 * (c["a"] == "1") for c in configs]

    path = ablation.ablate(space, space.default, {"a": "1", "b": "1"}, evaluate)
    assert [step.parameters for step in path.steps] == [("b",), ("a",)]
    assert {"a": "1", "b": "0"} not in seen
    telescopes(path)


def test_flips_that_are_only_allowed_together_are_one_step() -> None:
    space = read_pcs("a {0, 1} [0]\nb {0, 1} [0]\nc {0, 1} [0]\n{a=1, b=0}\n{a=0, b=1}\n", "t.pcs")
    target: Config = dict.fromkeys("abc", "1")
    path = ablation.ablate(space, space.default, target, costs_of(lambda c: 0.5))
    assert [step.parameters for step in path.steps] == [("c",), ("a", "b")]


def test_equal_costs_of_both_ends_leave_shares_open() -> None:
    path = ablation.ablate(*flat(), costs_of(lambda _: 0.5))
    assert [step.share for step in path.steps] == [None] * 4
    assert ablation.table(path)["share"].isna().sum() == 4
    telescopes(path)


def test_equal_ends_and_ends_outside_the_space_are_bad_input() -> None:
    space, source, _ = flat()
    with pytest.raises(BadInput, match="same configuration"):
        ablation.ablate(space, source, dict(source), costs_of(additive))
    with pytest.raises(BadInput, match="unknown parameter 'z'"):
        ablation.ablate(space, source, {"z": 1}, costs_of(additive))
    with pytest.raises(BadInput, match="no \\(instance, seed\\) pair"):
        ablation.race(space, source, dict.fromkeys("abcd", 1.0), lambda _: [], [])


@given(st.integers(0, 10_000))
@settings(max_examples=25, deadline=None)
def test_every_path_reaches_its_target_and_telescopes(seed: int) -> None:
    space = read_pcs(
        "m {p, q, r} [p]\nn {u, v} [u]\nx [0, 1] [0]\ny [1, 9] [3]il\nz {1, 2} [1]\n"
        "x | m in {p, q}\ny | n in {v}\nz | m in {q, r}\nz | n in {u}\n{m=r, n=u}\n",
        "t.pcs",
    )
    rng = random.Random(seed)
    source, target = space.sample(rng), space.sample(rng)
    if source == target:
        return
    path = ablation.ablate(
        space, source, target, costs_of(lambda c: int(config_id(c), 16) % 997 / 997)
    )
    telescopes(path)
    for step in path.steps:
        space.check(step.config)


PAIRS = [(f"i{k}", k) for k in range(20)]


def noisy(config: Config, instance: str, seed: int) -> float:
    noise = np.random.default_rng(int(config_id(config), 16) % 2**32 + seed).normal(0, 0.01)
    return additive(config) + 0.1 * (seed % 3) + float(noise)


def test_a_race_finds_the_path_with_fewer_trials_than_all_of_them() -> None:
    space, source, target = flat()
    asked: list[tuple[Config, str, int]] = []

    def evaluate(trials: list[tuple[Config, str, int]]) -> list[float]:
        asked.extend(trials)
        return [noisy(*trial) for trial in trials]

    path = ablation.race(space, source, target, evaluate, PAIRS)
    assert [step.parameters for step in path.steps] == [("b",), ("d",), ("a",), ("c",)]
    assert path.evaluation == "trials" and path.pairs == 20
    assert len(asked) == sum(step.trials for step in path.steps) + 2 * len(PAIRS)
    assert len(asked) < 0.7 * ablation.trials_needed(space, source, target, len(PAIRS))[1]
    keys = [(config_id(config), *pair) for config, *pair in asked]
    assert len(keys) == len(set(map(str, keys)))
    telescopes(path)


def test_costs_of_a_race_are_means_over_all_pairs() -> None:
    path = ablation.race(*flat(), lambda ts: [noisy(*t) for t in ts], PAIRS)
    before = path.steps[0]
    assert before.cost == pytest.approx(np.mean([noisy(before.config, *p) for p in PAIRS]))


def test_a_race_on_few_pairs_is_a_full_comparison() -> None:
    path = ablation.race(*flat(), lambda ts: [additive(c) for c, _, _ in ts], PAIRS[:2])
    exact = ablation.ablate(*flat(), costs_of(additive))
    assert [s.parameters for s in path.steps] == [s.parameters for s in exact.steps]
    assert [s.cost for s in path.steps] == pytest.approx([s.cost for s in exact.steps])


def test_survivors_are_those_not_significantly_worse_than_the_best() -> None:
    noise = np.random.default_rng(0).normal(0, 0.01, (8, 4))
    costs = np.array([0.5, 0.2, 0.201, 0.6]) + noise
    assert ablation.survivors(costs) == [1, 2]
    assert ablation.survivors(costs[:, [0, 1]]) == [1]
    assert ablation.survivors(costs[:, [1, 2]]) == [0, 1]


def test_equal_costs_drop_nobody() -> None:
    for candidates in range(1, 5):
        assert ablation.survivors(np.full((8, candidates), 0.3)) == list(range(candidates))
    # One differs, always by the same: constant ranks, no spread at all.
    assert ablation.survivors(np.tile([0.3, 0.3, 0.4], (8, 1))) == [0, 1]


def test_survivors_keep_all_but_a_few_when_there_is_no_difference() -> None:
    rng = np.random.default_rng(4)
    dropped = [len(ablation.survivors(rng.normal(size=(8, 4)))) < 4 for _ in range(300)]
    assert np.mean(dropped) < 0.09


def test_a_path_survives_its_record() -> None:
    path = ablation.race(*flat(), lambda ts: [noisy(*t) for t in ts], PAIRS)
    text = to_json(path, indent=1)
    assert from_json(text, AblationPath, "ablation.json") == path
    record: dict[str, Any] = json.loads(text)
    del record["steps"][0]["gain"]
    with pytest.raises(BadInput, match=r"ablation\.json: .*missing required field `gain`"):
        from_json(json.dumps(record), AblationPath, "ablation.json")


def test_a_recorded_run_is_raced_from_its_default_to_its_incumbent(tmp_path: Path) -> None:
    make_run(tmp_path, "alpha", "model", 1, trials=60)
    frames = records.read(tmp_path)
    space, configs = frames.folders[0].space, frames.trajectories["config"]
    used: set[int] = set()

    def evaluate(trials: list[tuple[Config, str, int]]) -> list[float]:
        used.update(seed for _, _, seed in trials)
        return [int(config_id(c), 16) % 99 / 99 for c, _, _ in trials]

    path = ablation.race(space, configs.iloc[0], configs.iloc[-1], evaluate, PAIRS[:6])
    assert (path.source, path.target) == (configs.iloc[0], configs.iloc[-1])
    assert used == set(range(6))
    telescopes(path)


def test_runs_without_a_way_to_go_are_bad_input(tmp_path: Path) -> None:
    default = make_run(tmp_path, "alpha", PLAIN_DEFAULT, 1, trials=10)
    running = make_run(tmp_path, "alpha", "model", 1, trials=30, state="running")
    for folder, reason in ((default, "incumbent is the default"), (running, "is running")):
        with pytest.raises(BadInput, match=reason):
            ablate_run(folder, workers=1)


def test_a_race_keeps_to_the_trials_granted_and_takes_the_rest_together() -> None:
    space, source, target = flat()
    least, most = ablation.trials_needed(space, source, target, len(PAIRS))
    steps: list[int] = []
    for granted in (least, least + 30, least + 60, most):
        asked: list[tuple[Config, str, int]] = []

        def evaluate(
            trials: list[tuple[Config, str, int]],
            asked: list[tuple[Config, str, int]] = asked,
        ) -> list[float]:
            asked.extend(trials)
            return [noisy(*trial) for trial in trials]

        path = ablation.race(space, source, target, evaluate, PAIRS, granted=granted)
        assert len(asked) <= granted and path.steps[-1].config == target
        assert path.steps[0].parameters == ("b",), "the first step is the greatest one"
        telescopes(path)
        steps.append(len(path.steps))
    assert steps[0] == 2 and steps == sorted(steps) and steps[-1] == 4


def test_no_race_asks_for_more_trials_than_announced() -> None:
    space = read_pcs("mode {p, q} [p]\nx [0, 1] [0]\ny [0, 1] [0]\nx | mode in {p}\n", "t.pcs")
    target: Config = {"mode": "q", "y": 1.0}
    asked: list[object] = []
    for cost in itertools.product((0.1, 0.9), repeat=2):
        asked.clear()

        def evaluate(
            trials: list[tuple[Config, str, int]], cost: tuple[float, ...] = cost
        ) -> list[float]:
            asked.extend(trials)
            return [cost[0] if c["mode"] == "p" else cost[1] for c, _, _ in trials]

        ablation.race(space, space.default, target, evaluate, PAIRS)
        assert len(asked) <= ablation.trials_needed(space, space.default, target, len(PAIRS))[1]
