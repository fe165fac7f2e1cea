"""`Adapting`: runs a request's controller, from its sources of budgets to the reporter."""

from __future__ import annotations

import json
import logging
from contextlib import ExitStack, contextmanager, suppress
from io import FileIO
from typing import Any, Dict, Iterator, List, Optional, Sequence, Union

from legodnn.runtime.command.choosing import Alone, Shared
from legodnn.runtime.command.report import Reporter, decision_text
from legodnn.runtime.command.request import Adaptation, Request
from legodnn.runtime.command.stopping import Stopping
from legodnn.runtime.controller import (
    Budget,
    Event,
    Fixed,
    Processor,
    Schedule,
    SharedMemory,
    SignalSteps,
    Source,
    Tightest,
)
from legodnn.runtime.controller.events import START, logger
from legodnn.runtime.network import Network
from legodnn.shared.errors import one_line


class Adapting:
    """The controller of a request. Its sources are opened at construction, so that errors show early.

    Raises `UsageError` for an invalid schedule, `OSError` for files that cannot be opened.
    """

    def __init__(
        self, adaptation: Adaptation, request: Request, networks: Sequence[Network], reporter: Reporter
    ) -> None:
        self._reporter = reporter
        names = [job.name for job in request.jobs] if request.several else [None]
        self._manifests = {name: network.manifest for name, network in zip(names, networks)}
        self._source = _Watched(Tightest(*_sources(adaptation, request, networks)))
        self._log: Optional[FileIO] = None
        if adaptation.log is not None:
            self._log = FileIO(adaptation.log, "a")  # no buffer: each decision is one write

    @property
    def budget(self) -> Budget:
        """The budget last read."""
        return self._source.last

    def close(self) -> None:
        """Close the log."""
        if self._log is not None:
            self._log.close()

    @contextmanager
    def following(self, choosing: Union[Alone, Shared], stopping: Stopping) -> Iterator[None]:
        """A context in which the networks follow the budgets; the first choice is made on entry."""
        with ExitStack() as undo:
            undo.enter_context(_complaining(self._reporter))
            controller = choosing.controller(self._source, self._decided)
            controller.start()
            try:
                yield
            finally:
                with stopping.finishing():
                    controller.stop()

    def _decided(self, network: Optional[str], event: Event) -> None:
        values: Dict[str, Any] = event.to_plain()
        if self._log is not None:
            self._write(self._log, {**({} if network is None else {"network": network}), **values})
        # As text, the first choice is reported in full elsewhere.
        text = "" if event.reason == START else decision_text(event, self._manifests.get(network))
        with suppress(BrokenPipeError):  # the feeds end the run at their next frame
            self._reporter.say("decision", values, text, network)

    def _write(self, log: FileIO, values: Dict[str, Any]) -> None:
        try:
            log.write(json.dumps(values, allow_nan=False).encode() + b"\n")
        except OSError as error:  # a full disk must not stop the controller
            self._reporter.complain(f"{log.name}: a decision could not be written: {error.strerror or error}")


def _sources(adaptation: Adaptation, request: Request, networks: Sequence[Network]) -> List[Source]:
    sources: List[Source] = [Fixed(Budget(request.seconds, request.memory))]
    if adaptation.device:
        sources.append(SharedMemory(networks))
        sources.append(Processor())
    if adaptation.schedule is not None:
        sources.append(Schedule.from_file(adaptation.schedule))
    if adaptation.steps:
        sources.append(SignalSteps(adaptation.steps))
    return sources


class _Watched(Source):
    """A source that keeps the budget last read in ``last``."""

    def __init__(self, source: Source) -> None:
        self.last = Budget()
        self._source = source

    @property
    def trouble(self) -> Optional[str]:
        """The source's error."""
        return self._source.trouble

    def start(self) -> None:
        """Start the source."""
        self._source.start()

    def read(self) -> Budget:
        """The source's budget."""
        self.last = self._source.read()
        return self.last

    def stop(self) -> None:
        """Stop the source."""
        self._source.stop()


class _Complaints(logging.Handler):
    """Hands a controller's warnings to a reporter, except for events, which are reported separately."""

    def __init__(self, reporter: Reporter) -> None:
        super().__init__(logging.WARNING)
        self._reporter = reporter

    def emit(self, record: logging.LogRecord) -> None:
        """See `logging.Handler.emit`."""
        if not (isinstance(record.args, tuple) and record.args and isinstance(record.args[0], Event)):
            error = record.exc_info[1] if record.exc_info else None
            self._reporter.complain(record.getMessage() + (f": {one_line(error)}" if error is not None else ""))


@contextmanager
def _complaining(reporter: Reporter) -> Iterator[None]:
    handler = _Complaints(reporter)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
