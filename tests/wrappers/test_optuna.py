"""Optuna: what is its own."""

import random
from types import SimpleNamespace
from typing import Any, cast

import pytest

from target_algorithms.contract import Value
from wrappers import configurators
from wrappers.run import Run
from wrappers.space import Parameter, Space, read_pcs

optuna = pytest.importorskip("optuna")
ours: Any = configurators.configurators()["optuna"].module

CHOICES = [f"c{k}" for k in range(12)]
FORBIDDEN = read_pcs(
    f"a {{{', '.join(CHOICES)}}} [c0]\nb {{{', '.join(CHOICES)}}} [c0]\nx [0, 1] [0.5]\n"
    + "\n".join(f"{{a={a}, b={b}}}" for a in CHOICES for b in CHOICES if a != "c0" and b != "c0"),
    "forbidden.pcs",
)
"""Of 144 combinations 23 are allowed."""

CONDITIONS = read_pcs(
    "kind {p, q} [p]\ncount [1, 100] [3]il\nrate [0.001, 1.0] [0.1]l\nrate | kind in {q}\n", "c.pcs"
)


def study(seed: int = 1) -> Any:
    return optuna.create_study(sampler=optuna.samplers.TPESampler(seed=seed))


def a_run(space: Space) -> Run:
    rng = random.Random(1)
    return cast(Run, SimpleNamespace(space=space, sample=lambda: space.sample(rng)))


def test_what_is_forbidden_teaches_the_sampler_and_never_holds_it_up() -> None:
    """The best costs are where nearly all is forbidden; each that is allowed is told its cost."""
    asked, told = study(), a_run(FORBIDDEN)
    for _ in range(60):
        trial, config = ours._asked(asked, told)
        assert FORBIDDEN.check(config) == config
        asked.tell(trial, 0.1 if config["a"] != "c0" or config["b"] != "c0" else 0.9)
    pruned = [t for t in asked.trials if t.state == optuna.trial.TrialState.PRUNED]
    assert pruned and len(asked.trials) < 60 * 12, "144 to 23 by chance, fewer when it learns"


def test_one_is_drawn_uniformly_where_the_sampler_finds_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kept, most = ours._suggested, ours._MOST_FORBIDDEN

    def suggested(trial: Any, parameter: Parameter) -> Value:
        value: Value = kept(trial, parameter)
        return "c1" if trial.number < most and parameter.name != "x" else value

    monkeypatch.setattr(ours, "_suggested", suggested)
    asked = study()
    _, config = ours._asked(asked, a_run(FORBIDDEN))
    assert FORBIDDEN.check(config) == config
    assert len(asked.trials) == most + 1


def test_only_what_is_active_is_suggested_in_its_own_range() -> None:
    asked, told = study(), a_run(CONDITIONS)
    drawn = []
    for _ in range(40):
        trial, config = ours._asked(asked, told)
        assert CONDITIONS.check(config) == config
        asked.tell(trial, 0.5)
        drawn.append((trial.distributions, config))
    assert {config["kind"] for _, config in drawn} == {"p", "q"}
    for distributions, config in drawn:
        assert distributions.keys() == config.keys()
        assert distributions["count"].log and distributions["count"].high == 100


def test_a_missing_library_is_named_with_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    reason = configurators.missing()["optuna"]
    assert reason == "the package optuna is not installed; run './run_all.sh setup'"
