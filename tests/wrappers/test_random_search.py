"""Random search: what is its own."""

from pathlib import Path

from tests.examples import scenario_name
from wrappers import configurators
from wrappers.records import RUNHISTORY, Numbered, read_lines
from wrappers.scenario import read


def test_it_is_the_template_of_a_configurator() -> None:
    assert configurators.TEMPLATE.stem == "random_search"


def test_it_asks_other_configurations_with_another_seed(suite: Path, tmp_path: Path) -> None:
    scenario = read(suite / "scenarios" / scenario_name())
    by = configurators.configurator("random_search")
    runs = [
        {
            record.config_id
            for record in read_lines(
                configurators.execute(
                    scenario, by, seed=seed, trials=8, workers=1, results=tmp_path
                )
                / RUNHISTORY,
                Numbered,
            )
        }
        for seed in (1, 2)
    ]
    assert len(runs[0] & runs[1]) == 1  # the default
