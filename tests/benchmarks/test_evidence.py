"""What the benchmarks that train many runs share."""

from pathlib import Path

import pandas as pd
import pytest

from benchmarks.evidence import Row, half_width, interval, resumed


def run(method: str, density: float, seed: int) -> Row:
    """A run that takes no time, and fails for a seed of 13."""
    if seed == 13:
        raise ValueError("unlucky")
    return {"method": method, "density": density, "seed": seed, "accuracy": 0.1 * seed}


def test_only_runs_that_the_file_lacks_are_made(tmp_path: Path) -> None:
    """The first line was made by something else: it stays as it is."""
    file = tmp_path / "runs.csv"
    file.write_text("method,density,seed,accuracy\nset,0.1,1,0.75\n")
    rows = resumed(file, run, [("set", 0.1, 1), ("set", 0.1, 2), ("set", 1.0, 1)], workers=1)
    found = {tuple(row) for row in rows.itertuples(index=False)}
    assert found == {("set", 0.1, 1, 0.75), ("set", 0.1, 2, 0.2), ("set", 1.0, 1, 0.1)}
    assert pd.read_csv(file).equals(rows)


def test_a_failure_keeps_what_was_made_before_and_the_next_call_goes_on(tmp_path: Path) -> None:
    file = tmp_path / "deeper" / "runs.csv"
    resumed(file, run, [("set", 0.1, 3)], workers=1)
    with pytest.raises(ValueError, match="unlucky"):
        resumed(file, run, [("set", 0.1, 3), ("set", 0.1, 13)], workers=1)
    rows = resumed(file, run, [("set", 0.1, 3), ("set", 0.1, 4)], workers=1)
    assert rows["seed"].tolist() == pd.read_csv(file)["seed"].tolist() == [3, 4]


def test_an_interval_is_that_of_students_t() -> None:
    """t of 2 degrees of freedom is 4.3027; the deviation .01, the error .0057735."""
    values = pd.Series([0.96, 0.97, 0.98])
    assert half_width(values) == pytest.approx(0.024841, abs=1e-6)
    assert interval(values, ".4f") == "0.9700 ± 0.0248"
    assert interval(values[:1], ".4f") == "0.9600"
