"""Records of a made-up benchmark, written as the suite writes them."""

import json
import math
import random
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from wrappers.space import Config, Space, config_id, read_pcs

TRAINING_PCS = """
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

OWN_PCS = {
    "set": "drop_fraction [0.02, 0.7] [0.3]l\nupdate_interval_epochs [1, 10] [1]il\n",
    "rigl": """
layer_density_power [0, 1] [1]
drop_fraction [0.02, 0.7] [0.3]l
update_interval_steps [10, 500] [100]il
update_end [0.2, 1.0] [0.75]
""",
    "meta": """
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
    "static": "layer_density_power [0, 1] [1]\n",
    "dense": "",
}

BASE = {"set": 0.20, "rigl": 0.17, "meta": 0.17, "static": 0.22, "dense": 0.08}


def space_of(variant: str) -> Space:
    """The space of a variant as this made-up benchmark has it."""
    return read_pcs(OWN_PCS[variant] + TRAINING_PCS, f"{variant}.pcs")


def error_of(variant: str, config: Mapping[str, Any]) -> float:
    """The true error of a configuration, without noise."""
    error: float = BASE[variant]
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
    if variant == "meta":
        error -= 0.03 * (config["grow"] == "mixed")
        error -= 0.02 * (config["drop_rule"] == "sign" and config["drop_schedule"] == "cosine")
    return float(min(max(error, 0.03), 1.0))


def evaluation(variant: str, config: Config, instance: str, seed: int) -> dict[str, Any]:
    """One evaluated trial, without its number."""
    noise = random.Random(f"{config_id(config)}/{instance}/{seed}")
    shared = random.Random(f"{instance}/{seed}")
    true = error_of(variant, config)
    cost = 1.0 if true >= 1 else true + shared.gauss(0, 0.01) + noise.gauss(0, 0.008)
    dense = variant == "dense"
    return {
        "config_id": config_id(config),
        "config": config,
        "instance": instance,
        "seed": seed,
        "cutoff": 60.0,
        "status": "SUCCESS",
        "cost": round(min(max(cost, 0.0), 1.0), 6),
        "runtime": 1.25,
        "cpu_time": 1.2,
        "active_weights": 18944 if dense else 1000,
        "weights": 18944,
        "density": 1.0 if dense else 1000 / 18944,
        "training_flops": 1.2e8,
        "inference_flops": 2000.0,
        "peak_memory": 310.5,
        "engine": "masked",
        "started": "2026-01-01T10:00:00.000+00:00",
        "worker": "w0",
        "misc": {"steps": 312, "updates": 3} | ({"diverged": True} if true >= 1 else {}),
    }


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


def write_run(
    results: Path,
    variant: str,
    configurator: str,
    seed: int,
    *,
    trials: int,
    state: str = "finished",
    validated: bool = True,
    validation_seeds: int = 5,
    instances: int = 10,
) -> Path:
    """One run's folder; the made-up configurators race new configurations against the best."""
    folder = results / "digits" / variant / configurator / f"seed-{seed}"
    folder.mkdir(parents=True)
    space, rng = space_of(variant), random.Random(f"{variant}/{configurator}/{seed}")
    pairs = random.Random(seed)
    blocks = [
        (f"sklearn/digits/0/{i % instances}", seed * 1000 + i // instances) for i in range(500)
    ]
    pairs.shuffle(blocks)
    history: list[dict[str, Any]] = []
    path: list[dict[str, Any]] = []
    seen: dict[str, list[float]] = {}
    best = space.default

    def evaluate(config: Config) -> bool:
        name = config_id(config)
        costs = seen.setdefault(name, [])
        if len(history) == trials:
            return False
        record = evaluation(variant, config, *blocks[len(costs)])
        history.append({"trial": len(history) + 1, **record})
        costs.append(record["cost"])
        return True

    def incumbent(config: Config) -> None:
        costs = seen[config_id(config)]
        path.append(
            {
                "trial": len(history),
                "config_id": config_id(config),
                "config": config,
                "estimate": sum(costs) / len(costs),
            }
        )

    evaluate(best)
    incumbent(best)
    while len(history) < trials and configurator != "default":
        local = configurator == "smac" and rng.random() < 0.7
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
    while configurator == "default" and evaluate(best):
        pass
    about = {
        "scenario": f"digits/{variant}",
        "set": "digits",
        "variant": variant,
        "configurator": configurator,
        "seed": seed,
        "trials": trials,
        "trials_used": len(history) if state == "finished" else 0,
        "workers": 1,
        "state": state,
        "settings": {"n_min": 2} if configurator == "irace" else {},
        "versions": {"python": "3.11.7", "torch": "2.13.0", "numpy": "2.4.6"},
        "hashes": {
            "scenario": "5" * 64,
            "space": "6" * 64,
            "target_algorithms": "7" * 64,
            "configurator": "8" * 64,
            "data": {},
        },
        "hardware": {"processor": "a processor", "cores": 2, "memory_gib": 8.0, "system": "Linux"},
        "command": f"sparse-aclib run scenarios/digits/{variant} --configurator {configurator}",
        "started": "2026-01-01T10:00:00.000+00:00",
        "finished": "2026-01-01T10:05:00.000+00:00" if state == "finished" else None,
    }
    (folder / "run.json").write_text(json.dumps(about, indent=1))
    write_jsonl(folder / "runhistory.jsonl", history)
    write_jsonl(folder / "trajectory.jsonl", path)
    if validated and state == "finished":
        configs = {line["config_id"]: line["config"] for line in path}
        write_jsonl(
            folder / "validation.jsonl",
            [
                evaluation(variant, config, "sklearn/digits/0", 900_000 + k)
                for config in configs.values()
                for k in range(validation_seeds)
            ],
        )
    return folder


def write_jsonl(path: Path, records: list[dict[str, Any]]) -> None:
    """One JSON object a line."""
    path.write_text("".join(json.dumps(record) + "\n" for record in records))


def write_benchmark(
    results: Path,
    *,
    variants: tuple[str, ...] = ("set", "rigl", "meta"),
    configurators: tuple[str, ...] = ("random_search", "smac", "irace"),
    seeds: int = 3,
    trials: int = 120,
) -> Path:
    """A whole benchmark with its baselines."""
    for variant in ("static", "dense"):
        write_run(results, variant, "default", 1, trials=10)
    for variant in variants:
        for configurator in configurators:
            for seed in range(1, seeds + 1):
                write_run(results, variant, configurator, seed, trials=trials)
    return results


@pytest.fixture
def make_run() -> Callable[..., Path]:
    """`write_run`."""
    return write_run


@pytest.fixture(scope="session")
def spaces() -> Callable[[str], Space]:
    """`space_of`."""
    return space_of


@pytest.fixture(scope="session")
def benchmark_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small whole benchmark; not to be changed by a test."""
    return write_benchmark(tmp_path_factory.mktemp("benchmark"), trials=40)
