"""The trials by which an instance set is judged: default and random configurations, without a run.

They are kept in a folder of their own, a file a variant; an interrupted measurement goes on.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sparse_training.errors import BadInput
from target_algorithms import SHARED_PCS, Role
from wrappers.evaluator import LOCAL, Evaluator
from wrappers.executors import Executor
from wrappers.locks import locked
from wrappers.pairs import Pair, derived_seed
from wrappers.provenance import trial_code
from wrappers.records import Key, Record, read_lines
from wrappers.scenario import Scenario
from wrappers.space import Config, Space, config_id, read_pcs, resolved
from wrappers.trials import Trials

Matrix = tuple[tuple[Record, ...], ...]
"""Records of configurations (rows) on pairs (columns)."""


@dataclass(frozen=True)
class Probe:
    """What another value of one parameter did to a random setting of the rules."""

    parameter: str
    inert: bool
    """Whether the trials came to the same on two pairs, as far as a record tells."""


@dataclass(frozen=True)
class Sample:
    """What was evaluated on an instance set; all on the same pairs."""

    set: str
    pairs: tuple[Pair, ...]
    defaults: Mapping[str, tuple[Record, ...]]
    """Of every variant its default configuration."""
    random: Mapping[Role, Matrix]
    """Random settings of the rules of the combination and of the baseline, the recipe at its
    default."""
    probes: tuple[Probe, ...]
    """Of every active parameter of the combination's settings, on the first pair."""


def fitness_pairs(scenario: Scenario, seeds: int) -> tuple[Pair, ...]:
    """All training instances with seeds that no run trains with."""
    return tuple(
        (instance, derived_seed("fitness", scenario.set, k))
        for k in range(seeds)
        for instance in scenario.training
    )


def of_rules(space: Space) -> Space:
    """The space of a variant's own parameters, the shared ones fixed at their defaults."""
    shared = read_pcs(SHARED_PCS.read_text(encoding="utf-8"), str(SHARED_PCS)).by_name
    fixed = {
        name: parameter.narrowed([parameter.default])
        for name, parameter in space.by_name.items()
        if name in shared
    }
    return space.narrowed(fixed)


def drawn(scenario: Scenario, count: int) -> list[Config]:
    """Random settings of the rules, each once, the recipe at its default."""
    space = of_rules(scenario.space)
    rng = random.Random(derived_seed("fitness", scenario.name))
    every: dict[str, Config] = {}
    for _ in range(20 * count):
        if len(every) == count:
            break
        own = space.complete(space.sample(rng))
        config = {name: own[name] for name in scenario.space.by_name if name in own}
        every.setdefault(config_id(config), scenario.space.check(config))
    return list(every.values())


def changed_by_one(
    scenario: Scenario, config: Config, name: str, rng: random.Random
) -> Config | None:
    """The configuration with another value of one parameter, drawn from its range.

    Parameters that this activates have their defaults. None where no value drawn is allowed.
    """
    space = scenario.space
    for _ in range(20):
        value = space.by_name[name].sample(rng)
        if value == config[name]:
            continue
        try:
            return space.with_values(config, {name: value})
        except BadInput:  # a forbidden combination
            continue
    return None


def changed_settings(
    scenario: Scenario, configs: Sequence[Config]
) -> list[tuple[int, str, Config]]:
    """(number of the setting, parameter, changed setting) for all parameters of rules."""
    own = {p.name for p in of_rules(scenario.space).parameters if not p.single}
    rng = random.Random(derived_seed("fitness", scenario.name, "probes"))
    drawn_ = [
        (number, name, changed_by_one(scenario, config, name, rng))
        for number, config in enumerate(configs)
        for name in config
        if name in own
    ]
    return [(number, name, config) for number, name, config in drawn_ if config is not None]


def measure(
    scenarios: Sequence[Scenario],
    folder: Path,
    *,
    configurations: int,
    seeds: int,
    workers: int,
    progress: Callable[[int, int], None] = lambda done, total: None,
    executor: Executor = LOCAL,
) -> Sample:
    """Evaluates, of the scenarios of one set, what `Sample` says, or what is missing of it.

    configurations: random ones of the combination, a quarter of that of the baseline; folder: of
    the records; progress: is told the trials done and the total; executor: where trials run. Raises
    BadInput for a set without a combination or a baseline.
    """
    pairs = fitness_pairs(scenarios[0], seeds)
    asked = {each.name: [each.space.default] for each in scenarios}
    counts = {Role.COMBINATION: configurations, Role.BASELINE: max(2, configurations // 4)}
    by_role = {}
    for role, count in counts.items():
        of_role = [each for each in scenarios if each.variant.role is role]
        if not of_role:
            raise BadInput(f"{scenarios[0].set} has no scenario of a {role}, expected one")
        by_role[role] = of_role[0].name
        asked[of_role[0].name] += drawn(of_role[0], count)
    combined = next(each for each in scenarios if each.name == by_role[Role.COMBINATION])
    changes = changed_settings(combined, asked[combined.name][1:])
    total = sum(map(len, asked.values())) * len(pairs) + len(changes)
    rows: dict[str, Matrix] = {}
    done = 0

    def one_more() -> None:
        nonlocal done
        done += 1
        progress(min(done, total), total)

    with locked(folder), Evaluator(workers, executor) as evaluator:
        for scenario in scenarios:
            log = folder / f"{scenario.variant.name}.jsonl"
            configs = asked[scenario.name]
            rows[scenario.name] = _evaluated(scenario, log, configs, pairs, evaluator, one_more)
        settings = rows[combined.name][1:]
        log, alike = folder / f"{combined.variant.name}.jsonl", set(range(len(changes)))
        for k, pair in enumerate(pairs[:2]):  # of the second pair, what is alike on the first
            left = sorted(alike)
            configs = [changes[i][2] for i in left]
            changed = _evaluated(combined, log, configs, [pair], evaluator, one_more)
            alike = {
                i
                for i, (other,) in zip(left, changed, strict=True)
                if _came_to(settings[changes[i][0]][k]) == _came_to(other)
            }
    return Sample(
        set=scenarios[0].set,
        pairs=pairs,
        defaults={each.variant.name: rows[each.name][0] for each in scenarios},
        random={role: rows[name][1:] for role, name in by_role.items()},
        probes=tuple(Probe(name, number in alike) for number, (_, name, _) in enumerate(changes)),
    )


def _came_to(record: Record) -> tuple[object, ...]:
    return record.cost, record.training_flops, record.misc


def _evaluated(
    scenario: Scenario,
    log: Path,
    configs: Sequence[Config],
    pairs: Sequence[Pair],
    evaluator: Evaluator,
    one_more: Callable[[], None],
) -> Matrix:
    known: dict[Key, Record] = {}
    for record in read_lines(log, Record, repair=True):
        ran, _ = resolved(scenario.variant, record.config)
        code = record.engine and trial_code(ran, record.engine)
        if record.cutoff == scenario.cutoff and record.code == code:
            known[record.key] = record
    asked = [(config, pair) for config in configs for pair in pairs]
    for config, pair in asked:
        if Key(config_id(config), *pair) in known:
            one_more()
    records = Trials(scenario, evaluator).recorded(asked, known, log, one_more)
    width = len(pairs)
    return tuple(tuple(records[i : i + width]) for i in range(0, len(records), width))
