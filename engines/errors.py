"""What can go wrong, as one small tree. Every message names the thing and ends with what to do.

UnfoldError
├── Refused       a setting, link, trace or intervention that is out of range or unknown
├── BadWeights    a weights file that is missing, damaged or not what it claims to be
├── BadTrace      a trace that breaks the rules of `engines.events`
├── Unmetered     a lane reached a network without its meter (a mistake of ours)
├── Cancelled     Stop, a closed page, or a newer run
└── Unreachable   something on the Hub that cannot be had
"""


class UnfoldError(Exception):
    """Root of the tree. `code` is the exit code of the command line; `fix` says what to do."""

    code = 1

    def __init__(self, message: str, fix: str = ""):
        super().__init__(message)
        self.fix = fix


class Refused(UnfoldError):
    """Input that was not accepted; `field` is the setting or place that it concerns."""

    code = 2

    def __init__(self, message: str, field: str | None = None, fix: str = ""):
        super().__init__(message, fix)
        self.field = field


class BadWeights(UnfoldError):
    """A weights file that cannot be used; the message starts with its name."""

    code = 3


class BadTrace(UnfoldError):
    """A trace that contradicts itself or comes from another version."""

    code = 4


class Unmetered(UnfoldError):
    """A network was called past its meter, or its Forward event was not yielded."""


class Cancelled(UnfoldError):
    """Raised inside a lane by its meter when the run was stopped."""

    code = 5


class Unreachable(UnfoldError):
    """What was asked of the Hub cannot be had; the message names it."""

    code = 6
