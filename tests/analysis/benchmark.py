"""Records of a made-up benchmark: no variant and no configurator of the suite is in it.

Its variants are two competitors (`alpha`, `beta`), a combination of them (`both`), a baseline
(`still`) and a reference (`full`); three configurators try configurations (`drawing`, `model`,
`racing`), one (`plain-default`) does not. Their spaces are in the records, so that nothing of it
has to be in the checkout.
"""

import json
import math
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from target_algorithms import Role
from target_algorithms.contract import Details, Result, Trained
from wrappers.records import (
    CHECKSUM,
    FORMAT,
    RUNHISTORY,
    TRAJECTORY,
    VALIDATION,
    Hardware,
    Hashes,
    Incumbent,
    Numbered,
    Product,
    Record,
    RunInfo,
    numbered,
    read_lines,
    read_run,
    record,
    to_json,
    write_run,
)
from wrappers.space import Config, Space, config_id, read_pcs

SHARED_PCS = """
optimizer {sgd, adamw} [sgd]
learning_rate_sgd [0.001, 1.0] [0.1]l
momentum [0.0, 0.99] [0.9]
momentum_kind {heavy_ball, nesterov} [nesterov]
learning_rate_adamw [0.0001, 0.1] [0.003]l
learning_rate_schedule {constant, linear, cosine} [cosine]
weight_decay [0.000001, 0.1] [0.0005]l
batch_size [16, 256] [64]il
activation {relu, leaky_relu, all_relu, gelu} [relu]
init_scaling {none, layer} [layer]
width_factor [0.25, 4.0] [1.0]l
learning_rate_sgd | optimizer in {sgd}
momentum | optimizer in {sgd}
momentum_kind | optimizer in {sgd}
learning_rate_adamw | optimizer in {adamw}
"""


@dataclass(frozen=True)
class Made:
    """A made-up variant."""

    role: Role
    error: float
    """Of its best configuration, about."""
    pcs: str


VARIANTS = {
    "alpha": Made(
        Role.COMPETITOR,
        0.20,
        "drop_fraction [0.02, 0.7] [0.3]l\nupdate_interval_epochs [1, 10] [1]il\n",
    ),
    "beta": Made(
        Role.COMPETITOR,
        0.17,
        """
layer_density_power [0, 1] [1]
drop_fraction [0.02, 0.7] [0.3]l
update_interval_steps [10, 500] [100]il
update_end [0.2, 1.0] [0.75]
""",
    ),
    "both": Made(
        Role.COMBINATION,
        0.17,
        """
layer_density_power [0, 1] [1]
drop_rule {magnitude, sign, sign_nominal} [magnitude]
drop_fraction [0.02, 0.7] [0.3]l
drop_schedule {constant, linear, cosine} [cosine]
grow {random, score, mixed} [score]
grow_random_share [0.05, 0.95] [0.5]
grow_score {gradient, unfired_gradient} [gradient]
grown_init {zero, normal} [zero]
grown_scale [0.01, 0.5] [0.1]l
regrown_value {keep, new} [keep]
update_unit {steps, epochs} [steps]
update_interval_steps [10, 500] [100]il
update_interval_epochs [1, 10] [1]il
update_end [0.2, 1.0] [0.75]
update_mode {replace_step, after_step} [replace_step]
grow_random_share | grow in {mixed}
grow_score | grow in {score, mixed}
grown_scale | grown_init in {normal}
update_interval_steps | update_unit in {steps}
update_interval_epochs | update_unit in {epochs}
{grow=random, update_mode=replace_step}
""",
    ),
    "still": Made(Role.BASELINE, 0.22, "layer_density_power [0, 1] [1]\n"),
    "full": Made(Role.REFERENCE, 0.08, ""),
}

CONFIGURING = ("drawing", "model", "racing")
PLAIN_DEFAULT = "plain-default"
"""The configurator that evaluates the default configuration only."""

CODE = "c0de00000000"
"""Of every trial, where a test does not say otherwise."""


def pcs_of(variant: str) -> str:
    """The parameters of a variant; of one that is not in `VARIANTS`, those that all share."""
    return (VARIANTS[variant].pcs if variant in VARIANTS else "") + SHARED_PCS


def space_of(variant: str) -> Space:
    """The space of a variant."""
    return read_pcs(pcs_of(variant), f"{variant}.pcs")


def error_of(variant: str, config: Mapping[str, Any]) -> float:
    """The true error of a configuration, without noise."""
    error: float = VARIANTS[variant].error if variant in VARIANTS else 0.2
    if config["optimizer"] == "sgd":
        rate = config["learning_rate_sgd"]
        effective = rate / (1 - min(config["momentum"], 0.95))
        if effective > 6:
            return 1.0
        error += 0.015 * (math.log10(effective) - 0.3) ** 2
    else:
        error += 0.02 * (math.log10(config["learning_rate_adamw"]) + 2.4) ** 2 - 0.015
    error += 0.02 * (config["activation"] == "relu")
    error += 0.015 * abs(math.log2(config["width_factor"]) - 1)
    error += 0.05 * (config["init_scaling"] == "none")
    if "drop_fraction" in config:
        error += 0.01 * abs(math.log(config["drop_fraction"] / 0.15))
    if "grow" in config:
        error -= 0.03 * (config["grow"] == "mixed")
        error -= 0.02 * (config["drop_rule"] == "sign" and config["drop_schedule"] == "cosine")
    return float(min(max(error, 0.03), 1.0))


def evaluated(
    variant: str, config: Config, instance: str, seed: int, *, code: str, engine: str
) -> Record:
    """One evaluated trial."""
    noise = random.Random(f"{config_id(config)}/{instance}/{seed}")
    shared = random.Random(f"{instance}/{seed}")
    true = error_of(variant, config)
    cost = 1.0 if true >= 1 else true + shared.gauss(0, 0.01) + noise.gauss(0, 0.008)
    full = variant == "full"
    trained = Trained(
        cost=round(min(max(cost, 0.0), 1.0), 6),
        active_weights=18944 if full else 1000,
        weights=18944,
        density=1.0 if full else 1000 / 18944,
        training_flops=1.2e8,
        inference_flops=2000.0,
        engine=engine,
        misc=Details(steps=312, updates=3, diverged=True if true >= 1 else None),
    )
    result = Result(
        status="SUCCESS",
        runtime=1.25,
        cpu_time=1.2,
        peak_memory=310.5,
        trained=trained,
        started="2026-01-01T10:00:00.000+00:00",
        worker="w0",
    )
    return record(config, instance, seed, 60.0, result, code)


def neighbour(space: Space, config: Config, rng: random.Random) -> Config:
    """A configuration with some parameters drawn anew."""
    fresh = space.sample(rng)
    for _ in range(100):
        mixed = {
            name: fresh[name] if name in fresh and rng.random() < 0.2 else config.get(name)
            for name in space.by_name
        }
        drawn = fresh | {name: value for name, value in mixed.items() if value is not None}
        drawn = {name: drawn[name] for name in space.active(drawn)}
        try:
            return space.check(drawn)
        except ValueError:
            fresh = space.sample(rng)
    return config


def search(
    configurator: str, space: Space, rng: random.Random, trials: int, trial: Callable[..., Record]
) -> tuple[list[Numbered], list[Incumbent]]:
    """The trials and incumbents of a run that races new configurations against the best.

    `trial(config, n)` is the n-th evaluation of a configuration.
    """
    history: list[Numbered] = []
    path: list[Incumbent] = []
    seen: dict[str, list[float]] = {}
    best = space.default

    def evaluate(config: Config) -> bool:
        costs = seen.setdefault(config_id(config), [])
        if len(history) == trials:
            return False
        done = trial(config, len(costs))
        history.append(numbered(len(history) + 1, done))
        costs.append(done.cost)
        return True

    def incumbent(config: Config) -> None:
        name = config_id(config)
        if path and path[-1].config_id == name:
            return
        estimate = sum(seen[name]) / len(seen[name])
        path.append(Incumbent(trial=len(history), config_id=name, config=config, estimate=estimate))

    evaluate(best)
    incumbent(best)
    while configurator == PLAIN_DEFAULT and evaluate(best):
        pass
    while len(history) < trials:
        local = configurator == "model" and rng.random() < 0.7
        challenger = neighbour(space, best, rng) if local else space.sample(rng)
        name, goal = config_id(challenger), config_id(best)
        while len(seen.get(name, [])) < 5 and evaluate(challenger):
            while len(seen[goal]) < len(seen[name]) and evaluate(best):
                pass
            mine, theirs = seen[name], seen[goal][: len(seen[name])]
            if sum(mine) > sum(theirs):
                break
        else:
            if len(seen.get(name, [])) == 5:
                best = challenger
                incumbent(best)
    return history, path


def make_run(
    results: Path,
    variant: str,
    configurator: str,
    seed: int,
    *,
    trials: int,
    state: str = "finished",
    validated: bool = True,
    code: str = CODE,
    engine: str = "masked",
    **changes: Any,
) -> Path:
    """One run's folder; `changes` are fields of its run.json."""
    folder = results / "digits" / variant / configurator / f"seed-{seed}"
    folder.mkdir(parents=True)
    blocks = [(f"sklearn/digits/0/{i % 10}", seed * 1000 + i // 10) for i in range(500)]
    random.Random(seed).shuffle(blocks)

    def trial(config: Config, n: int) -> Record:
        return evaluated(variant, config, *blocks[n], code=code, engine=engine)

    rng = random.Random(f"{variant}/{configurator}/{seed}")
    history, path = search(configurator, space_of(variant), rng, trials, trial)
    finished = state == "finished"
    info = RunInfo(
        format=FORMAT,
        scenario=f"digits/{variant}",
        path=f"scenarios/digits/{variant}",
        set="digits",
        variant=variant,
        role=VARIANTS[variant].role if variant in VARIANTS else Role.COMPETITOR,
        configurator=configurator,
        configures=configurator != PLAIN_DEFAULT,
        seed=seed,
        trials=trials,
        trials_used=trials if finished else 0,
        workers=1,
        state=state,
        settings={"n_min": 2} if configurator == "racing" else {},
        hashes=Hashes(
            scenario="5" * 64,
            space="6" * 64,
            instances="7" * 64,
            data={"sklearn/digits": "9" * 64},
            configurator="8" * 64,
        ),
        versions={"python": "3.11.7", "torch": "2.13.0", "numpy": "2.4.6"},
        product=Product(version="1.0", commit=None),
        hardware=Hardware(processor="a processor", cores=2, memory_gib=8.0, system="Linux"),
        command=f"sparse-aclib run scenarios/digits/{variant} --configurator {configurator}",
        started="2026-01-01T10:00:00.000+00:00",
        finished="2026-01-01T10:05:00.000+00:00" if finished else None,
        copies={
            "params.pcs": pcs_of(variant),
            "scenario.txt": f"algo = sparse-aclib eval {variant} --active-weights 1000\n",
        },
    )
    write_run(folder, replace(info, **changes))
    write_lines(folder / RUNHISTORY, history)
    write_lines(folder / TRAJECTORY, path)
    if validated and finished:
        configs = {incumbent.config_id: incumbent.config for incumbent in path}
        validation = [
            evaluated(variant, config, "sklearn/digits/0", 900_000 + k, code=code, engine=engine)
            for config in configs.values()
            for k in range(5)
        ]
        write_lines(folder / VALIDATION, validation)
    return folder


def make_benchmark(results: Path, *, trials: int) -> Path:
    """A whole benchmark with its baselines."""
    for variant in ("still", "full"):
        make_run(results, variant, PLAIN_DEFAULT, 1, trials=10)
    for variant in ("alpha", "beta", "both"):
        for configurator in CONFIGURING:
            for seed in (1, 2, 3):
                make_run(results, variant, configurator, seed, trials=trials)
    return results


def write_lines(path: Path, records: list[Any]) -> None:
    """Records as the lines of a file, one file operation for all of them."""
    path.write_text("".join(to_json(each) + "\n" for each in records))


def change_run(folder: Path, **changes: Any) -> None:
    """Writes run.json with other values of some fields."""
    write_run(folder, replace(read_run(folder), **changes))


def end_with_the_default(run: Path) -> None:
    """Makes the default the only incumbent that a run has named and validated."""
    default = read_lines(run / TRAJECTORY, Incumbent)[0]
    write_lines(run / TRAJECTORY, [default])
    validated = read_lines(run / VALIDATION, Record)
    kept = [record for record in validated if record.config_id == default.config_id]
    write_lines(run / VALIDATION, kept)


def change_lines(file: Path, change: Callable[[int, dict[str, Any]], object]) -> None:
    """Changes the records of a file in place: `change` is given the number from 0 and the line.

    Afterwards they have no checksum, like those of earlier versions.
    """
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    for number, line in enumerate(lines):
        line.pop(CHECKSUM, None)
        change(number, line)
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
