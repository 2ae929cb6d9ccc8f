import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
import pytest
from matplotlib.figure import Figure

from analysis import ablation, figures, records, report, sections
from analysis.frames import by_text
from analysis.records import Frames
from analysis.report import write_report
from sparse_training.errors import BadInput
from target_algorithms import Role
from tests.analysis.benchmark import (
    PLAIN_DEFAULT,
    change_lines,
    end_with_the_default,
    make_run,
    space_of,
    write_lines,
)
from tests.examples import CONFIGURING
from wrappers.records import (
    ABLATION,
    RUNHISTORY,
    TRAJECTORY,
    VALIDATION,
    Incumbent,
    Record,
    read_lines,
    to_json,
)
from wrappers.space import config_id


def page_text(html: str) -> str:
    """The page without tags and figures."""
    return re.sub(r"<[^>]+>", "", re.sub(r"base64,[^\"]+", "", html))


@pytest.fixture(scope="module")
def whole(benchmark_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The report of a whole benchmark, with a measured ablation of one run."""
    results = tmp_path_factory.mktemp("whole") / "results"
    shutil.copytree(benchmark_folder, results)
    run = results / "digits" / "both" / "model" / "seed-1"
    incumbents = read_lines(run / TRAJECTORY, Incumbent)
    path = ablation.race(
        space_of("both"),
        incumbents[0].config,
        incumbents[-1].config,
        lambda trials: [0.5 - 0.01 * len(str(c.get("grow"))) for c, _, _ in trials],
        [("i", k) for k in range(4)],
    )
    (run / ABLATION).write_text(to_json(path))
    page = write_report(results, missing={"racing2": "R is <not> here"})
    return page, page.read_text(encoding="utf-8")


def test_the_report_lies_beside_its_tables_and_figures(whole: tuple[Path, str]) -> None:
    page, _ = whole
    assert page.name == "report.html"
    tables = {path.stem for path in (page.parent / "tables").iterdir()}
    assert tables == {
        *("runs", "configurability", "defaults", "combination", "anytime", "anytime_summary"),
        *("changed_parameters", "effort", "surrogates", "importance", "ablation"),
        "statuses",
    }
    drawn = {path.name for path in (page.parent / "figures").iterdir()}
    assert {
        "digits-test-error.png",
        "digits-anytime.png",
        "digits-both-model-1-ablation.png",
    } <= drawn
    assert {path.name for path in page.parent.rglob(".*") if path.is_file()} <= {".lock"}


def test_the_page_says_what_it_must(whole: tuple[Path, str]) -> None:
    _, html = whole
    text = page_text(html)
    for needed in (
        "drawing lowers the test error",
        "3 runs each, 5 paired evaluations a run",
        "both against the best single variant",
        "full, which is no rival, has",
        "out-of-bag R² of",
        "measured with trials on 4 training pairs",
        "n_min 2",
        "torch 2.13.0",
        "a processor",
        "sparse-aclib run scenarios/digits/beta --configurator model",
        "sparse-aclib eval beta --active-weights 1000",
        "40 trials",
        "on these test instances",
        "picked among 9",
        "no rank test",
    ):
        assert needed in text, needed


def test_the_page_needs_nothing_from_elsewhere_and_escapes_what_it_shows(
    whole: tuple[Path, str],
) -> None:
    page, html = whole
    assert "R is &lt;not&gt; here" in html
    assert not re.search(r"(?:src|href)=\"(?!data:image/png;base64,|#)", html)
    assert "@import" not in html and "<script" not in html
    drawn = list((page.parent / "figures").iterdir())
    assert html.count("<img ") == html.count("data:image/png;base64,") == len(drawn) >= 3


def test_links_at_the_top_of_the_page_lead_to_its_sections(whole: tuple[Path, str]) -> None:
    _, html = whole
    anchors = re.findall(r'href="#([^"]+)"', html)
    sections_ = ("gain", "combination", "anytime", "importance", "ablation")
    assert anchors == [*(f"digits-{name}" for name in sections_), "record"]
    assert re.findall(r'id="([^"]+)"', html) == anchors


def test_tables_of_the_report_can_be_read_back(whole: tuple[Path, str]) -> None:
    page, _ = whole
    table = pd.read_csv(page.parent / "tables" / "configurability.csv")
    assert len(table) == 9
    assert (table["low_these"] <= table["improvement"]).all()
    assert table["low_like"].isna().all()
    errors = table["default_error"] - table["configured_error"]
    assert table["improvement"].to_numpy() == pytest.approx(errors.to_numpy())


def test_the_report_imports_neither_torch_nor_a_configurators_library(tmp_path: Path) -> None:
    make_run(tmp_path, "alpha", "model", 1, trials=8)
    code = (
        "import sys; from pathlib import Path; from analysis.report import write_report\n"
        f"write_report(Path({str(tmp_path)!r}))\n"
        "print(*{'torch', 'smac', 'rpy2'} & sys.modules.keys())"
    )
    root = Path(report.__file__).resolve().parents[1]
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == []


def test_the_same_record_gives_the_same_report(tmp_path: Path) -> None:
    make_run(tmp_path, "alpha", "model", 1, trials=50)
    page = write_report(tmp_path)
    first = page.read_bytes()
    assert write_report(tmp_path).read_bytes() == first


def test_a_benchmark_half_way_has_a_report_that_says_so(tmp_path: Path) -> None:
    make_run(tmp_path, "alpha", "model", 1, trials=12)
    make_run(tmp_path, "alpha", "model", 2, trials=12, validated=False)
    begun = make_run(tmp_path, "beta", "model", 1, trials=12, state="running")
    with open(begun / RUNHISTORY, "a") as file:
        file.write('{"trial": 41, "conf')
    bare = make_run(tmp_path, "both", "racing", 1, trials=12, state="running")
    for file_ in bare.glob("*.jsonl"):
        file_.unlink()
    page = write_report(tmp_path, tmp_path / "there" / "page.html")
    html = page.read_text()
    assert page == tmp_path / "there" / "page.html"
    assert (tmp_path / "there" / "tables" / "runs.csv").exists()
    assert "2 runs of 4 not finished" in html
    assert "digits/both/racing/1" in html
    assert "1 finished run without validation" in html
    assert "36, and " in html
    assert "there are none yet" in html


def test_a_record_where_nothing_is_finished_still_has_a_report(tmp_path: Path) -> None:
    folder = make_run(tmp_path, "beta", "model", 1, trials=1, state="running")
    for file in folder.glob("*.jsonl"):
        file.unlink()
    html = write_report(tmp_path).read_text()
    assert "there is nothing to compare" in html
    assert "No trial of a configurator is recorded yet." in html
    assert "No finished run of a configurator is recorded yet." in html


def test_baselines_alone_have_a_report(tmp_path: Path) -> None:
    for variant in ("still", "full"):
        make_run(tmp_path, variant, PLAIN_DEFAULT, 1, trials=10)
    text = page_text(write_report(tmp_path).read_text())
    assert "there is nothing to compare" in text
    assert "the combination against the best single variant" in text
    assert "For reference: full, which is no rival, has" in text


def test_notes_stand_before_the_results(tmp_path: Path) -> None:
    make_run(tmp_path, "alpha", "model", 1, trials=8)
    make_run(tmp_path, "alpha", "model", 2, trials=8, code="0123456789ab")
    html = write_report(tmp_path).read_text()
    note = "Runs on digits differ in code of alpha on the masked engine. They are never averaged"
    assert html.index("Before you read on") < html.index(note) < html.index("<h2")


def test_runs_that_may_not_be_averaged_have_parts_tables_and_figures_of_their_own(
    tmp_path: Path,
) -> None:
    for seed in (1, 2):
        make_run(tmp_path, "alpha", "model", seed, trials=8)
        make_run(tmp_path, "alpha", "model", seed + 2, trials=16)
    page = write_report(tmp_path)
    html = page.read_text()
    for group in ("digits.1", "digits.2"):
        assert f'<h2 id="{group}-gain">{group}: default against configured</h2>' in html
        assert (page.parent / "figures" / f"{group}-test-error.png").exists()
    for name in ("configurability", "anytime_summary", "surrogates", "defaults", "effort"):
        table = pd.read_csv(page.parent / "tables" / f"{name}.csv")
        assert set(table["set"]) == {"digits.1", "digits.2"}, name
    table = pd.read_csv(page.parent / "tables" / "configurability.csv")
    assert table["runs"].to_list() == [2, 2]


def test_two_combinations_are_both_compared(tmp_path: Path) -> None:
    make_run(tmp_path, "alpha", "model", 1, trials=16)
    for variant in ("both", "either"):
        make_run(tmp_path, variant, "model", 1, trials=16, role=Role.COMBINATION)
    page = write_report(tmp_path)
    text = page_text(page.read_text())
    assert "both and either against the best single variant" in text
    assert "model: both reaches" in text and "model: either reaches" in text
    table = pd.read_csv(page.parent / "tables" / "combination.csv")
    assert table["combined"].to_list() == ["both", "either"]
    assert table["single"].to_list() == ["alpha (1)", "alpha (1)"]


def test_a_role_and_not_a_name_makes_a_combination_and_a_reference(tmp_path: Path) -> None:
    make_run(tmp_path, "both", "model", 1, trials=12, role=Role.COMPETITOR)
    make_run(tmp_path, "full", PLAIN_DEFAULT, 1, trials=5, role=Role.COMPETITOR)
    make_run(tmp_path, "alpha", PLAIN_DEFAULT, 1, trials=5, role=Role.REFERENCE)
    text = page_text(write_report(tmp_path).read_text())
    assert "the combination against the best single variant" in text
    assert "alpha, which is no rival, has" in text
    assert "full, which the budget" not in text


def test_a_configurator_that_ends_with_the_default_is_told_so(tmp_path: Path) -> None:
    end_with_the_default(make_run(tmp_path, "beta", "model", 1, trials=12))
    html = write_report(tmp_path).read_text()
    assert "model ends with the default itself" in html


def test_a_variant_that_this_checkout_does_not_have_is_named_not_fatal(tmp_path: Path) -> None:
    make_run(tmp_path, "beta", "model", 1, trials=12, copies={})
    html = write_report(tmp_path).read_text()
    assert "no surrogate: unknown variant" in html
    assert "no path, its surrogate is not good enough" in html


def test_empty_results_are_one_line_that_names_the_command(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=re.escape(records.NEXT_COMMAND)) as error:
        write_report(tmp_path)
    assert "\n" not in str(error.value)
    assert not list(tmp_path.iterdir())


def test_no_difference_is_said_where_the_interval_covers_zero(tmp_path: Path) -> None:
    for seed in (1, 2):
        file = make_run(tmp_path, "beta", "model", seed, trials=20) / VALIDATION
        change_lines(file, lambda k, line: line.update(cost=0.2 + 0.01 * (k * k % 7)))
    html = write_report(tmp_path).read_text()
    assert "no difference to the default is shown" in html


def test_a_new_analysis_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_run(tmp_path, "alpha", "model", 1, trials=8)

    def table(frames: Frames) -> pd.DataFrame:
        hours = {key: own["runtime"].sum() for key, own in by_text(frames.trials, "variant")}
        return pd.DataFrame({"set": "digits", "variant": hours.keys(), "hours": hours.values()})

    def figure(table: pd.DataFrame) -> Figure:
        with figures.style():
            drawn, panel = plt.subplots(figsize=(figures.WIDTH, 2.0))
            panel.barh(table["variant"], table["hours"])
        return drawn

    line = sections.plain("mine", "time & trials", table, figure, "What it <shows>.")
    monkeypatch.setattr(report, "ANALYSES", (*report.ANALYSES, line))
    page = write_report(tmp_path)
    html = page.read_text()
    assert (page.parent / "tables" / "mine.csv").read_text() == "set,variant,hours\n" + (
        "digits,alpha,10\n"
    )
    assert (page.parent / "figures" / "digits-mine.png").exists()
    assert '<h2 id="digits-mine">digits: time &amp; trials</h2>' in html
    assert '<a href="#digits-mine">Time &amp; trials</a>' in html
    assert "<p>What it &lt;shows&gt;.</p>" in html


def test_a_configurator_has_one_colour_whichever_others_are_shown() -> None:
    names = [configurator.name for configurator in CONFIGURING]
    colours = figures.colours([*names, "private"])
    assert len({colours[name] for name in (*names, "private")}) == len(names) + 1
    for name in names:
        assert figures.colours([name])[name] == colours[name]


def test_an_incumbent_that_no_trial_has_is_told(tmp_path: Path) -> None:
    run = make_run(tmp_path, "beta", "model", 1, trials=120)
    path = read_lines(run / TRAJECTORY, Incumbent)
    before = path[-1].config_id
    config = {**path[-1].config, "learning_rate_schedule": "linear", "batch_size": 17}
    other = config_id(config)
    path[-1] = replace(path[-1], config=config, config_id=other)
    write_lines(run / TRAJECTORY, path)
    validated = [
        replace(record, config=config, config_id=other) if record.config_id == before else record
        for record in read_lines(run / VALIDATION, Record)
    ]
    write_lines(run / VALIDATION, validated)
    html = write_report(tmp_path).read_text()
    assert "no path on the surrogate: the incumbent is not among the trials of the record" in html


def test_a_run_that_does_not_begin_with_the_default_is_left_out(tmp_path: Path) -> None:
    make_run(tmp_path, "beta", "model", 1, trials=40)
    lost = make_run(tmp_path, "beta", "model", 2, trials=40)
    write_lines(lost / TRAJECTORY, read_lines(lost / TRAJECTORY, Incumbent)[1:])
    left_out: list[str] = []
    write_report(tmp_path, left_out=left_out.append)
    assert f"{lost / TRAJECTORY}:1: configuration" in left_out[0]
    assert "expected the default" in left_out[0]
    rows = pd.read_csv(tmp_path / "tables" / "runs.csv")
    assert list(rows["run_seed"]) == [1]


def test_a_run_without_trials_of_its_own_is_told_beside_others(tmp_path: Path) -> None:
    make_run(tmp_path, "beta", "model", 1, trials=40)
    foreign = make_run(tmp_path, "beta", "drawing", 1, trials=40, trials_used=0)
    (foreign / RUNHISTORY).unlink()
    write_report(tmp_path)
    rows = pd.read_csv(tmp_path / "tables" / "runs.csv").set_index("configurator")
    assert rows["training_trials"].to_dict() == {"drawing": 0, "model": 5}
    assert rows["configured_error"].notna().all()
