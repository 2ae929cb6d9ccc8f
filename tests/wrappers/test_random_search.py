"""Random search: what is its own."""

from pathlib import Path

from tests.wrappers.cases import FIRST, execute
from wrappers.records import RUNHISTORY, Numbered, read_lines
from wrappers.scenario import Scenario


def test_it_is_the_template_of_a_configurator() -> None:
    assert FIRST.name == "random_search"


def test_it_asks_other_configurations_with_another_seed(scenario: Scenario, tmp_path: Path) -> None:
    runs = [execute(scenario, tmp_path, 8, seed=seed) for seed in (1, 2)]
    first, second = (
        {record.config_id for record in read_lines(run / RUNHISTORY, Numbered)} for run in runs
    )
    assert len(first & second) == 1  # the default
