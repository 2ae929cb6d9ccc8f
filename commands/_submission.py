"""`sparse-aclib benchmark --slurm`: what of a benchmark is not finished, as jobs of SLURM."""

import shlex
from collections.abc import Callable, Sequence

from commands._console import say
from sparse_training.errors import BadInput
from sparse_training.files import write_whole
from wrappers.processes import environment
from wrappers.slurm import (
    Stage,
    Submission,
    call,
    locks_hold,
    most_tasks,
    queued,
    settings,
    stages,
    submitted,
)


def submit(
    submission: Submission,
    words: Sequence[str],
    unfinished: Callable[[int], tuple[list[bool], list[bool]]],
    *,
    reported: bool,
    dry: bool,
) -> None:
    """Submits what is neither finished nor queued.

    words: the command that makes the benchmark; unfinished: of at most so many shares of the runs,
    and of their validation, whether each is not finished; reported: whether there is a report;
    dry: only shows it, with or without a SLURM. Raises BadInput where SLURM refuses, or where
    locks would not hold between its nodes.
    """
    try:
        limit = most_tasks(call(["scontrol", "show", "config"]))
        there = queued(call(submission.queue()))
    except BadInput:
        if not dry:
            raise
        limit, there = most_tasks(""), []
    wanted = stages(words, *unfinished(limit), there, reported=reported)
    if there:
        say(f"{len(there)} tasks are queued or under way")
    if not wanted:
        say("Nothing is left to be submitted.")
    elif dry:
        _show(submission, wanted, [each.job for each in there])
    else:
        say(locks_hold(submission))
        after = sorted({each.job for each in there})
        for stage in wanted:
            write_whole(submission.script_file(stage), _script(submission, stage))
            job = submitted(call(submission.sbatch(stage, after)))
            say(f"job {job}: {_told(stage)}")
            after = [job]


def _show(submission: Submission, wanted: Sequence[Stage], there: Sequence[str]) -> None:
    after = sorted(set(there))
    say(f"# Whether a lock of one node holds on another:\n{shlex.join(submission.check())}\n")
    for stage in wanted:
        said = shlex.join(submission.sbatch(stage, after))
        say(f"# {_told(stage)}:\n{said}\n\n# {submission.script_file(stage)}:")
        say(_script(submission, stage))
        after = [f"JOB_OF_{stage.name.upper()}"]


def _script(submission: Submission, stage: Stage) -> str:
    return submission.script(stage, settings(environment()))


def _told(stage: Stage) -> str:
    if stage.shares is None:
        return stage.name
    return f"{stage.name}, {len(stage.tasks)} of {stage.shares} tasks"
