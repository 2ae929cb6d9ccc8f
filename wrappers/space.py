"""Parameter spaces: the old PCS format, checking, sampling and naming of configurations.

**Source**: the PCS format of SMAC v2.08 (its manual), the one dialect that every reader of AClib
scenarios understands. Standard library only: each trial imports this module.
**Differs**: conditions and forbidden combinations are on categorical parameters only, and a space
is refused on the first line that is odd, where the original readers guess.
"""

import hashlib
import json
import math
import numbers
import random
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Literal

from sparse_training.errors import BadInput
from target_algorithms import ROOT, SHARED_PCS, Variant
from target_algorithms.contract import Value

Config = dict[str, Value]
"""The active parameters of a configuration and their typed values; inactive ones are absent."""

Kind = Literal["categorical", "integer", "real"]

RESERVED = frozenset({"instance", "seed", "cutoff", "config", "help"})
"""Words of the call of a target algorithm; a parameter of that name could not be told apart."""

ROUNDING = 1e-9
"""How far outside its bounds a real may lie, relative to the bound, before it is refused.

Configurators write decimals, and the decimal nearest to a bound may lie on its other side."""

_NAME = re.compile(r"[a-z][a-z0-9_]*")
_CHOICE = re.compile(r"[A-Za-z0-9_.+-]+")
_PARAMETER = re.compile(r"(\S+)\s*([\[{])([^\[\]{}]*)[\]}]\s*\[([^\[\]{}]*)\]\s*(\w*)")
_CONDITION = re.compile(r"(\S+)\s*\|\s*(\S+)\s+in\s*\{([^{}]*)\}")
_FORBIDDEN = re.compile(r"\{([^{}]*)\}")
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
            number = _number(value)
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
class Space:
    """The parameters of a target algorithm, when each is active, and what may not be combined."""

    parameters: tuple[Parameter, ...]
    conditions: tuple[Condition, ...] = ()
    """Several for one child must all hold."""
    forbidden: tuple[tuple[tuple[str, str], ...], ...] = ()
    """Each is a set of (parameter, value) pairs that no configuration may have together."""

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

    def fixed(self, values: Mapping[str, Value]) -> "Space":
        """The space in which these parameters have a value and can no longer be set.

        What is never active then is gone as well, and so are conditions and forbidden combinations
        that say nothing any more. Names that are no parameters are ignored.
        """
        never: set[str] = set()
        for name in self._parents_first:
            for condition in self.conditions_of(name):
                parent = condition.parent
                if parent in never or str(values.get(parent, condition.values[0])) not in (
                    condition.values
                ):
                    never.add(name)
        gone = never | values.keys()
        clauses = []
        for clause in self.forbidden:
            if any(name in never for name, _ in clause) or any(
                name in values and str(values[name]) != value for name, value in clause
            ):
                continue
            clauses.append(tuple(pair for pair in clause if pair[0] not in values))
        return Space(
            tuple(p for p in self.parameters if p.name not in gone),
            tuple(c for c in self.conditions if c.child not in gone and c.parent not in gone),
            tuple(clauses),
        )

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
        for name in self._parents_first:
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
        for name in config:
            if name not in self.by_name:
                raise BadInput(
                    f"unknown parameter {name!r}, expected one of {', '.join(self.by_name)}"
                )
        typed: Config = {}
        for name in self._parents_first:
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
            drawn: Config = {}
            for name in self._parents_first:
                if all(drawn.get(c.parent) in c.values for c in self.conditions_of(name)):
                    drawn[name] = self.by_name[name].sample(rng)
            if not self._broken(drawn):
                return {name: drawn[name] for name in self.by_name if name in drawn}
        raise BadInput("10000 configurations drawn were all forbidden, expected a larger space")

    def _broken(self, config: Mapping[str, object]) -> tuple[tuple[str, str], ...]:
        """The first forbidden clause that holds in `config`, or an empty one."""
        for clause in self.forbidden:
            if all(config.get(name) == value for name, value in clause):
                return clause
        return ()

    @cached_property
    def _parents_first(self) -> tuple[str, ...]:
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


def variant_space(variant: Variant) -> Space:
    """The space of a variant: its own parameters, then those of the recipe that all variants share.

    A shared parameter that the variant defines again with a single choice means nothing to it, and
    is not in its space. Raises BadInput for whatever is wrong in one of the two files.
    """
    own, shared = (list(_lines(*_pcs(path))) for path in (variant.pcs, SHARED_PCS))
    named = {_parameter(line).name: line for line in shared if _defines(line)}
    single = {
        parameter.name: parameter.default
        for parameter in map(_parameter, filter(_defines, own))
        if len(parameter.choices) == 1 and parameter.name in named
    }
    shared = [line for line in shared if line not in [named[name] for name in single]]
    return _space(own + shared).fixed(single)


def _pcs(path: Path) -> tuple[str, str]:
    """A parameter file's text, and its name in messages."""
    where = str(path.relative_to(ROOT) if path.is_relative_to(ROOT) else path)
    try:
        return path.read_text(encoding="utf-8"), where
    except OSError as error:
        raise BadInput(f"{where}: cannot be read ({error.strerror})") from None


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

    def wrong(self, what: str) -> BadInput:
        return BadInput(f"{self.where}, line {self.number}: {what}")


def _lines(text: str, where: str) -> Iterator[_Line]:
    """The lines that say something, without comments."""
    for number, line in enumerate(text.splitlines(), start=1):
        said = line.split("#", 1)[0].strip()
        if said and said.lower() not in _HEADERS:
            yield _Line(said, where, number)


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
                Space(tuple(parameters.values()), tuple(conditions))._parents_first  # noqa: B018
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
    items = tuple(item.strip() for item in domain.split(","))
    default = default.strip()
    if bracket == "{":
        return _categorical(line, name, items, default, flags)
    return _numeric(line, name, items, default, flags)


def _categorical(
    line: _Line, name: str, choices: tuple[str, ...], default: str, flags: str
) -> Parameter:
    for choice in choices:
        if not _CHOICE.fullmatch(choice):
            raise line.wrong(
                f"value {choice!r} of {name}, expected letters, digits and any of _ . + - only"
            )
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
            numbers_.append(_number(text))
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
    if "i" in flags:
        return Parameter(name, "integer", (), int(low), int(high), int(value), "l" in flags)
    return Parameter(name, "real", (), low, high, value, "l" in flags)


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


def _number(value: object) -> float:
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
