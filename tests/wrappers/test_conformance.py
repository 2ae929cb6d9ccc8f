"""What reads our answers, each by the letter of its own reader.

The readers are written here from what each program accepts (its source or manual, named); they
decide as it does about every status in both dialects. None of their code is used.
"""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from target_algorithms.contract import Details, Result, failure
from tests.wrappers.test_aclib import trained
from wrappers.aclib import answer

SEED, CUTOFF = 17, 60.0


@dataclass(frozen=True)
class Read:
    """What a program makes of an answer."""

    status: str
    cost: float


class Refused(Exception):
    """The program stops, or takes the answer for none."""


def fields_of(line: str, *names: str) -> list[str]:
    """What stands behind the last of the names, at its commas."""
    for name in names:
        line = line.replace(name, "")
    return [field.strip() for field in line.split(",")]


def smac_2(output: str) -> Read:
    """SMAC 2.08 and 2.10 (their manual, section on the wrapper's output): five or six fields; a
    negative runtime or another seed is refused, as is a status that it does not know."""
    pattern = re.compile(
        r"^\s*(Final\s+)?[Rr]esult\s+(for|of)\s+(SMAC|ParamILS|HAL|this\s+(algorithm\s+run|wrapper))\s*:"
    )
    lines = [line for line in output.splitlines() if pattern.match(line)]
    if len(lines) != 1:
        raise Refused(f"{len(lines)} lines of results")
    status, runtime, _, quality, seed, *more = fields_of(pattern.sub("", lines[0]))
    known = ("SAT", "UNSAT", "SUCCESS", "TIMEOUT", "CRASHED", "ABORT")
    if status not in known or len(more) > 1 or float(runtime) <= 0 or int(seed) != SEED:
        raise Refused(lines[0])
    if status == "ABORT":
        raise Refused("told to stop")
    return Read(status, float(quality))


def smac3_1(output: str) -> Read:
    """SMAC3 1.4, target algorithms `old` (ExecuteTARunOld): a line that begins with one of three
    names; statuses by their beginnings; the seed need not be ours."""
    pattern = r"(Result of this algorithm run|Result for SMAC|Result for ParamILS):(.*)"
    for line in output.splitlines():
        if match := re.match(pattern, line):
            status, _, _, quality, _, *_ = (field.strip() for field in match[2].split(","))
            if status == "ABORT":
                raise Refused("told to stop")
            if status not in ("SAT", "UNSAT", "SUCCESS", "TIMEOUT", "CRASHED", "MEMOUT"):
                raise Refused(line)
            return Read(status, float(quality))
    raise Refused("no result")


def paramils(output: str) -> Read:
    """ParamILS 2.3 (global_helper.rb): anywhere in a line, under two names only; numbers by what
    Ruby makes of their beginnings; whatever has none of them is a crash."""
    for line in output.splitlines():
        if "Result for ParamILS: " in line or "Result for SMAC: " in line:
            status, _, _, quality, seed, *_ = fields_of(
                line, "Result for ParamILS: ", "Result for SMAC: "
            )
            if status == "ABORT":
                raise Refused("told to stop")
            if int(seed) != SEED:
                raise Refused("another seed")
            return Read(status, float(quality))
    raise Refused("counted as CRASHED")


def gps(output: str) -> Read:
    """GPS 1.2 (command_runner.py): the quality in the third field; MEMOUT and ABORT are crashes."""
    names = ("Result for SMAC:", "Result for ParamILS:", "Result for GPS:")
    for line in output.splitlines():
        if any(name in line for name in names):
            status, runtime, quality, *_ = line[line.index(":") + 1 :].split(",")
            if float(runtime) > CUTOFF:
                raise Refused("over the cutoff")
            success = "SAT" in status or "SUCCESS" in status
            told = "SUCCESS" if success else "TIMEOUT" if "TIMEOUT" in status else "CRASHED"
            return Read(told, float(quality))
    raise Refused("counted as CRASHED")


def irace(output: str) -> Read:
    """irace 3.5 and 4 with `aclib = 1` (R/race-wrapper.R): JSON in greedy braces, behind which a
    line must end; CRASHED and ABORT stop it."""
    match = re.search(r"Result of this algorithm run:\s*\{(.+)\}\s*\n", output)
    if match is None:
        raise Refused("not valid AClib output")
    said = json.loads("{" + match[1] + "}")
    if said["status"] not in ("SUCCESS", "TIMEOUT"):
        raise Refused(said["status"])
    if float(said["runtime"]) < 0:
        raise Refused("a negative time")
    return Read(said["status"], float(said["cost"]))


def smac3_1_aclib(output: str) -> Read:
    """SMAC3 1.4, target algorithms `aclib` (ExecuteTARunAClib): the JSON of such a line."""
    for line in output.splitlines():
        if line.startswith("Result of this algorithm run:"):
            said = json.loads(line.partition(":")[2])
            if said["status"] == "ABORT":
                raise Refused("told to stop")
            return Read(said["status"], float(said["cost"]))
    raise Refused("no result")


def generic_wrapper(output: str) -> Read:
    """What reads GenericWrapper4AC's answers: JSON first, then its line for older programs, and
    both say the same."""
    first, second = output.splitlines()
    said = json.loads(first.removeprefix("Result of this algorithm run: "))
    status, _, _, quality, *_ = fields_of(second, "Result for ParamILS: ")
    if status != said["status"] or float(quality) != said["cost"]:
        raise Refused("the lines differ")
    if status == "ABORT":
        raise Refused("told to stop")
    return Read(status, float(quality))


POSITIONAL = (smac_2, smac3_1, paramils, gps)
NAMED = (irace, smac3_1_aclib, generic_wrapper)
SUCCESS = Result(status="SUCCESS", runtime=1.5, trained=trained(Details()))
RESULTS = {
    "SUCCESS": SUCCESS,
    "TIMEOUT": failure("TIMEOUT", "stopped at its cutoff of 60 s"),
    "CRASHED": failure("CRASHED", "ValueError: shapes (3,4), (5,) and \"quotes\": {'a': 1}"),
    "ABORT": failure("ABORT", "unknown parameter 'x', expected one of a, b, c"),
}
STOPS = {"ABORT": (smac_2, smac3_1, paramils, *NAMED), "CRASHED": (irace,)}
"""Which program an answer stops, as it does by any wrapper; GPS takes ABORT for a crash."""


@pytest.mark.parametrize("status", RESULTS)
@pytest.mark.parametrize("reader", [*POSITIONAL, *NAMED])
def test_every_reader_understands_every_status(reader: Callable[[str], Read], status: str) -> None:
    result = RESULTS[status]
    output = answer(reader in NAMED, SEED, result) + "\n"
    if reader in STOPS.get(status, ()):
        with pytest.raises(Refused):
            reader(output)
        return
    told = "CRASHED" if status == "ABORT" else status
    assert reader(output) == Read(told, result.cost)


@pytest.mark.parametrize("reader", POSITIONAL)
def test_lines_around_the_answer_are_noise(reader: Callable[[str], Read]) -> None:
    output = f"loading data, please wait\n\n{answer(False, SEED, SUCCESS)}\nbye: 1, 2, 3\n"
    assert reader(output) == Read("SUCCESS", SUCCESS.cost)


def test_the_readers_refuse_what_their_programs_refuse() -> None:
    """Tried with the programs themselves: these are not answers."""
    named = answer(True, SEED, SUCCESS).splitlines()[0]
    for reader in (smac_2, paramils, gps):
        with pytest.raises((Refused, ValueError)):
            reader(named + "\n")
    with pytest.raises(Refused):
        irace(named)  # nothing behind the braces, not even the end of the line
    with pytest.raises(Refused):
        paramils("Result of this algorithm run: SUCCESS, 1.5, 0.1, 0.1, 17\n")
    assert paramils("Result for ParamILS: SUCCESS, 1.5, 0.1, 0.1, 17\n").cost == 0.1
    four = "Result for GPS: SUCCESS, 1.5, 0.1, something\n"
    assert gps(four).cost == 0.1
