"""All exceptions of LegoDNN, as one tree; each also derives from the builtin that older ``except`` clauses expect.

    LegoError
    ├── UsageError (ValueError)             an invalid argument
    │   ├── UnitError                       a time or a size without a unit, or not a positive number
    │   ├── RecipeError                     a recipe's mistakes, all of them
    │   └── SelectionError                  a block or variant that does not exist
    ├── ModelError (ValueError)             the teacher: its factory, its weights, its graph
    ├── DataError (ValueError)              a loader that yields nothing, or the wrong thing
    ├── OwnCodeError (RuntimeError)         an exception in a user's own code
    ├── WorkError (RuntimeError)            a work directory that cannot be used
    ├── BundleError (ValueError)            a file that is not a whole, trustworthy bundle
    │   ├── BundleVersionError              written in a format this version does not read
    │   └── OperatorError                   a program with an operator that is not allowed
    ├── InputError (ValueError)             a frame of the wrong shape or dtype
    ├── InfeasibleBudget (ValueError)       no selection fits; has the nearest one
    ├── CompositionError (RuntimeError)     a selection that could not be made to run
    │   ├── UnusableVariant                 because of a variant that does not work on this device
    │   └── OutOfMemory (MemoryError)       because there was no memory left for it
    ├── ForkError (RuntimeError)            a forked process, in whose parent networks ran
    ├── SolverError (RuntimeError)          no solver answered; the current selection stays
    └── MissingExtra (ImportError)          a part of LegoDNN that is not installed
"""

from __future__ import annotations

from typing import Mapping, Optional, Sequence

_SHORTAGE = ("can't allocate memory", "not enough memory", "Cannot allocate memory", "bad_alloc", "out of memory")
"""Texts for out of memory: of torch on Linux and on Windows, of the system, of C++, and of CUDA."""


class LegoError(Exception):
    """The base class of all exceptions that LegoDNN raises on purpose."""


class UsageError(LegoError, ValueError):
    """An invalid argument."""


class UnitError(UsageError):
    """A time or a size that has no unit or is not a positive number."""


class RecipeError(UsageError):
    """All mistakes of a recipe, one line each in ``mistakes``."""

    def __init__(self, mistakes: Sequence[str]) -> None:
        super().__init__("\n".join(mistakes))
        self.mistakes = list(mistakes)


class SelectionError(UsageError):
    """A selection that names a block or a variant the bundle does not have."""


class ModelError(LegoError, ValueError):
    """The teacher cannot be made, loaded, traced or cut."""


class DataError(LegoError, ValueError):
    """A loader that yields nothing, or something the network cannot take."""


class OwnCodeError(LegoError, RuntimeError):
    """An exception in a user's own code: a manager's, a network's, a rule's."""


class WorkError(LegoError, RuntimeError):
    """A work directory that cannot be used."""


class BundleError(LegoError, ValueError):
    """A file that is not a whole, trustworthy bundle."""


class BundleVersionError(BundleError):
    """A bundle of a format this version does not read."""


class OperatorError(BundleError):
    """A program in a bundle with an operator that is not allowed."""


class InputError(LegoError, ValueError):
    """An input of the wrong shape or dtype."""


class CompositionError(LegoError, RuntimeError):
    """A selection that could not be made to run; the current one stays."""


class UnusableVariant(CompositionError):
    """A variant that does not work on this device: ``variant`` of ``block``. Other selections may work."""

    def __init__(self, message: str, block: str, variant: str) -> None:
        super().__init__(message)
        self.block = block
        self.variant = variant


class OutOfMemory(CompositionError, MemoryError):
    """There was no memory left to make a selection run; the current one stays."""


class ForkError(LegoError, RuntimeError):
    """A process forked from one in which networks ran, which cannot run them itself."""


class SolverError(LegoError, RuntimeError):
    """No solver answered; the current selection stays."""


class MissingExtra(LegoError, ImportError):
    """A part of LegoDNN that is not installed."""


class InfeasibleBudget(LegoError, ValueError):
    """No selection fits the budget.

    ``minimum_seconds`` and ``minimum_bytes`` are the least achievable, each taken alone; ``closest`` is the selection
    that exceeds the budget least, ``closest_seconds`` and ``closest_bytes`` are its needs. For several networks
    ``minimum_utilisation`` is the least share of the cores; ``closest`` is then empty, and seconds are None.
    """

    def __init__(
        self,
        message: str,
        minimum_seconds: Optional[float] = None,
        minimum_bytes: Optional[int] = None,
        closest: Optional[Mapping[str, str]] = None,
        closest_seconds: Optional[float] = None,
        closest_bytes: Optional[int] = None,
        minimum_utilisation: Optional[float] = None,
    ) -> None:
        super().__init__(message)
        self.minimum_seconds = minimum_seconds
        self.minimum_bytes = minimum_bytes
        self.closest = dict(closest or {})
        self.closest_seconds = closest_seconds
        self.closest_bytes = closest_bytes
        self.minimum_utilisation = minimum_utilisation


def one_line(error: BaseException) -> str:
    """The first non-empty line of an exception's text, or its type's name."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__


def is_shortage(error: Optional[BaseException]) -> bool:
    """Whether an exception, or one of its causes, means out of memory."""
    while error is not None:
        if isinstance(error, MemoryError) or any(text in str(error) for text in _SHORTAGE):
            return True
        error = error.__cause__
    return False
