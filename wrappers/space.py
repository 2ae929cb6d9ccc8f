"""Parameter spaces: the old PCS format, checking, sampling and naming of configurations.

**Source**: the PCS format of SMAC v2.08 (its manual), the one dialect that every reader of AClib
scenarios understands. Standard library only: each trial imports this module.
**Differs**: conditions and forbidden combinations are on categorical parameters only, and a space
is refused on the first line that is odd, where the original readers guess.
"""

import functools
import hashlib
import json
import math
import numbers
import random
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Literal

from sparse_training.errors import BadInput
from target_algorithms import CHOSEN, ROOT, SHARED_PCS, Variant
from target_algorithms.contract import Options, Value

Config = dict[str, Value]
"""The active parameters of a configuration and their typed values; inactive ones are absent."""

Kind = Literal["categorical", "integer", "real"]

RESERVED = frozenset({"instance", "seed", "cutoff", "config", "help"})
"""Words of the call of a target algorithm; a parameter of that name could not be told apart."""

RESERVED_BY_R = frozenset("if else repeat while function for next break in".split())
"""Words of R; irace's conditions are R, in which a parameter of that name cannot stand."""

DECIMALS = 12
"""Decimal places of a real that every reader keeps: irace rounds to places, not to digits.

Its default of 4 would turn a weight decay of 0.000001 into 0. Fewer than 15, because rounding is
also what keeps the rounding error of exp(log(bound)) from leaving the range."""

ROUNDING = 1e-9
"""How far outside its bounds a real may lie, relative to the bound, before it is refused.

Configurators write decimals, and the decimal nearest to a bound may lie on its other side."""

_NAME = re.compile(r"[a-z][a-z0-9_]*")
_CHOICE = re.compile(r"[A-Za-z0-9_.+-]+")
_PARAMETER = re.compile(r"(\S+)\s*([\[{])([^\[\]{}]*)[\]}]\s*\[([^\[\]{}]*)\]\s*(\w*)")
_CONDITION = re.compile(r"(\S+)\s*\|\s*(\S+)\s+in\s*\{([^{}]*)\}")
_FORBIDDEN = re.compile(r"\{([^{}]*)\}")
_HEADING = re.compile(r"#\s*(\S.*?)\s*-{3,}\s*")
_HEADERS = frozenset({"conditionals:", "forbidden:"})


@dataclass(frozen=True)
class Parameter:
    """One parameter of a target algorithm."""

    name: str
    kind: Kind
    choices: tuple[str, ...]
    """The values of a categorical parameter in the order of the file; empty for numbers."""
    low: int | float
    """Smallest value, inclusive; 0 for a categorical parameter."""
    high: int | float
    """Largest value, inclusive; 0 for a categorical parameter."""
    default: Value
    log: bool = False
    """Whether the range is sampled and modelled on a logarithmic scale."""
    component: str = field(default="", compare=False)
    """The heading above it in the file; empty where there is none."""

    @property
    def expected(self) -> str:
        """The range in words, for error messages."""
        if self.kind == "categorical":
            return "one of " + ", ".join(self.choices)
        article = "an integer" if self.kind == "integer" else "a number"
        return f"{article} in [{number_text(self.low)}, {number_text(self.high)}]"

    def check(self, value: object) -> Value:
        """The typed value of what a configurator sent: text, Python's or NumPy's numbers.

        Integers may be written as integral floats (`64.0`, irace holds all numbers so). Reals
        outside the range by no more than `ROUNDING` are moved to the bound.
        Raises BadInput with the parameter, the value found and the range expected.
        """
        if self.kind == "categorical":
            if str(value) in self.choices:
                return str(value)
            raise self._refusal(value)
        try:
            number = finite(value)
        except ValueError:
            raise self._refusal(value) from None
        if self.kind == "integer":
            if number != int(number) or not self.low <= number <= self.high:
                raise self._refusal(value)
            return int(number)
        if not self.low <= number <= self.high:
            bound = min((self.low, self.high), key=lambda bound: abs(bound - number))
            if abs(bound - number) > ROUNDING * abs(bound):
                raise self._refusal(value)
            return float(bound)
        return float(number)

    @property
    def single(self) -> bool:
        """Whether there is one value only."""
        return len(self.choices) == 1 or (self.kind != "categorical" and self.low == self.high)

    def narrowed(self, values: Sequence[object]) -> "Parameter":
        """The parameter with these choices, with this one number, or in this range.

        The first choice is the default. A range is (low, high) or (low, default, high); where its
        default is not given, it stays if it can and else is the bound that is nearest. Raises
        BadInput for values that it does not have.
        """
        typed = tuple(map(self.check, values))
        said = ", ".join(map(str, values))
        if len(set(typed)) < len(typed):
            raise BadInput(f"parameter {self.name} is narrowed to {said}, expected each value once")
        if self.kind == "categorical":
            choices = tuple(map(str, typed))
            return replace(self, choices=choices, default=choices[0])
        numbers_ = [float(value) if self.kind == "real" else int(value) for value in typed]
        low, high = numbers_[0], numbers_[-1]
        if len(numbers_) > 3 or numbers_ != sorted(numbers_):
            raise BadInput(
                f"parameter {self.name} is narrowed to {said}, expected a number, or the two bounds"
                " of a range, its default between them or left out"
            )
        if low < high and self.kind == "real" and (why := _too_fine(low, high)):
            raise BadInput(f"parameter {self.name} is narrowed to {said}, {why}")
        default = numbers_[1] if len(numbers_) == 3 else min(max(float(self.default), low), high)
        return replace(self, low=low, high=high, default=type(low)(default))

    def values(self, most: int) -> Sequence[Value] | None:
        """All its values; None if they are more than `most`."""
        if self.kind == "categorical":
            return self.choices
        many = self.kind == "real" or self.high - self.low >= most
        return None if many else range(int(self.low), int(self.high) + 1)

    def sample(self, rng: random.Random) -> Value:
        """A value drawn uniformly, on the logarithmic scale where the parameter has one."""
        if self.kind == "categorical":
            return self.choices[rng.randrange(len(self.choices))]
        if self.kind == "integer" and not self.log:
            return rng.randint(int(self.low), int(self.high))
        if not self.log:
            return min(max(rng.uniform(self.low, self.high), self.low), self.high)
        # Half a unit on both sides gives the end points of an integer range their full share.
        margin = 0.5 if self.kind == "integer" else 0.0
        drawn = math.exp(rng.uniform(math.log(self.low - margin), math.log(self.high + margin)))
        if self.kind == "integer":
            return min(max(round(drawn), int(self.low)), int(self.high))
        return min(max(drawn, self.low), self.high)

    def _refusal(self, value: object) -> BadInput:
        return BadInput(f"parameter {self.name} is {value!r}, expected {self.expected}")


@dataclass(frozen=True)
class Condition:
    """`child` is active only where `parent` is active and has one of `values`."""

    child: str
    parent: str
    values: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.parent} in {{{', '.join(self.values)}}}"


@dataclass(frozen=True)
class Constant:
    """A parameter with one value: no configurator sets it, a trial gets it where it is active."""

    name: str
    value: Value
    conditions: tuple[Condition, ...] = ()


@dataclass(frozen=True)
class Space:
    """The parameters of a target algorithm, when each is active, and what may not be combined."""

    parameters: tuple[Parameter, ...]
    conditions: tuple[Condition, ...] = ()
    """Several for one child must all hold."""
    forbidden: tuple[tuple[tuple[str, str], ...], ...] = ()
    """Each is a set of (parameter, value) pairs that no configuration may have together."""
    constants: tuple[Constant, ...] = field(default=(), compare=False, repr=False)
    """What is fixed: no part of what a configurator sees, so of no parameter file either."""

    @cached_property
    def by_name(self) -> Mapping[str, Parameter]:
        """The parameters by their names, in the order of the space."""
        return {parameter.name: parameter for parameter in self.parameters}

    @cached_property
    def default(self) -> Config:
        """The default configuration."""
        values = {parameter.name: parameter.default for parameter in self.parameters}
        return {name: values[name] for name in self.active(values)}

    def changed(self, changes: Mapping[str, object]) -> Config:
        """The default configuration with other values of some parameters.

        What becomes active by them has its default, what becomes inactive goes. Raises BadInput as
        `check` does.
        """
        values = {parameter.name: parameter.default for parameter in self.parameters}
        active = self.active({**values, **changes})
        return self.check({**{name: values[name] for name in active}, **changes})

    def with_values(self, config: Config, changes: Mapping[str, object]) -> Config:
        """A configuration with other values of some parameters.

        What is active then and has no value yet has its default, what is inactive goes, a change
        too. Raises BadInput as `check` does.
        """
        values = {**{p.name: p.default for p in self.parameters}, **config, **changes}
        return self.check({name: values[name] for name in self.active(values)})

    def fixed(self, values: Mapping[str, Value]) -> "Space":
        """The space in which these parameters have a value; unknown names are ignored."""
        known = [self.by_name[name] for name in values if name in self.by_name]
        return self.narrowed({p.name: p.narrowed([values[p.name]]) for p in known})

    def narrowed(self, changed: Mapping[str, Parameter]) -> "Space":
        """The space with these parameters in place of those of their names.

        One with a single value becomes a constant. What is never active then is gone, and so are
        conditions and forbidden combinations that say nothing any more; what depended on a constant
        depends on what the constant depends on. Raises BadInput if the default is forbidden then.
        """
        now = {**self.by_name, **changed}
        fixed = {name: parameter.default for name, parameter in changed.items() if parameter.single}
        kept: dict[str, tuple[Condition, ...]] = {}
        for name in self.parents_first:
            left = _left(name, self.conditions_of(name), kept, now, fixed)
            if left is not None:
                kept[name] = left
        before = {
            old: left
            for old in self.constants
            if (left := _left(old.name, old.conditions, kept, now, fixed)) is not None
        }
        place = {(c.child, c.parent): number for number, c in enumerate(self.conditions)}
        conditions = [c for name in now if name not in fixed for c in kept.get(name, ())]
        space = Space(
            tuple(p for name, p in now.items() if name in kept and name not in fixed),
            tuple(sorted(conditions, key=lambda c: place.get((c.child, c.parent), len(place)))),
            tuple(
                dict.fromkeys(
                    left
                    for clause in self.forbidden
                    for left in _clauses_left(clause, kept, now, fixed)
                )
            ),
            (
                *(replace(old, conditions=left) for old, left in before.items()),
                *(Constant(name, fixed[name], kept[name]) for name in fixed if name in kept),
            ),
        )
        for clause in space.forbidden:
            if all(space.by_name[name].default == value for name, value in clause):
                raise BadInput(
                    f"{clause_text(clause)} is forbidden and the default configuration of what is "
                    "left, expected another default or value"
                )
        return space

    def complete(self, config: Config) -> Config:
        """What a trial of the configuration gets: its values, and the constants that are active."""
        active = {
            constant.name: constant.value
            for constant in self.constants
            if all(config.get(c.parent) in c.values for c in constant.conditions)
        }
        return {**config, **active}

    def with_defaults(self, values: Mapping[str, Value]) -> "Space":
        """The space in which these parameters have other defaults; unknown names are ignored."""
        parameters = (
            replace(p, default=p.check(values[p.name])) if p.name in values else p
            for p in self.parameters
        )
        return replace(self, parameters=tuple(parameters))

    def conditions_of(self, name: str) -> tuple[Condition, ...]:
        """The conditions under which the parameter is active; none if it always is."""
        return self._conditions.get(name, ())

    @cached_property
    def _conditions(self) -> Mapping[str, tuple[Condition, ...]]:
        conditions: dict[str, tuple[Condition, ...]] = {}
        for condition in self.conditions:
            conditions[condition.child] = (*conditions.get(condition.child, ()), condition)
        return conditions

    def active(self, config: Mapping[str, object]) -> tuple[str, ...]:
        """The names of the parameters that are active in `config`, in the order of the space.

        Only the values of parents are looked at; a parent that is absent counts as inactive.
        """
        active: set[str] = set()
        for name in self.parents_first:
            if all(
                condition.parent in active and str(config.get(condition.parent)) in condition.values
                for condition in self.conditions_of(name)
            ):
                active.add(name)
        return tuple(parameter.name for parameter in self.parameters if parameter.name in active)

    def check(self, config: Mapping[str, object]) -> Config:
        """The typed configuration of what a configurator sent, in the order of the space.

        Raises BadInput that names the parameter: unknown, missing, inactive but given, out of its
        range, not a number, or part of a forbidden combination.
        """
        fixed = {constant.name: constant.value for constant in self.constants}
        for name in config:
            if name in fixed:
                raise BadInput(f"parameter {name} is fixed at {fixed[name]} here: leave it out")
            if name not in self.by_name:
                raise BadInput(
                    f"unknown parameter {name!r}, expected one of {', '.join(self.by_name)}"
                )
        typed: Config = {}
        for name in self.parents_first:
            unmet = [
                condition
                for condition in self.conditions_of(name)
                if typed.get(condition.parent) not in condition.values
            ]
            if unmet and name in config:
                raise BadInput(
                    f"parameter {name} is given as {config[name]!r} but inactive:"
                    f" it is active only where {' and '.join(map(str, unmet))}"
                )
            if not unmet:
                if name not in config:
                    raise BadInput(
                        f"parameter {name} is missing, expected {self.by_name[name].expected}"
                    )
                typed[name] = self.by_name[name].check(config[name])
        clause = self._broken(typed)
        if clause:
            raise BadInput(f"forbidden combination {clause_text(clause)}")
        return {name: typed[name] for name in self.by_name if name in typed}

    def sample(self, rng: random.Random) -> Config:
        """A configuration drawn at random: parents before children, forbidden ones drawn anew."""
        for _ in range(10_000):
            config = self.drawn(lambda parameter: parameter.sample(rng))
            if config is not None:
                return config
        raise BadInput("10000 configurations drawn were all forbidden, expected a larger space")

    def drawn(self, choose: Callable[[Parameter], Value]) -> Config | None:
        """The configuration of values chosen one by one, parents before children, of what is
        active; None if it is forbidden."""
        drawn: Config = {}
        for name in self.parents_first:
            if all(drawn.get(c.parent) in c.values for c in self.conditions_of(name)):
                drawn[name] = choose(self.by_name[name])
        if self._broken(drawn):
            return None
        return {name: drawn[name] for name in self.by_name if name in drawn}

    def configurations(self, most: int) -> tuple[Config, ...] | None:
        """All configurations; None if they and the forbidden ones are more than `most`."""
        every: list[Config] = [{}]
        for name in self.parents_first:
            values = self.by_name[name].values(most)
            if values is None:
                return None
            every = [
                {**config, **given}
                for config in every
                for given in (
                    [{name: value} for value in values]
                    if all(config.get(c.parent) in c.values for c in self.conditions_of(name))
                    else [{}]
                )
            ]
            if len(every) > most:
                return None
        allowed = (config for config in every if not self._broken(config))
        return tuple({name: c[name] for name in self.by_name if name in c} for c in allowed)

    def _broken(self, config: Mapping[str, object]) -> tuple[tuple[str, str], ...]:
        """The first forbidden clause that holds in `config`, or an empty one."""
        for clause in self.forbidden:
            if all(config.get(name) == value for name, value in clause):
                return clause
        return ()

    @cached_property
    def parents_first(self) -> tuple[str, ...]:
        """All names, each after its parents. Raises BadInput where conditions form a cycle."""
        waiting = list(self.by_name)
        ordered: list[str] = []
        while waiting:
            ready = [
                name
                for name in waiting
                if all(condition.parent in ordered for condition in self.conditions_of(name))
            ]
            if not ready:
                raise BadInput(f"conditions form a cycle through {', '.join(waiting)}")
            ordered += ready
            waiting = [name for name in waiting if name not in ready]
        return tuple(ordered)


def canonical(config: Mapping[str, Value]) -> str:
    """The one text of a configuration: compact JSON, keys sorted."""
    return json.dumps(dict(config), sort_keys=True, separators=(",", ":"))


def config_id(config: Mapping[str, Value]) -> str:
    """A short name of a configuration: the first 12 hexadecimal digits of its text's SHA-256."""
    return hashlib.sha256(canonical(config).encode()).hexdigest()[:12]


def number_text(number: int | float) -> str:
    """The shortest decimal that reads back as `number`, never in scientific notation."""
    text = repr(number)
    if "e" not in text:
        return text.removesuffix(".0")
    digits, exponent = text.split("e")
    whole, _, fraction = digits.partition(".")
    shift = int(exponent)
    sign, whole = ("-", whole[1:]) if whole.startswith("-") else ("", whole)
    if shift < 0:
        return f"{sign}0.{'0' * (-shift - len(whole))}{whole}{fraction}"
    return f"{sign}{whole}{fraction}{'0' * (shift - len(fraction))}"


def clause_text(clause: tuple[tuple[str, str], ...]) -> str:
    """A forbidden combination as PCS writes it."""
    return "{" + ", ".join(f"{name}={value}" for name, value in clause) + "}"


def _left(
    child: str,
    conditions: Sequence[Condition],
    kept: Mapping[str, tuple[Condition, ...]],
    now: Mapping[str, Parameter],
    fixed: Mapping[str, Value],
) -> tuple[Condition, ...] | None:
    """What is left of a child's conditions; None if they can never hold.

    kept: of all that can be active, what is left of theirs.
    """
    values: dict[str, tuple[str, ...]] = {}
    for condition in conditions:
        parent = condition.parent
        if parent not in kept:
            return None
        if parent in fixed:
            if str(fixed[parent]) not in condition.values:
                return None
            asked = kept[parent]
        else:
            asked = (condition,)
        for each in asked:
            possible = values.get(each.parent, each.values)
            left = [v for v in possible if v in each.values and v in now[each.parent].choices]
            if not left:
                return None
            values[each.parent] = tuple(left)
    return tuple(Condition(child, parent, left) for parent, left in values.items())


def _clauses_left(
    clause: tuple[tuple[str, str], ...],
    kept: Mapping[str, tuple[Condition, ...]],
    now: Mapping[str, Parameter],
    fixed: Mapping[str, Value],
) -> Iterator[tuple[tuple[str, str], ...]]:
    """What is left of a forbidden combination: nothing, or one for each way it can come about."""
    if any(
        name not in kept
        or (str(fixed[name]) != value if name in fixed else value not in now[name].choices)
        for name, value in clause
    ):
        return
    pairs = [pair for pair in clause if pair[0] not in fixed]
    # A constant that is not always active takes part in it where its conditions hold.
    conditions = [c for name, _ in clause if name in fixed for c in kept[name]]
    for chosen in product(*([(c.parent, value) for value in c.values] for c in conditions)):
        whole = dict.fromkeys((*pairs, *chosen))
        if len({name for name, _ in whole}) == len(whole):
            yield tuple(whole)


def variant_space(variant: Variant, options: Options | None = None) -> Space:
    """The space of a variant: its own parameters, then those of the recipe that all variants share.

    A shared parameter that the variant defines again is narrowed to that, and one with a single
    value is fixed. The options of a scenario fix and narrow what is left, and have defaults of
    their own. That of a selection is put together from those of what it chooses among.
    Raises BadInput for whatever is wrong in one of the files or the options.
    """
    if variant.is_selection:
        return _selection_space(variant, options)
    own = _lines_of(variant.pcs)
    return _own_and_shared(variant.name, variant.pcs, own, _lines_of(SHARED_PCS), options)


@functools.lru_cache(maxsize=512)  # a set's scenarios, and a selection's variants, have much alike
def _own_and_shared(
    called: str,
    pcs: Path,
    own: tuple["_Line", ...],
    shared: tuple["_Line", ...],
    options: Options | None,
) -> Space:
    of_all = {p.name: p for p in map(_parameter, filter(_defines, shared))}
    again = [line for line in own if _defines(line) and _parameter(line).name in of_all]
    whole = _space([*(line for line in own if line not in again), *shared])
    whole = whole.with_defaults(options.defaults if options else {})
    changed: dict[str, Parameter] = {}
    for line in again:
        parameter = _parameter(line)
        if parameter.name in changed:
            raise line.wrong(f"parameter {parameter.name} is defined twice")
        changed[parameter.name] = _defined_again(line, parameter, of_all[parameter.name])
    for parameter in whole.parameters:
        if parameter.single:
            changed[parameter.name] = parameter
    try:
        space = whole.narrowed(changed)
    except BadInput as error:
        raise BadInput(f"{_shown(pcs)}: {error}") from None
    space = replace(
        space,
        constants=tuple(
            constant if constant.name in of_all else replace(constant, value=_literal(constant))
            for constant in space.constants
        ),
    )
    if options is None:
        return space
    return _only(space.fixed(options.fixed), options.narrowed, whole, called)


def _only(space: Space, narrowed_: Mapping[str, Sequence[str]], whole: Space, called: str) -> Space:
    """The space with no more than these values of parameters; whole: before anything was fixed."""
    fixed = {constant.name: constant.value for constant in space.constants}
    wanted: dict[str, Parameter] = {}
    for name, values in narrowed_.items():
        if name not in whole.by_name:
            raise BadInput(
                f"option --only names {name}, expected parameters of {called}: "
                f"{', '.join(whole.by_name)}"
            )
        narrowed = space.by_name.get(name, whole.by_name[name]).narrowed(values)
        if name in fixed:
            narrowed.check(fixed[name])
        elif name in space.by_name:
            wanted[name] = narrowed
    return space.narrowed(wanted)


# Selections --------------------------------------------------------------------------------------


def resolved(variant: Variant, config: Config) -> tuple[Variant, Config]:
    """Whose trial a whole configuration asks for, and what that one gets.

    Of a selection it is the variant that is chosen, by the names that it has itself.
    Raises BadInput for one that there is not any more.
    """
    if not variant.is_selection:
        return variant, config
    chosen = variant.choice(str(config[CHOSEN]))
    own = _below(chosen.name, "")
    return chosen, {n.removeprefix(own): value for n, value in config.items() if n != CHOSEN}


def _below(chosen: str, name: str) -> str:
    """What a variant's parameter is called in a selection; two underscores, as in scikit-learn."""
    return f"{chosen}__{name}"


def _selection_space(variant: Variant, options: Options | None) -> Space:
    """The space of a selection, of the variants that the options grant what they require."""
    if options is None:
        return _together(variant, variant.choices, None)
    granted = {
        name: each
        for name, each in variant.choices.items()
        if all(map(options.grants, each.requires))
    }
    shared = {line.text.split()[0] for line in _lines_of(SHARED_PCS) if _defines(line)}
    of_one = {name: values for name, values in options.narrowed.items() if name not in shared}
    space = _together(variant, granted, options.without(of_one))
    if of_one:
        space = _only(space, of_one, variant_space(variant), variant.name)
    if CHOSEN not in space.by_name:
        raise BadInput(f"{variant.name} has one variant left, expected two to choose from at least")
    return space


def left_open(variant: Variant, options: Options) -> Options:
    """The options without what --only says of parameters that a variant fixes itself."""
    return options.without({constant.name for constant in variant_space(variant).constants})


def _together(variant: Variant, choices: Mapping[str, Variant], options: Options | None) -> Space:
    """The root, below it of each variant what is its own, then what is the same for several.

    Same is what has the definition and conditions of the recipe; a parameter of the recipe that a
    variant fixes, narrows or ties to something is its own.
    """
    begins = variant.begins_with
    if begins not in choices:
        raise BadInput(
            f"{variant.name} begins with {begins}, expected one of {', '.join(choices)} (DEFAULT)"
        )
    recipe = _own_and_shared("the recipe", SHARED_PCS, (), _lines_of(SHARED_PCS), options)
    spaces = {}
    for name, each in choices.items():
        try:
            spaces[name] = variant_space(each, options and left_open(each, options))
        except BadInput as error:
            raise BadInput(f"{name}: {error}") from None
    same = {name: _same(space, recipe) for name, space in spaces.items()}
    parts = [
        Space((Parameter(CHOSEN, "categorical", tuple(choices), 0, 0, begins),)),
        *(
            _one_of_several(name, space, {each.name for each in _entries(space)} - same[name])
            for name, space in spaces.items()
        ),
        _of_several(recipe, same),
    ]
    space = Space(
        tuple(p for part in parts for p in part.parameters),
        tuple(c for part in parts for c in part.conditions),
        tuple(clause for part in parts for clause in part.forbidden),
        tuple(c for part in parts for c in part.constants),
    )
    if len(space.by_name) < len(space.parameters):
        names = [parameter.name for parameter in space.parameters]
        twice = next(name for name in names if names.count(name) > 1)
        raise BadInput(f"{variant.name} has two parameters called {twice}: rename a variant")
    return space


def _entries(space: Space) -> tuple[Parameter | Constant, ...]:
    return (*space.parameters, *space.constants)


def _same(space: Space, recipe: Space) -> set[str]:
    """The names of a space that are those of the recipe in all that is said of them."""
    said = {each.name: (each, {*recipe.conditions_of(each.name)}) for each in _entries(recipe)}
    same = {
        each.name
        for each in _entries(space)
        if said.get(each.name) == (each, {*space.conditions_of(each.name)})
    }
    conditions = [*space.conditions, *(c for each in space.constants for c in each.conditions)]
    while apart := {c.child for c in conditions if c.child in same and c.parent not in same}:
        same -= apart
    return same


def _one_of_several(chosen: str, space: Space, own: set[str]) -> Space:
    """What is a variant's own, under the names that it has below the root."""

    def called(name: str) -> str:
        return _below(chosen, name) if name in own else name

    def placed(name: str, conditions: Sequence[Condition]) -> tuple[Condition, ...]:
        carried = (Condition(called(name), called(c.parent), c.values) for c in conditions)
        return (Condition(called(name), CHOSEN, (chosen,)), *carried)

    clauses = [tuple((called(name), value) for name, value in c) for c in space.forbidden]
    return Space(
        tuple(replace(p, name=called(p.name)) for p in space.parameters if p.name in own),
        tuple(c for n in space.by_name if n in own for c in placed(n, space.conditions_of(n))),
        tuple(((CHOSEN, chosen), *clause) for clause in clauses),
        tuple(
            Constant(called(c.name), c.value, placed(c.name, c.conditions))
            for c in space.constants
            if c.name in own
        ),
    )


def _of_several(recipe: Space, same: Mapping[str, set[str]]) -> Space:
    """What is left of the recipe: each parameter where a variant is chosen that has it so."""
    users = {
        each.name: tuple(chosen for chosen, names in same.items() if each.name in names)
        for each in _entries(recipe)
    }

    def placed(name: str, conditions: Sequence[Condition]) -> tuple[Condition, ...]:
        everywhere = len(users[name]) == len(same)
        return (*conditions, *(() if everywhere else (Condition(name, CHOSEN, users[name]),)))

    left = [p for p in recipe.parameters if users[p.name]]
    return Space(
        tuple(left),
        tuple(c for p in left for c in placed(p.name, recipe.conditions_of(p.name))),
        (),
        tuple(
            replace(c, conditions=placed(c.name, c.conditions))
            for c in recipe.constants
            if users[c.name]
        ),
    )


def _defined_again(line: "_Line", parameter: Parameter, shared: Parameter) -> Parameter:
    """A shared parameter as a variant defines it again; BadInput where it is no part of it."""
    values: Sequence[object] = parameter.choices or (parameter.low, parameter.high)
    several = shared.kind != "categorical" and len(parameter.choices) > 1
    other = (parameter.kind, parameter.log) != (shared.kind, shared.log)
    if several or (other and not parameter.choices):
        scale = "on a logarithmic scale" if shared.log else "on a linear scale"
        raise line.wrong(
            f"{shared.name} is shared, expected {{value}} or a range of it as in {SHARED_PCS.name}:"
            f" {shared.expected} {scale if shared.kind != 'categorical' else ''}".rstrip()
        )
    try:
        narrowed = shared.narrowed(values)
        return replace(narrowed, default=narrowed.check(parameter.default))
    except BadInput as error:
        raise line.wrong(f"{error} ({SHARED_PCS.name})") from None


def _literal(constant: Constant) -> Value:
    """The one value of a variant's own parameter: a number if it reads as one."""
    text = str(constant.value)
    try:
        number = finite(text)
    except ValueError:
        return constant.value
    return int(text) if re.fullmatch(r"[-+]?[0-9]+", text) else number


def _pcs(path: Path) -> tuple[str, str]:
    """A parameter file's text, and its name in messages."""
    where = _shown(path)
    try:
        return path.read_text(encoding="utf-8"), where
    except OSError as error:
        raise BadInput(f"{where}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise BadInput(f"{where}: is not UTF-8 text") from None


def _lines_of(path: Path) -> tuple["_Line", ...]:
    return tuple(_lines(*_pcs(path)))


def _shown(path: Path) -> str:
    return str(path.relative_to(ROOT) if path.is_relative_to(ROOT) else path)


def read_pcs(text: str, where: str) -> Space:
    """The space of a text in old PCS syntax; `where` is its name in messages.

    Raises BadInput with the line number and what was expected.
    """
    return _space(list(_lines(text, where)))


@dataclass(frozen=True)
class _Line:
    text: str
    where: str
    number: int
    heading: str = ""

    def wrong(self, what: str) -> BadInput:
        return BadInput(f"{self.where}, line {self.number}: {what}")


def _lines(text: str, where: str) -> Iterator[_Line]:
    """The lines that say something, without comments."""
    heading = ""
    for number, line in enumerate(text.splitlines(), start=1):
        if found := _HEADING.fullmatch(line):
            heading = found[1]
        said = line.split("#", 1)[0].strip()
        if said and said.lower() not in _HEADERS:
            yield _Line(said, where, number, heading)


def _defines(line: _Line) -> bool:
    """Is it the definition of a parameter, neither a condition nor a forbidden combination?"""
    return "|" not in line.text and not line.text.startswith("{")


def _space(lines: list[_Line]) -> Space:
    parameters: dict[str, Parameter] = {}
    for line in lines:
        if _defines(line):
            parameter = _parameter(line)
            if parameter.name in parameters:
                raise line.wrong(f"parameter {parameter.name} is defined twice")
            parameters[parameter.name] = parameter
    # Conditions and forbidden combinations may come before the parameters they name.
    conditions: list[Condition] = []
    forbidden: list[tuple[tuple[str, str], ...]] = []
    for line in lines:
        if "|" in line.text:
            condition = _condition(line, parameters)
            if condition in conditions:
                raise line.wrong("this condition is given twice")
            conditions.append(condition)
            try:
                Space(tuple(parameters.values()), tuple(conditions)).parents_first  # noqa: B018
            except BadInput as error:
                raise line.wrong(str(error)) from None
        elif line.text.startswith("{"):
            clause = _clause(line, parameters)
            if all(parameters[name].default == value for name, value in clause):
                # SMAC refuses such a file even where one of the two is inactive by default.
                raise line.wrong(f"{clause_text(clause)} forbids the default configuration")
            forbidden.append(clause)
    return Space(tuple(parameters.values()), tuple(conditions), tuple(forbidden))


def _parameter(line: _Line) -> Parameter:
    match = _PARAMETER.fullmatch(line.text)
    if not match or (match[2] == "{") != ("}" in line.text):
        raise line.wrong(
            f"found {line.text!r}, expected 'name {{a, b}} [a]', 'name [low, high] [default]' with"
            " i, l or il behind it, 'child | parent in {a, b}' or '{name=value, name=value}'"
        )
    name, bracket, domain, default, flags = match.groups()
    if not _NAME.fullmatch(name) or name in RESERVED:
        raise line.wrong(
            f"parameter name {name!r}, expected lower-case letters, digits and _, beginning with"
            f" a letter, and none of {', '.join(sorted(RESERVED))}"
        )
    if name in RESERVED_BY_R:
        raise line.wrong(f"parameter name {name!r} is a word of R, which irace reads: rename it")
    items = tuple(item.strip() for item in domain.split(","))
    default = default.strip()
    read = _categorical if bracket == "{" else _numeric
    return replace(read(line, name, items, default, flags), component=line.heading)


def _categorical(
    line: _Line, name: str, choices: tuple[str, ...], default: str, flags: str
) -> Parameter:
    for choice in choices:
        if not _CHOICE.fullmatch(choice):
            raise line.wrong(
                f"value {choice!r} of {name}, expected letters, digits and any of _ . + - only"
            )
        if choice == "NA":
            raise line.wrong(f"value NA of {name} is no value to R, which irace is in: rename it")
        if choices.count(choice) > 1:
            raise line.wrong(f"value {choice} of {name} is given twice")
    if flags:
        raise line.wrong(f"{flags!r} behind the categorical parameter {name}, expected nothing")
    if default not in choices:
        raise line.wrong(f"default {default!r} of {name}, expected one of {', '.join(choices)}")
    return Parameter(name, "categorical", choices, 0, 0, default)


def _numeric(line: _Line, name: str, items: tuple[str, ...], default: str, flags: str) -> Parameter:
    if flags not in {"", "i", "l", "il", "li"}:
        raise line.wrong(f"{flags!r} behind the range of {name}, expected i, l, il or nothing")
    if len(items) != 2:
        raise line.wrong(f"range of {name} has {len(items)} numbers, expected [low, high]")
    numbers_: list[float] = []
    for text in (*items, default):
        try:
            numbers_.append(finite(text))
        except ValueError:
            raise line.wrong(f"{text!r} in the range of {name}, expected a number") from None
        if "i" in flags and numbers_[-1] != int(numbers_[-1]):
            raise line.wrong(f"{text} in the range of {name}, expected an integer")
    low, high, value = numbers_
    if not low < high:
        raise line.wrong(f"range [{items[0]}, {items[1]}] of {name}, expected low < high")
    if "l" in flags and low <= 0:
        raise line.wrong(f"lower bound {items[0]} of {name}, expected more than 0 on a log scale")
    if not low <= value <= high:
        raise line.wrong(f"default {default} of {name}, expected it in [{items[0]}, {items[1]}]")
    if "i" not in flags and (why := _too_fine(low, high)):
        raise line.wrong(f"range [{items[0]}, {items[1]}] of {name}, {why}")
    if "i" in flags:
        return Parameter(name, "integer", (), int(low), int(high), int(value), "l" in flags)
    return Parameter(name, "real", (), low, high, value, "l" in flags)


def _too_fine(low: float, high: float) -> str | None:
    """What is wrong with bounds that some reader would round, None if they come through."""
    rounded = [round(bound, DECIMALS) for bound in (low, high)]
    kept = all(
        abs(near - bound) <= ROUNDING * abs(bound)
        for near, bound in zip(rounded, (low, high), strict=True)
    )
    if kept and rounded[0] < rounded[1]:
        return None
    return f"expected bounds that differ in {DECIMALS} decimal places: scale the parameter"


def _condition(line: _Line, parameters: Mapping[str, Parameter]) -> Condition:
    match = _CONDITION.fullmatch(line.text)
    if not match:
        raise line.wrong(
            f"found {line.text!r}, expected 'child | parent in {{a, b}}'"
            " (several lines for one child where all must hold)"
        )
    child, parent, domain = match.groups()
    if child not in parameters:
        raise line.wrong(f"condition on unknown parameter {child!r}")
    values = tuple(value.strip() for value in domain.split(","))
    for value in values:
        _known_choice(line, parameters, parent, value)
        if values.count(value) > 1:
            raise line.wrong(f"value {value} of {parent} is given twice")
    return Condition(child, parent, values)


def _clause(line: _Line, parameters: Mapping[str, Parameter]) -> tuple[tuple[str, str], ...]:
    match = _FORBIDDEN.fullmatch(line.text)
    pairs = [pair.split("=") for pair in match[1].split(",")] if match else []
    if not pairs or any(len(pair) != 2 for pair in pairs):
        raise line.wrong(f"found {line.text!r}, expected '{{name=value, name=value}}'")
    clause = tuple((name.strip(), value.strip()) for name, value in pairs)
    for name, value in clause:
        _known_choice(line, parameters, name, value)
        if sum(other == name for other, _ in clause) > 1:
            raise line.wrong(f"parameter {name} is named twice in {clause_text(clause)}")
    return clause


def _known_choice(line: _Line, parameters: Mapping[str, Parameter], name: str, value: str) -> None:
    if name not in parameters:
        raise line.wrong(f"unknown parameter {name!r}, expected one of {', '.join(parameters)}")
    parameter = parameters[name]
    if parameter.kind != "categorical":
        raise line.wrong(f"{name} is numeric, expected a categorical parameter here")
    if value not in parameter.choices:
        raise line.wrong(f"value {value!r} of {name}, expected {parameter.expected}")


def finite(value: object) -> float:
    """A finite number from text or from Python's or NumPy's number. Raises ValueError."""
    if isinstance(value, bool) or not isinstance(value, (str, numbers.Real)):
        raise ValueError
    # float() would take 1_000 and non-ASCII digits, which no configurator means.
    if isinstance(value, str) and not re.fullmatch(r"\s*[-+0-9.eE]+\s*", value, re.ASCII):
        raise ValueError
    number = float(value)
    if not math.isfinite(number):
        raise ValueError
    return number
