"""Workers on paper: list scheduling by hand."""

from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path

import pytest

from benchmarks.parallel import ListScheduled, Once, OnPaper
from target_algorithms.contract import Details, Result, Trained, Trial
from tests.examples import DEFAULT_ONLY, scenario_name
from wrappers.evaluator import Evaluator
from wrappers.records import now, write_run
from wrappers.run import Ask
from wrappers.scenario import read

TRAINED = Trained(
    cost=0.5,
    active_weights=1,
    weights=2,
    density=0.5,
    training_flops=1.0,
    inference_flops=1.0,
    engine="sparse",
    misc=Details(),
)


@dataclass
class Takes(Evaluator):
    """Trials take the seconds of a list, one after the other; nothing is trained."""

    seconds: list[float]

    def submit(self, trial: Trial) -> Future[Result]:
        future: Future[Result] = Future()
        future.set_result(
            Result(status="SUCCESS", runtime=self.seconds.pop(0), trained=TRAINED, started=now())
        )
        return future


def on_paper(suite: Path, folder: Path, seconds: list[float], workers: int) -> OnPaper:
    """A run whose trials take so long."""
    scenario = read(suite / "scenarios" / scenario_name())
    info = DEFAULT_ONLY.describe(scenario, seed=1, trials=9, workers=workers)
    write_run(folder, info)
    paper = ListScheduled(Once(Takes(seconds)), workers, counts_own_time=False)
    return OnPaper(folder, scenario, info, paper)


@pytest.mark.parametrize(
    ("workers", "side_by_side", "end"),
    [
        (1, True, 7.0),
        (1, False, 7.0),
        (2, False, 7.0),  # who waits for each trial has one worker
        (2, True, 4.0),  # 3 | 1 2, and then 1
        (3, True, 3.0),  # 3 | 1 1 | 2
        (9, True, 3.0),
    ],
)
def test_trials_start_on_the_worker_that_is_free_first(
    suite: Path, tmp_path: Path, workers: int, side_by_side: bool, end: float
) -> None:
    run = on_paper(suite, tmp_path, [3.0, 1.0, 2.0, 1.0], workers)
    asked = [Ask(run.space.default, pair) for pair in range(4)]
    if side_by_side:
        run.evaluate_many(asked)
    else:
        for ask in asked:
            run.evaluate(*ask)
    assert run.end == pytest.approx(end)


def test_what_is_waited_for_moves_the_clock_and_nothing_else_does(
    suite: Path, tmp_path: Path
) -> None:
    """Of 5 and 1 seconds the second is waited for; the third begins when it has ended."""
    run = on_paper(suite, tmp_path, [5.0, 1.0, 6.0], 2)
    first, second = (run.submit(Ask(run.space.default, pair)) for pair in (0, 1))
    run.costs([second])
    third = run.submit(Ask(run.space.default, 2))
    run.costs([third])
    assert run.end == pytest.approx(7.0)
    run.costs([first])
    assert run.end == pytest.approx(7.0)
