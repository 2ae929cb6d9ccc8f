"""Records: what is written reads back, what is damaged is named, what is torn is no record."""

import json
import math
import re
import shutil
import subprocess
import sys
import threading
import time
import zipfile
from dataclasses import fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparse_training.errors import BadInput
from target_algorithms import ROOT, Role
from target_algorithms.contract import Details, failure
from wrappers.records import (
    ABLATION,
    ABLATION_TRIALS,
    CHECKSUM,
    README,
    RUNHISTORY,
    TRAJECTORY,
    VALIDATION,
    AblationPath,
    AblationStep,
    Hashes,
    Incumbent,
    Numbered,
    Product,
    Record,
    RunInfo,
    append_line,
    documented,
    from_json,
    numbered,
    page,
    read_lines,
    read_run,
    read_whole,
    record,
    scan_lines,
    to_json,
    write_run,
)
from wrappers.space import Config, config_id
from wrappers.validation import runs_below, validate


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What 0.2 recorded: two runs of one variant, one under way, two of the default only."""
    folder = tmp_path_factory.mktemp("records-0.2")
    with zipfile.ZipFile(Path(__file__).with_name("records-0.2.zip")) as archive:
        archive.extractall(folder)
    return folder


CONFIG: Config = {"momentum": 0.9, "batch_size": 64, "optimizer": "sgd"}

LINE = Numbered(
    trial=3,
    config_id=config_id(CONFIG),
    config=CONFIG,
    instance="a/b/0/1",
    seed=7,
    cutoff=60.0,
    status="SUCCESS",
    cost=0.25,
    runtime=1.5,
    cpu_time=1.25,
    active_weights=500,
    weights=2000,
    density=0.25,
    training_flops=6e6,
    inference_flops=1000.0,
    peak_memory=80.5,
    engine="sparse",
    code="0123456789ab",
    started="2026-01-02T03:04:05.678+00:00",
    worker="here:42",
    misc=Details(diverged=False, samples=1500, explored=0.5, test_rows=119),
)


# Records of version 0.2 --------------------------------------------------------------------------


def test_every_file_that_version_0_2_recorded_reads(old: Path) -> None:
    runs = runs_below([old])
    states = [read_run(run).state for run in runs]
    assert sorted(states) == ["finished"] * 4 + ["running"]
    for run in runs:
        info = read_run(run)
        assert info.format == 1
        assert (info.role, info.configures, info.product) == (None, None, None)
        assert run.parts[-4:-1] == (info.set, info.variant, info.configurator)
        assert len(info.hashes.target_algorithms or "") == 64 and info.copies == {}
        trials = read_lines(run / RUNHISTORY, Numbered)
        assert [trial.trial for trial in trials] == list(range(1, len(trials) + 1))
        assert info.trials_used in (0, len(trials)) and len(trials) >= 4
        assert {trial.code for trial in trials} == {None}
        assert {trial.engine for trial in trials} <= {"masked", "sparse"}
        assert all(trial.misc.test_rows and trial.misc.error is None for trial in trials)
        incumbents = read_lines(run / TRAJECTORY, Incumbent)
        assert incumbents[0].config == trials[0].config
        pairs = {record.key[1:] for record in read_lines(run / VALIDATION, Record)}
        assert len(pairs) == (2 if info.state == "finished" else 0)
    (ablated,) = old.rglob(ABLATION)
    path = read_whole(ablated, AblationPath)
    assert path.source_cost - path.target_cost == pytest.approx(sum(s.gain for s in path.steps))
    trials_of_it = read_lines(ablated.with_name(ABLATION_TRIALS), Record)
    assert {trial.config_id for trial in trials_of_it} == {config_id(path.source)}


def test_a_line_of_version_0_2_is_written_as_it_was_but_for_the_code(old: Path) -> None:
    for file in old.rglob(RUNHISTORY):
        for line, trial in zip(file.open(), read_lines(file, Numbered), strict=True):
            written = json.loads(to_json(trial))
            assert written.pop("code", None) is None
            assert re.fullmatch("[0-9a-f]{12}", written.pop(CHECKSUM))
            assert written == json.loads(line)


def test_records_of_version_0_2_are_reported(old: Path, tmp_path: Path) -> None:
    from analysis.report import write_report

    shutil.copytree(old, tmp_path / "results")
    page = write_report(tmp_path / "results", missing={})
    assert page == tmp_path / "results" / "report.html"
    rows = (tmp_path / "results" / "tables" / "runs.csv").read_text().splitlines()
    rows = [re.sub(r"^(\w+)\.\d+,", r"\1,", row) for row in rows]  # groups of what can be compared
    assert len(rows) == 1 + len(runs_below([old]))
    for run in runs_below([old]):
        info = read_run(run)
        (row,) = [
            r for r in rows if r.startswith(f"{info.set},{info.variant},{info.configurator},")
        ]
        assert f",{info.seed},{info.state},{info.trials},{info.trials_used}," in row


def test_new_trials_do_not_belong_to_records_of_version_0_2(old: Path, tmp_path: Path) -> None:
    shutil.copytree(old, tmp_path / "results")
    for run in runs_below([tmp_path]):
        with pytest.raises(BadInput) as refusal:
            validate([run], seeds=3, workers=1)
        message = str(refusal.value)
        assert message.startswith(f"{run}: made with another version of the suite (0.2, whose ")
        assert "records can be reported and not continued" in message and "\n" not in message


# Bad lines ---------------------------------------------------------------------------------------


def changed(**changes: object) -> str:
    """The line with other values and no checksum; `...` leaves a field out."""
    plain = {**json.loads(to_json(LINE)), CHECKSUM: ..., **changes}
    return json.dumps({name: value for name, value in plain.items() if value is not ...})


BAD = {
    "nothing in it": ("{}", "missing required field `config_id`"),
    "null": ("null", "Expected `object`, got `null`"),
    "a number": ("5", "Expected `object`, got `int`"),
    "a list": ("[]", "Expected `object`, got `array`"),
    "a text": ('"x"', "Expected `object`, got `str`"),
    "nothing at all": ("", "truncated"),
    "no JSON": ("{oops", "malformed"),
    "a part": (changed()[:40], "truncated"),
    "two records": (changed() + changed(), "trailing characters"),
    "another encoding": (changed(worker=0).replace('"worker": 0', '"worker": "\udcff"'), "utf-8"),
    "a field missing": (changed(cost=...), "missing required field `cost`"),
    "its number missing": (changed(trial=...), "missing required field `trial`"),
    "a wrong type": (changed(cost="low"), r"Expected `float`, got `str` - at `\$\.cost`"),
    "a truth for a number": (changed(seed=True), r"Expected `int`, got `bool` - at `\$\.seed`"),
    "a wrong type below": (changed(misc={"samples": "many"}), r"at `\$\.misc\.samples`"),
    "a list as a value": (changed(config={"a": [1]}), r"at `\$\.config"),
    "null for a number": (
        changed(cutoff=None),
        r"Expected `float`, got `null` - at `\$\.cutoff`",
    ),
    "not a number": (changed(runtime=float("nan")), "malformed"),
    "infinite": (changed(runtime=float("inf")), "malformed"),
    "so large that it is infinite": (changed().replace("1.5", "1e999"), "out of range"),
    "a negative seed": (changed(seed=-1), "seed is -1, expected at least 0"),
    "a huge seed": (changed(seed=2**32), "seed is 4294967296, expected at most 4294967295"),
    "a negative time": (changed(runtime=-0.5), "runtime is -0.5, expected at least 0"),
    "a negative count": (changed(weights=-3), "weights is -3, expected at least 0"),
    "no time": (changed(started="noon"), "started is 'noon', expected a time such as 20"),
    "a time without its zone": (
        changed(started="2026-01-02T03:04:05"),
        "started is '2026-01-02T03:04:05', expected a time such as 20",
    ),
    "a cost of 2": (changed(cost=2.0), "cost is 2.0, expected an error from 0 to 1"),
    "a negative cost": (changed(cost=-0.5), "cost is -0.5, expected an error from 0 to 1"),
    "another configuration": (
        changed(config_id="0123456789ab"),
        "config_id 0123456789ab is not that of its configuration",
    ),
    "deep nesting": ("[" * 10**5, "recursion|Expected `object`"),
    "deep nesting in a field": (
        changed(misc=0).replace('"misc": 0', '"misc": ' + '{"a":' * 10**5),
        "recursion",
    ),
    "deep nesting in an unknown field": (
        changed(new=0).replace('"new": 0', '"new": ' + "[" * 10**5 + "]" * 10**5),
        "recursion",
    ),
    "an integer of 5,000 digits": (
        changed(seed=0).replace('"seed": 0', '"seed": ' + "9" * 5000),
        "out of range|Integer",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_line_is_refused_in_one_line_with_its_place(case: str, tmp_path: Path) -> None:
    line, message = BAD[case]
    file = tmp_path / RUNHISTORY
    content = f"{changed()}\n{line}\n{changed()}\n".encode("utf-8", "surrogateescape")
    file.write_bytes(content)
    for repair in (False, True):
        with pytest.raises(BadInput) as refusal:
            read_lines(file, Numbered, repair=repair)
        said = str(refusal.value)
        assert said.startswith(f"{file}:2: ") and "\n" not in said and len(said) < 400
        assert re.search(message, said), said
        assert said.endswith("; expected a record as results/README.md says")
        assert file.read_bytes() == content


def test_a_bad_whole_file_is_refused_in_one_line_with_its_place(old: Path, tmp_path: Path) -> None:
    run = next(iter(runs_below([old])))
    plain = json.loads((run / "run.json").read_text())
    for changes, message in (
        ({"hashes": {}}, r"missing required field `scenario` - at `\$\.hashes`"),
        ({"trials": "30"}, r"Expected `int`, got `str` - at `\$\.trials`"),
        ({"versions": {"python": 3}}, r"Expected `str`, got `int` - at `\$\.versions"),
        ({"settings": []}, r"Expected `object`, got `array` - at `\$\.settings`"),
    ):
        (tmp_path / "run.json").write_text(json.dumps(plain | changes))
        with pytest.raises(BadInput, match=message) as refusal:
            read_run(tmp_path)
        assert str(refusal.value).startswith(f"{tmp_path}/run.json: ")
    with pytest.raises(BadInput, match="^/nosuch: no such folder, expected a run's such as"):
        read_run(Path("/nosuch"))
    (tmp_path / "run.json").unlink()
    with pytest.raises(BadInput, match=r"/run\.json: no such file, expected the record of a run"):
        read_run(tmp_path)
    (tmp_path / ABLATION).write_text('{"evaluation": "trials"}')
    with pytest.raises(BadInput, match=rf"/{ABLATION}: .*missing required field `pairs`"):
        read_whole(tmp_path / ABLATION, AblationPath)


def test_an_incumbent_has_the_name_of_its_configuration(tmp_path: Path) -> None:
    line = {"trial": 1, "config_id": "0123456789ab", "config": CONFIG, "estimate": None}
    (tmp_path / TRAJECTORY).write_text(json.dumps(line) + "\n")
    with pytest.raises(BadInput, match=":1: config_id 0123456789ab is not that of its config"):
        read_lines(tmp_path / TRAJECTORY, Incumbent)


def test_fields_that_are_not_known_are_ignored_wherever_they_are() -> None:
    line = changed(new=[1, {"deep": None}], misc={**json.loads(to_json(LINE))["misc"], "new": 1})
    assert from_json(line, Numbered, "here") == LINE
    assert from_json(line, Record, "here").key == LINE.key


# Torn tails --------------------------------------------------------------------------------------

NEXT = replace(LINE, trial=4, seed=8)
LAST = replace(LINE, trial=5, seed=9)
WHOLE = "".join(to_json(line) + "\n" for line in (LINE, NEXT)).encode()
TAIL = (to_json(LAST) + "\n").encode()


@pytest.mark.parametrize("kept", [1, 40, len(TAIL) - 2])
def test_a_torn_last_line_is_no_record_and_only_repaired_by_who_may(
    kept: int, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / RUNHISTORY
    file.write_bytes(WHOLE + TAIL[:kept])
    assert read_lines(file, Numbered) == [LINE, NEXT]
    assert file.read_bytes() == WHOLE + TAIL[:kept] and capfd.readouterr().err == ""
    assert read_lines(file, Numbered, repair=True) == [LINE, NEXT]
    assert file.read_bytes() == WHOLE
    said = capfd.readouterr().err
    assert said == f"{file}: dropped a torn last line; its trial is evaluated again\n"


def test_a_last_line_that_lacks_only_its_end_is_a_record_and_gets_it_by_who_may(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / RUNHISTORY
    file.write_bytes(WHOLE[:-1])
    assert read_lines(file, Numbered) == [LINE, NEXT]
    assert file.read_bytes() == WHOLE[:-1]
    assert read_lines(file, Numbered, repair=True) == [LINE, NEXT]
    assert file.read_bytes() == WHOLE
    append_line(file, LAST)
    assert read_lines(file, Numbered) == [LINE, NEXT, LAST] and capfd.readouterr().err == ""


def test_a_file_that_is_not_there_has_no_records_and_is_not_made(tmp_path: Path) -> None:
    assert read_lines(tmp_path / RUNHISTORY, Numbered, repair=True) == []
    assert list(tmp_path.iterdir()) == []


def test_readers_never_change_a_file_that_another_writes(tmp_path: Path) -> None:
    """A writer puts its lines down in pieces, as a slow disk would; readers see whole ones only."""
    file, lines, seen = tmp_path / RUNHISTORY, 60, set[int]()
    expected = [replace(LINE, trial=trial, seed=trial) for trial in range(1, lines + 1)]
    content = b"".join((to_json(record) + "\n").encode() for record in expected)
    done = threading.Event()

    def write() -> None:
        with open(file, "ab", buffering=0) as growing:
            for start in range(0, len(content), 97):
                growing.write(content[start : start + 97])
                time.sleep(0.0005)
        done.set()

    writer = threading.Thread(target=write)
    writer.start()
    while not done.is_set():
        records_now = read_lines(file, Numbered)
        assert records_now == expected[: len(records_now)]
        seen.add(len(records_now))
    writer.join()
    assert file.read_bytes() == content and read_lines(file, Numbered) == expected
    assert len(seen) > 3


def test_a_line_is_added_behind_a_torn_one_not_to_it(tmp_path: Path) -> None:
    file = tmp_path / VALIDATION
    for kept in (1, 40, len(TAIL) - 2, len(TAIL) - 1):
        file.write_bytes(WHOLE + TAIL[:kept])
        append_line(file, LAST)
        assert file.read_bytes() == WHOLE + TAIL[:kept] + b"\n" + TAIL
        found = scan_lines(file, Record)
        assert len(found.records) == (3 if kept < len(TAIL) - 1 else 4) and found.torn is None
        assert found.faults == found.cut and len(found.cut) == (kept < len(TAIL) - 1)
    file.write_bytes(WHOLE + TAIL[:40] + b"}\n")
    found = scan_lines(file, Record)
    assert len(found.faults) == 1 and found.cut == ()


def test_many_who_add_lines_behind_a_torn_one_leave_each_of_theirs_whole(tmp_path: Path) -> None:
    file = tmp_path / VALIDATION
    file.write_bytes(WHOLE + TAIL[:40])
    code = (
        "import sys\nfrom pathlib import Path\nfrom wrappers.records import append_line\n"
        "for number in range(20):\n"
        "    append_line(Path(sys.argv[1]), {'by': sys.argv[2], 'x': 'x' * 10_000})\n"
    )
    writers = [
        subprocess.Popen([sys.executable, "-c", code, str(file), str(number)], cwd=ROOT)
        for number in range(4)
    ]
    assert [writer.wait() for writer in writers] == [0] * 4
    first, second, torn, *lines = file.read_bytes().splitlines()
    assert torn == TAIL[:40] and len(lines) == 80
    assert sorted(json.loads(line)["by"] for line in lines) == sorted("0123" * 20)


def test_a_full_disk_leaves_no_part_of_a_line(tmp_path: Path) -> None:
    file = tmp_path / RUNHISTORY
    code = (
        "import resource, signal, sys\n"
        "from pathlib import Path\n"
        "from wrappers.records import append_line\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))\n"
        "append_line(Path(sys.argv[1]), {'a': 'x' * 40})\n"
        "append_line(Path(sys.argv[1]), {'a': 'x' * 80})\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(file)], cwd=ROOT, capture_output=True, text=True
    )
    assert f"No space left on device: '{file}'" in done.stderr
    assert file.read_text() == '{"a": "' + "x" * 40 + '"}\n'


# Round trips -------------------------------------------------------------------------------------

finite = st.floats(allow_nan=False, allow_infinity=False)
whole = st.integers(-(2**53), 2**53)
names = st.from_regex(r"[a-z][a-z0-9_]{0,9}", fullmatch=True)
configs = st.dictionaries(names, st.one_of(st.text(), whole, finite), max_size=4)
details = st.builds(
    Details,
    diverged=st.none() | st.booleans(),
    samples=st.none() | whole,
    explored=st.none() | finite,
    error=st.none() | st.text(),
)


def named(kind: type[Any], **columns: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Records of a kind, each with the name of its configuration."""
    return configs.flatmap(
        lambda config: st.builds(
            kind, config=st.just(config), config_id=st.just(config_id(config)), **columns
        )
    )


amounts = st.floats(0.0, allow_nan=False, allow_infinity=False)

columns: dict[str, st.SearchStrategy[Any]] = {
    **dict.fromkeys(("instance", "worker"), st.text()),
    **dict.fromkeys(("cutoff", "runtime", "cpu_time", "peak_memory"), amounts),
    **dict.fromkeys(("density", "training_flops", "inference_flops"), st.none() | amounts),
    **dict.fromkeys(("active_weights", "weights"), st.none() | st.integers(0, 2**53)),
    **dict.fromkeys(("engine", "code"), st.none() | st.text()),
    "started": st.none() | st.datetimes(timezones=st.just(UTC)).map(datetime.isoformat),
    "seed": st.integers(0, 2**32 - 1),
    "cost": st.floats(0.0, 1.0),
    "status": st.just("SUCCESS"),
    "misc": details,
}


counts = st.integers(1, 2**53)


@given(st.lists(named(Numbered, trial=counts, **columns), max_size=3))
def test_trials_read_back_as_they_were_written(trials: list[Numbered]) -> None:
    text = "".join(to_json(trial) + "\n" for trial in trials)
    assert text.count("\n") == len(trials)
    assert [from_json(line, Numbered, "here") for line in text.splitlines()] == trials


@given(named(Record, **columns), named(Incumbent, trial=counts, estimate=st.none() | finite))
def test_validated_trials_and_incumbents_read_back(record: Record, incumbent: Incumbent) -> None:
    assert from_json(to_json(record), Record, "here") == record
    assert from_json(to_json(incumbent), Incumbent, "here") == incumbent


steps = st.builds(
    AblationStep,
    parameters=st.lists(names).map(tuple),
    config=configs,
    cost=finite,
    gain=finite,
    share=st.none() | finite,
    candidates=whole,
    trials=whole,
)


@given(
    st.builds(
        AblationPath,
        evaluation=st.text(),
        pairs=whole,
        source=configs,
        target=configs,
        source_cost=finite,
        target_cost=finite,
        steps=st.lists(steps, max_size=3).map(tuple),
    )
)
def test_paths_read_back(path: AblationPath) -> None:
    assert from_json(to_json(path, indent=1), AblationPath, "here") == path


@given(st.data())
def test_what_a_run_says_of_itself_reads_back(old: Path, data: st.DataObject) -> None:
    info = read_run(next(iter(runs_below([old]))))
    info = replace(
        info,
        format=2,
        settings=data.draw(st.dictionaries(st.text(), st.none() | whole | st.text())),
        fixed=data.draw(configs),
        versions=data.draw(st.dictionaries(st.text(), st.text())),
        product=data.draw(st.none() | st.builds(Product, version=st.text(), commit=st.text())),
        role=data.draw(st.none() | st.sampled_from(sorted(Role))),
        configures=data.draw(st.none() | st.booleans()),
        copies=data.draw(st.dictionaries(st.text(), st.text())),
        finished=data.draw(st.none() | st.text()),
    )
    assert from_json(to_json(info, indent=1), RunInfo, "here") == info


def test_run_json_is_replaced_as_a_whole(old: Path, tmp_path: Path) -> None:
    info = replace(read_run(next(iter(runs_below([old])))), state="running")
    write_run(tmp_path, info)
    assert read_run(tmp_path) == info
    assert [file.name for file in tmp_path.iterdir()] == ["run.json"]


def test_a_number_that_is_not_finite_is_not_written(tmp_path: Path) -> None:
    entry = Incumbent(trial=1, config_id=config_id(CONFIG), config=CONFIG, estimate=math.inf)
    with pytest.raises(ValueError):
        append_line(tmp_path / TRAJECTORY, entry)
    assert list(tmp_path.iterdir()) == []
    for changes in ({"runtime": math.nan}, {"density": math.inf}, {"peak_memory": -math.inf}):
        ((name, value),) = changes.items()
        with pytest.raises(ValueError, match=f"{name} is {value}, expected a finite number"):
            replace(LINE, **changes)  # type: ignore[arg-type]


def test_a_failure_is_recorded_with_its_reason_and_without_what_is_not_known() -> None:
    result = failure("TIMEOUT", "stopped at its cutoff of 60 s")
    plain = record(CONFIG, "a/b/0", 1, 60.0, result, None)
    assert plain.cost == 1.0
    assert (plain.engine, plain.code, plain.weights) == (None, None, None)
    written = json.loads(to_json(numbered(4, plain)))
    assert list(written)[:2] == ["trial", "config_id"] and written["trial"] == 4
    assert written["misc"] == {"error": "stopped at its cutoff of 60 s"}


# Their page --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "kind",
    [Numbered, Incumbent, RunInfo, Details, Hashes, AblationPath, AblationStep],
    ids=lambda kind: kind.__name__,
)
def test_every_field_stands_in_the_results_readme_as_the_code_says_it(kind: type) -> None:
    text = README.read_text()
    assert documented(kind) in text, "'python -m wrappers.records' writes results/README.md anew"
    rows = re.findall(r"^\| `(\w+)` \|.*\| (.+) \|$", documented(kind), re.MULTILINE)
    assert sorted(name for name, _ in rows) == sorted(field.name for field in fields(kind))


def test_the_results_readme_is_as_the_code_writes_it() -> None:
    text = README.read_text()
    assert page(text) == text, "'python -m wrappers.records' writes it anew"
    stale = text.replace("| `seed` |", "| `grain` |").replace("| `worker` |", "| `who` |")
    assert page(stale) == text
    with pytest.raises(BadInput, match="no <!-- Hashes -->, expected it above a table"):
        page(text.replace("<!-- Hashes -->\n", ""))
