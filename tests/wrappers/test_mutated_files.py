"""Files with mistakes nobody thought of: a BadInput in one line, or something valid."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sparse_training.errors import BadInput
from target_algorithms import Variant
from target_algorithms.contract import Options
from tests.wrappers.cases import OWN_PCS, RECIPE_PCS, SCENARIO
from wrappers.aclib import parse, parse_options
from wrappers.formats.configspace import configspace_json
from wrappers.formats.irace_3_5 import parameters
from wrappers.formats.pcs import old_pcs
from wrappers.scenario import read
from wrappers.space import Space, read_pcs, variant_space

bounded = settings(
    max_examples=300,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

ODD = (
    *"{}[]|=,#: \t\n\r\f\v\0-+._/'\"0aeilZ٣ß\u2028\ud800",
    *("NA", "nan", "inf", "1e999", "-0", "1e-320", "9" * 400, "in", "if", "{}", "[]", "{a=b}"),
    *(
        "norm {none} [none]",
        "momentum [0, 0.1] [0]",
        "batch_size {16} [16]",
        "optimizer {sgd} [sgd]",
    ),
)


def mutated(text: str) -> st.SearchStrategy[str]:
    """A text with a few characters, words and lines removed, put in, doubled and exchanged."""

    def apply(steps: list[tuple[str, int, int, str]]) -> str:
        changed = text
        for kind, first, second, word in steps:
            a, b = sorted((first % (len(changed) + 1), second % (len(changed) + 1)))
            lines = changed.splitlines(keepends=True) or [""]
            one, other = first % len(lines), second % len(lines)
            if kind == "insert":
                changed = changed[:a] + word + changed[a:]
            elif kind == "cut":
                changed = changed[:a] + changed[min(b, a + 12) :]
            elif kind == "replace":
                changed = changed[:a] + word + changed[a + 1 :]
            elif kind == "exchange":
                lines[one], lines[other] = lines[other], lines[one]
                changed = "".join(lines)
            else:
                changed = "".join([*lines, lines[one]])
        return changed

    kinds = st.sampled_from(["insert", "cut", "replace", "exchange", "double"])
    place = st.integers(0, 10_000)
    step = st.tuples(kinds, place, place, st.sampled_from(ODD))
    return st.lists(step, min_size=1, max_size=4).map(apply)


def one_line(error: BadInput) -> None:
    assert len(str(error).splitlines()) == 1, str(error)


def whole(space: Space) -> None:
    """A space that was read can be used: checked, completed, written and read again."""
    assert space.check(space.default) == space.default
    assert set(space.complete(space.default)) >= set(space.default)
    assert read_pcs(old_pcs(space), "t") == space
    if space.parameters:
        assert parameters(space) and configspace_json(space)


@bounded
@given(mutated(OWN_PCS + RECIPE_PCS))
def test_a_parameter_file_with_mistakes_is_refused_in_one_line_or_is_a_space(text: str) -> None:
    try:
        space = read_pcs(text, "own.pcs")
    except BadInput as error:
        one_line(error)
        assert str(error).startswith("own.pcs, line ")
    else:
        whole(space)


@bounded
@given(text=mutated(OWN_PCS + "momentum {0.5} [0.5]\nbatch_size [32, 64] [32]il\n"))
def test_a_variant_s_file_with_mistakes_is_refused_in_one_line_or_is_a_space(
    text: str, toys: Path
) -> None:
    toy = Variant("toy", toys / "target_algorithms" / "toy")
    toy.pcs.write_bytes(text.encode(errors="surrogatepass"))
    try:
        space = variant_space(toy)
    except BadInput as error:
        one_line(error)
        assert str(toy.pcs) in str(error)
    else:
        whole(space)


@bounded
@given(text=mutated(SCENARIO.replace("256-256", "256-256 --only norm:none,momentum:0.1/0.9")))
def test_a_scenario_with_mistakes_is_refused_in_one_line_or_is_one(text: str, toys: Path) -> None:
    file = toys / "scenarios" / "toys" / "toy" / "scenario.txt"
    file.write_bytes(text.encode(errors="surrogatepass"))
    try:
        scenario = read(file.parent, check_paramfile=False)
    except BadInput as error:
        one_line(error)
    else:
        whole(scenario.space)
        assert parse_options(scenario.options.words) == scenario.options


CALL = "toy --active-weights 9 --training-samples 9 --hidden 9-9 --instance i --cutoff 6 --seed 1"


@bounded
@given(mutated(f"{CALL} --config -norm none -momentum 0.5"))
def test_a_call_with_mistakes_is_refused_in_one_line_or_is_one(text: str) -> None:
    try:
        options = parse_options(parse(text.split(" ")).options)
    except BadInput as error:
        one_line(error)
    else:
        assert isinstance(options, Options)


def test_the_mutations_leave_some_files_valid_and_spoil_others() -> None:
    """Else the tests above would see one side only."""
    outcomes = set()

    @bounded
    @given(mutated(OWN_PCS))
    def look(text: str) -> None:
        try:
            read_pcs(text, "t")
            outcomes.add("valid")
        except BadInput:
            outcomes.add("refused")

    look()
    assert outcomes == {"valid", "refused"}


@pytest.mark.parametrize("text", ["", "\n", "#"])
def test_a_file_that_says_nothing_is_a_space_of_nothing(text: str) -> None:
    assert read_pcs(text, "t") == Space(())
