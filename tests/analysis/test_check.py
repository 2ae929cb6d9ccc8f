"""Records that lost something: `check` names it, and no damage ends in another exception."""

import json
import random
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from analysis import ablation
from analysis.report import write_report
from sparse_training.errors import BadInput
from tests.analysis.benchmark import change_lines, evaluated, make_run, space_of
from tests.commands.test_command_line import invoke
from wrappers.check import check
from wrappers.records import (
    ABLATION,
    ABLATION_TRIALS,
    CHECKSUM,
    RUN,
    RUNHISTORY,
    TRAJECTORY,
    VALIDATION,
    Incumbent,
    append_line,
    checksum,
    read_lines,
    read_run,
    to_json,
    write_run,
)

FILES = (RUN, RUNHISTORY, TRAJECTORY, VALIDATION, ABLATION, ABLATION_TRIALS)


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results with every kind of record: three runs, one with an ablation. Not to be changed."""
    results = tmp_path_factory.mktemp("pristine")
    for variant, seed in (("alpha", 1), ("alpha", 2), ("beta", 1)):
        run = make_run(results, variant, "model", seed, trials=24)
    default, *_, final = read_lines(run / TRAJECTORY, Incumbent)

    def costs(asked: list[tuple[Any, str, int]]) -> list[float]:
        for config, instance, number in asked:
            seed = 800_000 + number
            done = evaluated("beta", config, instance, seed, code="c0de00000000", engine="masked")
            append_line(run / ABLATION_TRIALS, done)
        trials = read_trials(run)
        return [trials[to_json_key(*each)] for each in asked]

    pairs = [("sklearn/digits/0/1", k) for k in range(3)]
    path = ablation.race(space_of("beta"), default.config, final.config, costs, pairs)
    (run / ABLATION).write_text(to_json(path, indent=1) + "\n")
    return results


def read_trials(run: Path) -> dict[object, float]:
    lines = map(json.loads, (run / ABLATION_TRIALS).read_text().splitlines())
    return {
        to_json_key(line["config"], line["instance"], line["seed"] - 800_000): line["cost"]
        for line in lines
    }


def to_json_key(config: Any, instance: str, seed: int) -> object:
    return json.dumps(config, sort_keys=True), instance, seed


@pytest.fixture
def results(pristine: Path, tmp_path: Path) -> Path:
    """A copy of them that a test may damage."""
    return shutil.copytree(pristine, tmp_path / "results")


def run_of(results: Path) -> Path:
    """The run with all kinds of records."""
    return results / "digits" / "beta" / "model" / "seed-1"


def found_in(results: Path) -> list[str]:
    """What is wrong, relative to the results; each is one line."""
    _, found = check(results)
    assert all("\n" not in line for line in found)
    return [line.replace(f"{results}/", "") for line in found]


# Whole records -----------------------------------------------------------------------------------


def test_whole_records_are_said_to_be_whole(pristine: Path) -> None:
    assert found_in(pristine) == []
    records = sum(len(file.read_text().splitlines()) for file in pristine.rglob("*.jsonl"))
    status, said = invoke("check", str(pristine))
    assert (status, said.strip()) == (0, f"3 runs, {records} records: all whole")
    assert invoke("check", str(run_of(pristine)))[0] == 0


def test_nothing_to_check_is_bad_input_that_names_the_command(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(BadInput, match="no run in it; 'sparse-aclib run' makes one"):
            check(folder)


def test_a_run_under_way_is_whole_as_far_as_it_is(results: Path) -> None:
    run = run_of(results)
    write_run(
        run, replace(read_run(run), state="running", trials_used=0, budget_used=None, finished=None)
    )
    for file in (VALIDATION, ABLATION, ABLATION_TRIALS):
        (run / file).unlink()
    assert found_in(results) == []


# What is wrong is named --------------------------------------------------------------------------

Damage = Callable[[Path], object]


def lines_of(file: str, change: Callable[[list[str]], list[str]]) -> Damage:
    """What gives a file of lines other lines."""

    def damage(run: Path) -> None:
        lines = (run / file).read_text().splitlines(keepends=True)
        (run / file).write_text("".join(change(lines)))

    return damage


def value_of(file: str, number: int, **values: Any) -> Damage:
    """What edits a line, and makes its checksum right again, as who knows how it is made."""

    def change(lines: list[str]) -> list[str]:
        plain = json.loads(lines[number]) | values
        return [
            *lines[:number],
            json.dumps(plain | {CHECKSUM: checksum(plain)}) + "\n",
            *lines[number + 1 :],
        ]

    return lines_of(file, change)


def info_of(**values: Any) -> Damage:
    """What edits run.json, as who knows how its checksum is made."""
    return lambda run: write_run(run, replace(read_run(run), **values))


DAMAGES: dict[str, tuple[Damage, str]] = {
    "the head of a runhistory": (
        lines_of(RUNHISTORY, lambda lines: lines[5:]),
        f"{RUNHISTORY}: 19 lines, expected the 24 of trials_used in {RUN}",
    ),
    "no runhistory": (
        lambda run: (run / RUNHISTORY).unlink(),
        f"{RUNHISTORY}: 0 lines, expected the 24",
    ),
    "no trajectory": (
        lambda run: (run / TRAJECTORY).unlink(),
        f"{TRAJECTORY}: no line, expected at least the default",
    ),
    "no run.json": (lambda run: (run / RUN).unlink(), f"{RUN}: no such file, expected the record"),
    "a doubled trial": (
        lines_of(RUNHISTORY, lambda lines: [*lines, lines[3]]),
        f"{RUNHISTORY}:25: the trial of line 4 again (4), expected each once",
    ),
    "a doubled number": (
        value_of(RUNHISTORY, 6, trial=3),
        f"{RUNHISTORY}:7: the trial of line 3 again (3), expected each once",
    ),
    "trials in another order": (
        lines_of(RUNHISTORY, lambda lines: [lines[1], lines[0], *lines[2:]]),
        f"{RUNHISTORY}:1: trial 2, expected 1",
    ),
    "other code": (value_of(RUNHISTORY, 9, code="0" * 12), f"{RUNHISTORY}:10: code of the masked"),
    "another cutoff": (value_of(VALIDATION, 2, cutoff=61.0), f"{VALIDATION}:3: cutoff is 61.0"),
    "a torn line": (
        lines_of(VALIDATION, lambda lines: [*lines[:-1], lines[-1][:40]]),
        "a torn last line",
    ),
    "a configuration that no trial has": (
        lines_of(RUNHISTORY, lambda lines: [*lines, lines[-1]]),
        f"{RUNHISTORY}:25: the trial of line 24 again",
    ),
    "a validation less": (
        lines_of(VALIDATION, lambda lines: lines[1:]),
        "lacks 1 of 5 (instance, seed) pairs",
    ),
    "a validation twice": (
        lines_of(VALIDATION, lambda lines: [*lines, lines[0]]),
        f"{VALIDATION}:{{last}}: the configuration, instance, seed of line 1 again",
    ),
    "an incumbent that is gone": (
        lines_of(TRAJECTORY, lambda lines: lines[:1]),
        f"expected one of {TRAJECTORY}",
    ),
    "an incumbent twice": (
        lines_of(TRAJECTORY, lambda lines: [*lines, lines[-1]]),
        "again, expected another incumbent",
    ),
    "another default": (
        lines_of(TRAJECTORY, lambda lines: lines[1:]),
        f"{TRAJECTORY}:1: configuration ",
    ),
    "an ablation to elsewhere": (
        lines_of(TRAJECTORY, lambda lines: lines[:1]),
        f"{ABLATION}: target is",
    ),
    "an ablation without its trials": (
        lambda run: (run / ABLATION_TRIALS).unlink(),
        f"{ABLATION_TRIALS}: no such file",
    ),
    "another folder": (info_of(seed=9), f"{RUN}: record of digits/beta/model/seed-9, expected it"),
    "another scenario": (info_of(scenario="digits/alpha"), f"{RUN}: scenario is digits/alpha, exp"),
    "finished at no time": (info_of(finished=None), f"{RUN}: state is finished and finished is"),
    "a file left over": (
        lambda run: (run / ".run-abc_12xy").write_text("{"),
        ".run-abc_12xy: left over from a process that was killed",
    ),
    "checksums taken away": (
        lambda run: change_lines(run / RUNHISTORY, lambda number, line: None),
        f"{RUNHISTORY}:1: no checksum",
    ),
}


@pytest.mark.parametrize("case", DAMAGES)
def test_what_is_missing_doubled_edited_torn_or_mixed_is_named(case: str, results: Path) -> None:
    damage, expected = DAMAGES[case]
    damage(run_of(results))
    lines = (run_of(results) / VALIDATION).read_text().splitlines()
    expected = expected.replace("{last}", str(len(lines)))
    found = found_in(results)
    assert any(expected in line for line in found), found
    status, said = invoke("check", str(results))
    assert status == 1 and expected in said


def test_equal_trials_have_equal_costs_everywhere(results: Path) -> None:
    copied = results.parent / "copied" / "digits" / "beta" / "model" / "seed-1"
    shutil.copytree(run_of(results), copied)
    assert found_in(results.parent) == []
    value_of(RUNHISTORY, 2, cost=0.5)(copied)
    (named,) = check(results.parent)[1]
    assert named.startswith(f"{run_of(results) / RUNHISTORY}:3: cost is ")
    assert named.endswith(f"expected 0.5 as in {copied / RUNHISTORY}:3")


def test_siblings_that_do_not_depend_on_the_same_are_named(results: Path) -> None:
    sibling = results / "digits" / "alpha" / "model" / "seed-2"
    write_run(
        sibling, replace(read_run(sibling), hashes=replace(read_run(sibling).hashes, space="0"))
    )
    (named,) = found_in(results)
    assert named.startswith("digits/alpha/model/seed-2/run.json: hashes.space differs from that of")


# The report ----------------------------------------------------------------------------------


def test_a_bad_record_leaves_out_its_run_and_the_page_and_the_console_name_it(
    results: Path,
) -> None:
    lines_of(RUNHISTORY, lambda lines: [*lines[:3], "{}\n", *lines[4:]])(run_of(results))
    fault = f"{run_of(results) / RUNHISTORY}:4: Object missing required field `config_id`"
    status, said = invoke("report", str(results))
    assert status == 0 and f"Left out: {fault}" in said and "Report: " in said
    assert fault in (results / "report.html").read_text()
    table = (results / "tables" / "runs.csv").read_text()
    assert "alpha" in table and "beta" not in table


def test_a_bad_ablation_leaves_out_the_path_and_not_the_run(results: Path) -> None:
    (run_of(results) / ABLATION).write_text("[" * 10**5)
    left_out: list[str] = []
    write_report(results, left_out=left_out.append)
    assert len(left_out) == 1 and f"{run_of(results) / ABLATION}: " in left_out[0]
    assert "beta" in (results / "tables" / "runs.csv").read_text()


def test_where_no_run_is_left_the_report_is_one_line(results: Path) -> None:
    for file in results.rglob(RUN):
        file.write_text("null")
    status, said = invoke("report", str(results))
    assert status == 2 and "\n" not in said.strip()
    assert "and 2 more: 'sparse-aclib check" in said
    assert not (results / "report.html").exists()


def test_every_set_has_links_to_its_own_sections(results: Path) -> None:
    for file in list(results.rglob(RUN)):
        info = read_run(file.parent)
        other = results / "other" / info.variant / info.configurator / f"seed-{info.seed}"
        shutil.copytree(file.parent, other)
        write_run(other, replace(info, set="other", scenario=f"other/{info.variant}"))
    html = write_report(results).read_text()
    for name in ("digits", "other"):
        assert f'href="#{name}-gain"' in html and f'id="{name}-gain"' in html


def test_trials_are_counted_by_how_they_ended_in_runs_and_in_validation(results: Path) -> None:
    value_of(VALIDATION, 1, status="CRASHED", cost=1.0)(run_of(results))
    html = write_report(results).read_text()
    rows = (results / "tables" / "statuses.csv").read_text().splitlines()
    validated = len((run_of(results) / VALIDATION).read_text().splitlines())
    assert "digits,beta,model,run,24,24,0,0,0" in rows
    assert f"digits,beta,model,validation,{validated},{validated - 1},0,1,0" in rows
    assert "1 validation trial of" in html and "did not end with SUCCESS" in html


# Whatever happens to a file ----------------------------------------------------------------------

STRANGE: tuple[Any, ...] = (
    *(None, True, -1, 0, 7, 1e308, 10**30, 0.5, "", "x", "\ud800", "[/x]", "<b>", [], {}),
    *([1], {"a": 1}, {"a": {"b": []}}),
)


def slots(value: Any) -> Iterator[tuple[Any, Any]]:
    """Everything in a JSON value that can be replaced: what holds it, and its key there."""
    keys = (
        value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    )
    for key in keys:
        yield value, key
        yield from slots(value[key])


def edited(text: str, rng: random.Random) -> str:
    """A record with a field removed or replaced; its checksum as it was, right, or gone."""
    record = json.loads(text)
    holder, key = rng.choice(list(slots(record)))
    if rng.random() < 0.3:
        del holder[key]
    else:
        holder[key] = rng.choice(STRANGE)
    seal = rng.choice(("kept", "right", "gone"))
    if isinstance(record, dict) and seal != "kept":
        record.pop(CHECKSUM, None)
        if seal == "right":
            record[CHECKSUM] = checksum(record)
    return json.dumps(record)


def damaged(content: bytes, whole: bool, rng: random.Random) -> bytes:
    """A file with one thing wrong with it; `whole` files are one record, others a line each."""
    how = rng.choice(("byte", "cut", "edit", "edit", "edit", "line"))
    if how == "byte":
        place = rng.randrange(len(content))
        return content[:place] + bytes([rng.randrange(256)]) + content[place + 1 :]
    if how == "cut":
        return content[: rng.randrange(len(content))]
    if whole:
        return edited(content.decode(), rng).encode()
    lines = content.decode().splitlines()
    here, there = rng.randrange(len(lines)), rng.randrange(len(lines))
    if how == "edit":
        lines[here] = edited(lines[here], rng)
    elif (what := rng.choice(("cut", "swap", "double", "strange"))) == "cut":
        del lines[here]
    elif what == "swap":
        lines[here], lines[there] = lines[there], lines[here]
    elif what == "double":
        lines.insert(there, lines[here])
    else:
        lines[here] = rng.choice(("{}", "null", "5", "[]", "", "[" * 10**5, "9" * 5000))
    return "".join(line + "\n" for line in lines).encode()


def parsed(content: bytes, whole: bool) -> list[Any]:
    """The values in a file, without checksums; what is no JSON stands for itself."""
    values: list[Any] = []
    for text in [content] if whole else content.splitlines():
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            value = text
        if isinstance(value, dict):
            value.pop(CHECKSUM, None)
        values.append(value)
    return values


@pytest.mark.parametrize("file", FILES)
def test_whatever_happens_to_a_file_is_told_in_lines(file: str, results: Path) -> None:
    target = run_of(results) / file
    content, whole = target.read_bytes(), file.endswith(".json")
    rng = random.Random(file)
    for _ in range(60):
        target.write_bytes(damaged(content, whole, rng))
        found_in(results)
    for _ in range(5):
        target.write_bytes(damaged(content, whole, rng))
        left_out: list[str] = []
        write_report(results, left_out=left_out.append)
        assert all("\n" not in line for line in left_out)


@pytest.mark.parametrize("file", FILES)
def test_every_edit_that_changes_a_value_is_named(file: str, results: Path) -> None:
    """But for those of who makes the checksum right again."""
    target = run_of(results) / file
    content, whole = target.read_bytes(), file.endswith(".json")
    rng = random.Random(f"values of {file}")
    changes = 0
    for _ in range(80):
        after = damaged(content, whole, rng)
        target.write_bytes(after)
        values, before = parsed(after, whole), parsed(content, whole)
        forged = any(
            isinstance(plain := parsed_with_seal(line), dict)
            and line not in content
            and plain.get(CHECKSUM) == checksum(plain)
            for line in ([after] if whole else after.splitlines())
        )
        same = sorted(map(repr, values)) == sorted(map(repr, before))
        fewer = file in (TRAJECTORY, ABLATION_TRIALS) and all(value in before for value in values)
        if not (same or fewer or forged):
            changes += 1
            assert any(str(target) in line for line in check(results)[1]), after[:2000]
    assert changes > 20


def parsed_with_seal(text: bytes) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def test_a_path_that_looks_like_markup_is_printed_as_it_is(pristine: Path, tmp_path: Path) -> None:
    results = shutil.copytree(pristine, tmp_path / "[" / "x][bold]")
    assert invoke("check", str(results))[0] == 0
    (run_of(results) / RUNHISTORY).unlink()
    for command, status in (("check", 1), ("report", 0)):
        ended, said = invoke(command, str(results))
        assert ended == status and str(run_of(results) / RUNHISTORY) in said
