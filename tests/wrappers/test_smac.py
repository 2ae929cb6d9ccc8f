"""SMAC: what is its own."""

import pytest

from wrappers import configurators


def test_it_is_among_the_configurators_that_the_suite_compares() -> None:
    assert configurators.configurators()["smac"].slow


def test_a_missing_library_is_named_with_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    reason = configurators.missing()["smac"]
    assert reason == "the package smac is not installed; run './run_all.sh setup'"
