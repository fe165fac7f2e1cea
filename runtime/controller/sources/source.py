"""`Source`: the base class of sources of budgets; `Fixed`: a constant one; `Tightest`: several as one."""

from __future__ import annotations

from typing import Optional

from legodnn.runtime.controller.budget import Budget, tightest


class Source:
    """A source of budgets for controllers. Subclasses implement `read`; fields they do not know stay None.

    A controller calls `read` in every iteration, so it must be fast. Where it raises, the last budget holds, and the
    error is reported once.
    """

    @property
    def trouble(self) -> Optional[str]:
        """The error because of which the last `read` returned an old budget; None for none."""
        return None

    def start(self) -> None:
        """Prepare for `read`; a controller calls this when it starts."""

    def read(self) -> Budget:
        """The current budget."""
        raise NotImplementedError

    def stop(self) -> None:
        """Undo what `start` did; a controller calls this when it stops."""


class Fixed(Source):
    """A constant budget."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget

    def read(self) -> Budget:
        """The budget."""
        return self._budget


class Tightest(Source):
    """Several sources together: the least time, the least memory and the largest slowdown of all.

    A source that raises counts with its last budget, or not at all before its first.
    """

    def __init__(self, *sources: Source) -> None:
        self._sources = sources
        self._last = [Budget() for _ in sources]
        self._raised = ["" for _ in sources]

    @property
    def trouble(self) -> Optional[str]:
        """The errors of all sources; None for none."""
        found = [self._raised[i] or source.trouble for i, source in enumerate(self._sources)]
        return "; ".join(text for text in found if text) or None

    def start(self) -> None:
        """Start all sources; if one fails, stop those started before and raise its error."""
        for number, source in enumerate(self._sources):
            try:
                source.start()
            except BaseException:
                for started in self._sources[:number]:
                    started.stop()
                raise

    def read(self) -> Budget:
        """The tightest of all."""
        for i, source in enumerate(self._sources):
            try:
                self._last[i], self._raised[i] = source.read(), ""
            except Exception as error:
                self._raised[i] = complaint(source, error)
        return tightest(self._last)

    def stop(self) -> None:
        """Stop all sources."""
        for source in self._sources:
            source.stop()


def complaint(source: object, error: BaseException) -> str:
    """One line that names a source and the error it raised."""
    return f"{type(source).__name__} raised {type(error).__name__}: {error}"
