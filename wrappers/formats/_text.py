"""What the formats have in common: numbers, bounds and conditions as text."""

from collections.abc import Iterable

from wrappers.space import Condition, Parameter, Space, number_text


def by_child(space: Space) -> dict[str, tuple[Condition, ...]]:
    """The conditions of each conditional parameter, in the order of the space."""
    return {
        parameter.name: space.conditions_of(parameter.name)
        for parameter in space.parameters
        if space.conditions_of(parameter.name)
    }


def clauses(space: Space) -> list[str]:
    """Forbidden combinations; selector-ac needs the space after the comma."""
    return [
        "{" + ", ".join(f"{name}={value}" for name, value in clause) + "}"
        for clause in space.forbidden
    ]


def bounds(parameter: Parameter, brackets: str) -> str:
    return f"{brackets[0]}{number_text(parameter.low)}, {number_text(parameter.high)}{brackets[1]}"


def default(parameter: Parameter) -> str:
    return cell(parameter.default)


def cell(value: object) -> str:
    return number_text(value) if isinstance(value, (int, float)) else str(value)


def text(lines: Iterable[str]) -> str:
    return "".join(f"{line}\n" for line in lines)
