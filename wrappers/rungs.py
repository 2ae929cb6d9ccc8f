"""Multi-fidelity: rungs that configurations climb, and the incumbent at the top.

A rung is a share of the training budget *and* a number of pairs. The price of a configuration's
trials on a rung is `ETA` times that on the rung below: first the share grows, on one pair, until
training is whole; then the pairs do. Measured on scenarios/digits (60 configurations of the default
and random ones, rank correlation with the mean error on nine other pairs): a ninth of the training
budget on one pair has .84 (rigl) and .97 (meta), on three pairs, at three times the price, .83 and
.98; a third on one pair .94 and .98; whole training on one pair .97 and .99.
"""

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from statistics import fmean

from wrappers.run import Ask, Run
from wrappers.space import Config, config_id

ETA = 3
_SHARES = (1 / 9, 1 / 3, 1.0)


@dataclass(frozen=True)
class Rung:
    """What a configuration is evaluated on."""

    fidelity: float
    """Share of the training budget, in (0, 1]."""
    pairs: int
    """The first so many of a run's pairs."""

    def asks(self, config: Config) -> list[Ask]:
        """The trials of a configuration on this rung."""
        return [Ask(config, pair, self.fidelity) for pair in range(self.pairs)]

    def price_after(self, below: "Rung | None") -> float:
        """What a configuration is charged here that has been on the rung below."""
        met = below.pairs if below is not None and below.fidelity == self.fidelity else 0
        return self.fidelity * (self.pairs - met)


def ladder(run: Run) -> tuple[Rung, ...]:
    """The rungs of a run, the lowest first; nothing takes more than a ninth of its budget."""
    whole, pairs = list[Rung](), ETA
    while pairs * ETA**2 <= run.budget:
        whole.append(Rung(1.0, pairs))
        pairs *= ETA
    return (*(Rung(share, 1) for share in _SHARES), *whole)


class Best:
    """The incumbent of a run, of trials with the whole training budget.

    Begins with the default configuration on the first pair.
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        self._config = run.space.default
        self._costs = {0: run.evaluate(self._config, 0)}
        run.new_incumbent(self._config, self._costs[0])

    def meet(
        self, challenger: Config, costs: Sequence[float]
    ) -> Generator[Sequence[Ask], list[float], None]:
        """Part of a race: compares a challenger's costs on the first pairs to the incumbent's.

        What the incumbent lacks of these pairs is asked for. The challenger takes over unless its
        mean is worse.
        """
        pairs = range(len(costs))
        while lacking := [pair for pair in pairs if pair not in self._costs]:
            config = self._config
            answers = yield [Ask(config, pair) for pair in lacking]
            if config is self._config:  # else another one has come meanwhile
                self._costs |= zip(lacking, answers, strict=True)
        mean = fmean(costs)
        if config_id(challenger) == config_id(self._config):
            self._run.new_incumbent(challenger, mean)
        elif mean <= fmean(self._costs[pair] for pair in pairs):
            self._config, self._costs = challenger, dict(enumerate(costs))
            self._run.new_incumbent(challenger, mean)
