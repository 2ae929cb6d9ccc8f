"""Workers as processes of our own."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

from sparse_training.errors import BadInput
from wrappers.warm import Worker, here, processes


@dataclass(frozen=True)
class Local:
    """This machine."""

    def workers(self, count: int) -> AbstractContextManager[Sequence[Worker]]:
        """See `Executor`."""
        return processes(here() for _ in range(count))


def executor(rest: str) -> Local:
    """Raises BadInput for more than the name."""
    if rest:
        raise BadInput(f"executor 'local:{rest}', expected 'local'")
    return Local()
