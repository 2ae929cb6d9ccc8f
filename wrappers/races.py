"""Several races side by side, told their costs in an order that no clock decides.

A race is a generator: it yields the trials that it wants next and is sent their costs, until it has
seen enough. Several run at once, so that workers are busy while each waits for its own trials; what
they know in common they share as they like, for no two ever run at the same moment. Costs are told
to the race that has waited longest, whichever trial ends first, so a run with as many workers and
the same seed is the same run, on any machine and when it goes on after it was interrupted.
"""

from collections import deque
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import Future

from wrappers.run import Ask, BudgetExhausted, Run

Race = Generator[Sequence[Ask], list[float], None]
"""Yields trials, one at least; is sent their costs."""


def side_by_side(run: Run, races: Iterator[Race], ahead: int = 1) -> None:
    """Runs races, each begun as soon as another one has ended, until none is left.

    As many at once as there are workers, or `ahead` times as many: where some take much longer
    than others, whose turn comes later, workers would wait for them. With one worker it is always
    one race after the other. Raises BudgetExhausted, after all trials that the budget paid for are
    evaluated and told.
    """
    width = 1 if run.workers == 1 else ahead * run.workers
    under_way: deque[tuple[Race, list[Future[float]]]] = deque()
    exhausted = False

    def ask(race: Race, asks: Sequence[Ask]) -> None:
        nonlocal exhausted
        try:
            under_way.append((race, run.submit_many(asks)))
        except BudgetExhausted:
            exhausted = True
            race.close()

    while True:
        while not exhausted and len(under_way) < width:
            race = next(races, None)
            if race is None:
                break
            ask(race, next(race))
        if not under_way:
            break
        race, futures = under_way.popleft()
        costs = run.costs(futures)
        try:
            asks = race.send(costs)
        except StopIteration:
            continue
        if exhausted:
            race.close()
        else:
            ask(race, asks)
    if exhausted:
        raise BudgetExhausted
