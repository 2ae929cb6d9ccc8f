import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from analysis import ablation, records
from analysis.report import write_report
from target_algorithms.errors import BadInput
from wrappers.space import Space

Spaces = Callable[[str], Space]
MakeRun = Callable[..., Path]


@pytest.fixture(scope="module")
def whole(
    benchmark_folder: Path, spaces: Spaces, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, str]:
    """The report of a whole benchmark, with a measured ablation of one run."""
    results = tmp_path_factory.mktemp("whole") / "results"
    shutil.copytree(benchmark_folder, results)
    run = results / "digits" / "meta" / "smac" / "seed-1"
    path = ablation.run_ablation(
        run,
        lambda trials: [0.5 - 0.01 * len(str(c.get("grow"))) for c, _, _ in trials],
        pairs=[("i", k) for k in range(4)],
        space=spaces("meta"),
    )
    (run / "ablation.json").write_text(json.dumps(ablation.to_record(path)))
    page = write_report(results, missing={"irace2": "R is <not> here"}, spaces=spaces)
    return page, page.read_text(encoding="utf-8")


def test_the_report_lies_beside_its_tables_and_figures(whole: tuple[Path, str]) -> None:
    page, _ = whole
    assert page.name == "report.html"
    tables = {path.stem for path in (page.parent / "tables").iterdir()}
    assert tables == {
        *("runs", "configurability", "defaults", "combination", "anytime", "anytime_summary"),
        *("changed_parameters", "effort", "surrogates", "importance", "ablation"),
    }
    drawn = {path.name for path in (page.parent / "figures").iterdir()}
    assert {
        "digits-test-error.png",
        "digits-anytime.png",
        "digits-meta-smac-1-ablation.png",
    } <= drawn
    assert not [path for path in page.parent.rglob(".*") if path.is_file()]


def test_the_page_says_what_it_must(whole: tuple[Path, str]) -> None:
    _, html = whole
    text = re.sub(r"<[^>]+>", "", re.sub(r"base64,[^\"]+", "", html))
    for needed in (
        "random_search lowers the test error",
        "3 runs each, 5 paired evaluations a run",
        "meta against the best single variant",
        "dense, which the budget of active weights does not bind",
        "out-of-bag R² of",
        "measured with trials on 4 training pairs",
        "n_min 2",
        "torch 2.13.0",
        "a processor",
        "sparse-aclib run scenarios/digits/rigl --configurator smac",
        "40 trials",
        "10,000 resamples",
        "no rank test",
    ):
        assert needed in text, needed


def test_the_page_needs_nothing_from_elsewhere_and_escapes_what_it_is_given(
    whole: tuple[Path, str],
) -> None:
    _, html = whole
    assert "R is &lt;not&gt; here" in html
    assert not re.search(r"(?:src|href)=\"(?!data:image/png;base64,|#)", html)
    assert "@import" not in html and "<script" not in html
    assert html.count("<img ") == html.count("data:image/png;base64,") >= 3


def test_tables_of_the_report_can_be_read_back(whole: tuple[Path, str]) -> None:
    page, _ = whole
    table = pd.read_csv(page.parent / "tables" / "configurability.csv")
    assert len(table) == 9
    assert (table["low"] <= table["improvement"]).all()
    errors = table["default_error"] - table["configured_error"]
    assert table["improvement"].to_numpy() == pytest.approx(errors.to_numpy())


def test_the_same_record_gives_the_same_report(
    tmp_path: Path, make_run: MakeRun, spaces: Spaces
) -> None:
    make_run(tmp_path, "set", "smac", 1, trials=50)
    page = write_report(tmp_path, spaces=spaces)
    first = page.read_bytes()
    assert write_report(tmp_path, spaces=spaces).read_bytes() == first


def test_a_benchmark_half_way_has_a_report_that_says_so(
    tmp_path: Path, make_run: MakeRun, spaces: Spaces
) -> None:
    make_run(tmp_path, "set", "smac", 1, trials=40)
    make_run(tmp_path, "set", "smac", 2, trials=40, validated=False)
    begun = make_run(tmp_path, "rigl", "smac", 1, trials=40, state="running")
    with open(begun / "runhistory.jsonl", "a") as file:
        file.write('{"trial": 41, "conf')
    bare = make_run(tmp_path, "meta", "irace", 1, trials=40, state="running")
    for file_ in bare.glob("*.jsonl"):
        file_.unlink()
    page = write_report(tmp_path, tmp_path / "there" / "page.html", spaces=spaces)
    html = page.read_text()
    assert page == tmp_path / "there" / "page.html"
    assert (tmp_path / "there" / "tables" / "runs.csv").exists()
    assert "2 runs of 4 not finished" in html
    assert "digits/meta/irace/1" in html
    assert "1 finished run without validation" in html
    assert "torn last line ignored" in html
    assert "there are none yet" in html


def test_a_record_where_nothing_is_finished_still_has_a_report(
    tmp_path: Path, make_run: MakeRun, spaces: Spaces
) -> None:
    folder = make_run(tmp_path, "rigl", "smac", 1, trials=40, state="running")
    for file in folder.glob("*.jsonl"):
        file.unlink()
    html = write_report(tmp_path, spaces=spaces).read_text()
    assert "there is nothing to compare" in html


def test_a_budget_that_was_not_used_up_is_told(
    tmp_path: Path, make_run: MakeRun, spaces: Spaces
) -> None:
    for seed, used in ((1, 25), (2, 31)):
        file = make_run(tmp_path, "set", "irace", seed, trials=40) / "run.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | {"trials_used": used}))
    html = write_report(tmp_path, spaces=spaces).read_text()
    assert "irace left a part of its budget unused in 2 runs: it used 25 to 31 of 40" in html


def test_only_contradicting_versions_are_told_apart(
    tmp_path: Path, make_run: MakeRun, spaces: Spaces
) -> None:
    files = [make_run(tmp_path, "set", "smac", n, trials=20) / "run.json" for n in (1, 2)]
    about = json.loads(files[1].read_text())
    files[1].write_text(json.dumps(about | {"versions": about["versions"] | {"R": "4.2.2"}}))
    html = write_report(tmp_path, spaces=spaces).read_text()
    assert "differ in library versions" not in html and "R 4.2.2" in html
    files[1].write_text(json.dumps(about | {"versions": {"torch": "2.9"}}))
    assert "differ in library versions" in write_report(tmp_path, spaces=spaces).read_text()


def test_a_configurator_that_ends_with_the_default_is_told_so(
    tmp_path: Path, make_run: MakeRun, spaces: Spaces
) -> None:
    file = make_run(tmp_path, "rigl", "smac", 1, trials=40) / "trajectory.jsonl"
    file.write_text(file.read_text().splitlines(keepends=True)[0])
    html = write_report(tmp_path, spaces=spaces).read_text()
    assert "smac ends with the default itself" in html


def test_a_variant_that_this_checkout_does_not_have_is_named_not_fatal(
    tmp_path: Path, make_run: MakeRun
) -> None:
    make_run(tmp_path, "rigl", "smac", 1, trials=40)

    def unknown(variant: str) -> Space:
        raise BadInput(f"unknown variant {variant!r}")

    html = write_report(tmp_path, spaces=unknown).read_text()
    assert "no surrogate: unknown variant" in html
    assert "no path, its surrogate is not good enough" in html


def test_empty_results_are_one_line_that_names_the_command(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=re.escape(records.NEXT_COMMAND)) as error:
        write_report(tmp_path)
    assert "\n" not in str(error.value)
    assert not list(tmp_path.iterdir())


def test_no_difference_is_said_where_the_interval_covers_zero(
    tmp_path: Path, make_run: MakeRun, spaces: Spaces
) -> None:
    for seed in (1, 2):
        folder = make_run(tmp_path, "rigl", "smac", seed, trials=40)
        file = folder / "validation.jsonl"
        lines = [json.loads(line) for line in file.read_text().splitlines()]
        for k, line in enumerate(lines):
            line["cost"] = 0.2 + 0.01 * (k * k % 7)
        file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    html = write_report(tmp_path, spaces=spaces).read_text()
    assert "no difference to the default is shown" in html
