"""Sources of budgets: what all have in common, the constant one, and several as one."""

from __future__ import annotations

from typing import Optional

from legodnn.runtime.controller.budget import Budget, tightest


class Source:
    """Where a controller finds out what there is. Subclasses say it in `read`; what they do not know stays None.

    A controller reads at every look, so reading must not take long. Where it raises, the controller goes on with what
    was read before, and reports it once.
    """

    @property
    def trouble(self) -> Optional[str]:
        """Why the last `read` returned something old; None where it did not."""
        return None

    def start(self) -> None:
        """Get ready to be read; a controller calls this when it starts."""

    def read(self) -> Budget:
        """What there is now."""
        raise NotImplementedError

    def stop(self) -> None:
        """Undo what `start` did; a controller calls this when it stops."""


class Fixed(Source):
    """Always the same budget."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget

    def read(self) -> Budget:
        """The budget."""
        return self._budget


class Tightest(Source):
    """Several sources together: the least time, the least memory and the largest slowdown of all.

    A source that raises counts with what it said last, or, as long as it never said anything, not at all.
    """

    def __init__(self, *sources: Source) -> None:
        self._sources = sources
        self._last = [Budget() for _ in sources]
        self._raised = ["" for _ in sources]

    @property
    def trouble(self) -> Optional[str]:
        """What is wrong with any of the sources."""
        found = [self._raised[i] or source.trouble for i, source in enumerate(self._sources)]
        return "; ".join(text for text in found if text) or None

    def start(self) -> None:
        """Start all sources; those that were are stopped where one cannot be."""
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
    """One line about a source that raised."""
    return f"{type(source).__name__} raised {type(error).__name__}: {error}"
