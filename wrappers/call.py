"""Answer one call of a target algorithm: what `./wrappers/target` does once it has its libraries.

Standard output gets the result line or lines and nothing else; standard error one line when there
is something to mend. Exit status 0 for SUCCESS and TIMEOUT, 1 for CRASHED and ABORT.
"""

import math
import os
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from types import FrameType

from sparse_training.errors import BadInput
from target_algorithms import Role, variant, variants
from target_algorithms.contract import Result, Trial, failure
from wrappers import aclib
from wrappers.space import Parameter, resolved, variant_space
from wrappers.worker import run_here

HELP = """\
A target algorithm: trains a sparse network on one instance and answers with its validation error.

  ./wrappers/target VARIANT [options] --instance I --cutoff S --seed N --config -name value ...
  ./wrappers/target VARIANT [options] I specifics cutoff length seed -name value ...

Variants: {variants}
Options (fixed by the scenario, never configured):
  --active-weights N      budget of active weights, biases not counted (not for dense); or
  --density SHARE         the same as a share of all weights, such as 0.01
  --peak-weights N        active weights allowed before the end (default: the same); or
  --peak FACTOR           the same as a multiple of the budget, such as 4
  --training-samples N    training budget: samples seen, repeats counted; or
  --training-flops N      training budget: floating-point operations by the ledger; or
  --static-samples N      the operations that N samples take under a mask that never changes
  --hidden A-B-...        multi-layer perceptron: widths of the hidden layers, before width_factor;
  --network NAME          or a convolutional network: lenet5, wrn-16-2, wrn-22-2
  --engine NAME           auto, masked or sparse (default auto: the faster one that can do it)
  --device NAME           cpu or cuda (default cpu)
  --memory-limit MIB      resident memory of a trial (default 4096)
  --only NAME:VALUE,...   fixes parameters, or narrows them: NAME:LOW/HIGH, NAME:CHOICE/CHOICE
Instance: source/dataset/fold, or of that fold's training part an inner fold, a sample, a half:
  sklearn/digits/0, sklearn/digits/0/3, sklearn/digits/0/500+600/1 (600 others judge),
  sklearn/digits/0/500/1 (the fold's test part judges), sklearn/digits/0/halves/1.
Cutoff: wall-clock seconds for the training (start-up is not charged); none when absent.
Fidelity: --fidelity S, beside the options: a share of the training budget, above 0 and at most 1
  (1 when absent); schedules are those of the shorter run.
Every active parameter of the variant's space must be given, inactive ones must not:
'./wrappers/target VARIANT --help' lists them.

Try:
  ./wrappers/target {baseline} --active-weights 1000 --training-samples 20000 --hidden 256-256 \\
    --instance sklearn/digits/0 --cutoff 60 --seed 1 --config {example}
"""


def help_text(words: Sequence[str]) -> str:
    """The general help, or that of the variant that the first word names."""
    if not words or words[0].startswith("-"):
        baseline = next(each for each in variants().values() if each.role is Role.BASELINE)
        example = " ".join(f"-{k} {v}" for k, v in variant_space(baseline).default.items())
        return HELP.format(variants=" ".join(variants()), baseline=baseline.name, example=example)
    space = variant_space(variant(words[0]))
    conditions: dict[str, list[str]] = {}
    for condition in space.conditions:
        text = f"{condition.parent} in {{{', '.join(condition.values)}}}"
        conditions.setdefault(condition.child, []).append(text)
    lines = [f"Parameters of {words[0]}: name, range, default, when it is active"]
    for parameter in space.parameters:
        active = " and ".join(conditions.get(parameter.name, []))
        columns = f"{_range(parameter):38} {parameter.default!s:10} {active}"
        lines.append(f"  -{parameter.name:24} {columns}".rstrip())
    for constant in space.constants:
        lines.append(f"Fixed, not to be given: {constant.name} {constant.value}")
    for clause in space.forbidden:
        lines.append("Forbidden: " + " with ".join(f"{name}={value}" for name, value in clause))
    if "density_path" in space.by_name:
        lines.append(
            "Without --peak-weights or --peak density_path is constant and not to be given, nor "
            "what depends on it."
        )
    lines.append("With --network depth_change is 0 and not to be given.")
    return "\n".join(lines) + "\n"


def _range(parameter: Parameter) -> str:
    if parameter.kind == "categorical":
        return "{" + ", ".join(parameter.choices) + "}"
    return f"{parameter.kind} [{parameter.low:g}, {parameter.high:g}]" + " log" * parameter.log


def evaluate(call: aclib.Call, run: Callable[[Trial], Result] = run_here) -> Result:
    """Checks a call and has its trial run. Raises BadInput."""
    options = aclib.parse_options(call.options)
    for name, value in options.fixed.items():
        if name in call.config:
            needs = "--peak-weights or --peak" if name == "density_path" else "--hidden"
            raise BadInput(f"parameter {name} is {value} unless {needs} is given: leave it out")
    called = variant(call.variant)
    space = variant_space(called, options)
    asked, config = resolved(called, space.complete(space.check(call.config)))
    trial = Trial(
        variant=asked.name,
        folder=str(asked.folder),
        options=options,
        instance=call.instance,
        seed=call.seed % 2**32,  # of -1, which SMAC 2 sends for a deterministic scenario
        config=config,
        cutoff=None if math.isinf(call.cutoff) else call.cutoff,
        fidelity=call.fidelity,
    )
    started = datetime.now(UTC).isoformat(timespec="milliseconds")
    result = run(trial)
    result = replace(result, runtime=min(result.runtime, call.cutoff))  # as configurators expect it
    if os.environ.get("SPARSE_ACLIB_RECORD"):
        from wrappers import record  # what it needs is not light

        cutoff = trial.cutoff if trial.cutoff is not None else sys.float_info.max
        record.keep(called, space.check(call.config), trial, cutoff, started, result)
    return result


_STOPPED_BY = (signal.SIGTERM, signal.SIGINT, signal.SIGXCPU)


class _Interrupted(BaseException):
    """The caller asked this process to end."""


def _interrupt(number: int, frame: FrameType | None) -> None:
    _on_stop(signal.SIG_IGN)  # it is told
    raise _Interrupted(signal.Signals(number).name)


def _on_stop(action: Callable[[int, FrameType | None], None] | signal.Handlers) -> None:
    for number in _STOPPED_BY:
        signal.signal(number, action)


def main(words: Sequence[str], run: Callable[[Trial], Result] = run_here) -> tuple[int, str, str]:
    """The answer to the call that the words make: exit status, standard output, a complaint."""
    if not words or {"-h", "--help"} & set(words[:2]):
        try:
            return 0, f"{help_text(words)}Nicer to read: sparse-aclib eval (same words).\n", ""
        except BadInput as error:
            return 1, "", f"target: {error}"
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # a caller may ignore what becomes of children
    _on_stop(_interrupt)

    def run_once(trial: Trial) -> Result:
        result = run(trial)
        _on_stop(signal.SIG_IGN)  # what there is now is recorded and told
        return result

    # Without a call there is still an answer to give, in the dialect that was tried.
    named, seed = "--config" in words, 0
    result: Result
    try:
        call = aclib.parse(words)
        named, seed = call.named, call.seed
        result = evaluate(call, run_once)
    except BadInput as error:
        result = failure("ABORT", str(error))
    except _Interrupted as error:
        result = failure("CRASHED", f"stopped by {error}")
    except Exception as error:  # whatever it is, a configurator must get its answer
        result = failure("CRASHED", f"{type(error).__name__}: {' '.join(str(error).split())}")
    _on_stop(signal.SIG_IGN)
    status = 0 if result.status in ("SUCCESS", "TIMEOUT") else 1
    complaint = f"target: {result.status}: {result.error}" if result.error else ""
    return status, f"{aclib.answer(named, seed, result)}\n", complaint
