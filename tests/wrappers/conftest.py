"""A checkout in a temporary folder, with spaces and a scenario of its own."""

from pathlib import Path

import pytest

from tests.wrappers.toy import OWN_PCS, SCENARIO, TRAINING_PCS
from wrappers import space as spaces


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The root of a small checkout whose one variant is `toy` and one scenario `digits/toy`."""
    texts = {
        "target_algorithms/toy/params.pcs": OWN_PCS,
        "target_algorithms/training.pcs": TRAINING_PCS,
        "scenarios/digits/toy/scenario.txt": SCENARIO,
        "scenarios/digits/toy/params.pcs": OWN_PCS + TRAINING_PCS,
        "scenarios/digits/training.txt": "a/digits/0/0\na/digits/0/1\n",
        "scenarios/digits/test.txt": "a/digits/0\n",
        "scenarios/digits/features.csv": (
            "instance,rows,entropy\na/digits/0/0,100,3.3\na/digits/0/1,101,3.2\na/digits/0,120,3.1\n"
        ),
        "results/README.md": "",
    }
    for name, text in texts.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    monkeypatch.setattr(spaces, "ROOT", tmp_path)
    return tmp_path
