"""Narrow: static's mask in a quarter of the widths."""

from dataclasses import replace

from target_algorithms import variant
from target_algorithms.contract import Trial
from target_algorithms.trial import configured, run
from tests.examples import config_of, options_for, whole
from tests.target_algorithms.by_hand import never_updates

NAME = "narrow"
STATIC = variant("static")


def test_the_mask_never_changes() -> None:
    assert never_updates(NAME)


def test_it_is_a_static_mask_but_for_the_width() -> None:
    narrow = variant(NAME)
    rules, recipe = configured(narrow, whole(narrow, config_of(narrow)))
    static_rules, static_recipe = configured(STATIC, config_of(STATIC))
    assert rules == static_rules
    assert recipe == replace(static_recipe, width_factor=0.25)


def test_its_active_weights_are_as_many_and_the_network_is_smaller() -> None:
    narrow, static = (
        run(
            Trial(
                variant=each.name,
                folder=str(each.folder),
                options=options_for(each, hidden=(32, 16)),
                instance="sklearn/digits/0/3",
                seed=1,
                config=whole(each, config_of(each)),
            )
        )
        for each in (variant(NAME), STATIC)
    )
    assert narrow.misc.final_weights == static.misc.final_weights == 300
    assert (narrow.weights, static.weights) == (64 * 8 + 8 * 4 + 4 * 10, 64 * 32 + 32 * 16 + 160)
