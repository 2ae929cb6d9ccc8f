"""The one error that a user can cause and mend."""


class BadInput(ValueError):
    """Something given to the suite is wrong; the message is one line.

    It says what was found, where, and what was expected. Command lines print it and exit with a
    non-zero status, a trial answers ABORT: no retry can help.
    """


class OverBudget(BadInput):
    """A budget does not pay for a configuration; it may pay for others.

    A trial of it has the worst cost, as one that diverges: no configurator is to stop for it.
    """


class Busy(BadInput):
    """Another process works on the same files; later it will not."""
