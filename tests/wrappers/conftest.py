"""A root outside the checkout, with a variant, a space and a scenario of its own."""

from pathlib import Path

import pytest

from target_algorithms import SHARED_PCS
from tests.examples import scenario_name
from tests.wrappers.cases import ALGORITHM, OWN_PCS, SCENARIO
from wrappers.formats.pcs import old_pcs
from wrappers.scenario import Scenario, read
from wrappers.space import read_pcs


@pytest.fixture
def toys(tmp_path: Path) -> Path:
    """A root whose one variant is `toy` and one scenario `toys/toy`."""
    space = read_pcs(OWN_PCS + SHARED_PCS.read_text(), "toy")
    texts = {
        "target_algorithms/toy/params.pcs": OWN_PCS,
        "target_algorithms/toy/algorithm.py": ALGORITHM,
        "scenarios/toys/toy/scenario.txt": SCENARIO,
        "scenarios/toys/training.txt": "a/digits/0/0\na/digits/0/1\n",
        "scenarios/toys/test.txt": "a/digits/0\n",
        "scenarios/toys/features.csv": (
            "instance,rows,entropy\na/digits/0/0,100,3.3\na/digits/0/1,101,3.2\na/digits/0,120,3.1\n"
        ),
        "scenarios/spaces/toy.pcs": old_pcs(space),
    }
    for name, text in texts.items():
        path = tmp_path / "toys" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path / "toys"


@pytest.fixture
def on_the_path(toys: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The root of `toys`, in SPARSE_ACLIB_PATH."""
    monkeypatch.setenv("SPARSE_ACLIB_PATH", str(toys))
    return toys


@pytest.fixture
def scenario(suite: Path) -> Scenario:
    """A variant on digits, 600 samples a trial."""
    return read(suite / "scenarios" / scenario_name())
