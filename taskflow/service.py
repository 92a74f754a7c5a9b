"""The one shape of everything that works in the background of an app."""

from __future__ import annotations

import abc
import asyncio
import contextlib
import logging

from taskflow.errors import StoreUnavailableError

log = logging.getLogger(__name__)

#: Seconds to wait after a turn that failed, doubled with each further one.
BACKOFF = 0.25


class Service(abc.ABC):
    """Takes a turn again and again until it is stopped; an error delays it and never ends it."""

    #: Seconds, at most, until the next turn after any number of failures.
    MOST_PAUSE = 5.0

    def __init__(self, name: str) -> None:
        self.name = name
        #: Turns in a row that failed.
        self.failures = 0
        self._wake = asyncio.Event()
        #: Who waits for the end of the next turn.
        self._lookers: list[asyncio.Future[None]] = []
        self._runner: asyncio.Task[None] | None = None

    @abc.abstractmethod
    async def turn(self) -> float:
        """Do what is to be done now; seconds until the next turn (see `wake`)."""

    def start(self) -> None:
        """Take the first turn soon. Starting twice is the same as once."""
        if self._runner is None:
            self._runner = asyncio.create_task(self._run(), name=f"taskflow-{self.name}")

    async def stop(self) -> None:
        """End; also before the start, and more than once."""
        runner, self._runner = self._runner, None
        if runner is not None:
            runner.cancel()
            await asyncio.wait({runner})

    def wake(self) -> None:
        """Take the next turn now."""
        self._wake.set()

    async def look(self) -> None:
        """Take a turn now and return when it is over, however it went; at once after `stop`."""
        if self._runner is not None:
            over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._lookers.append(over)
            self.wake()
            await over

    async def _run(self) -> None:
        lookers: list[asyncio.Future[None]] = []
        try:
            while True:
                self._wake.clear()
                lookers, self._lookers = self._lookers, []
                pause = await self._try()
                self._tell(lookers)
                # Not wait_for: up to Python 3.11 it can lose a cancellation that meets a wake.
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(pause):
                        await self._wake.wait()
        finally:
            self._tell(lookers)
            self._tell(self._lookers)

    def _tell(self, lookers: list[asyncio.Future[None]]) -> None:
        for over in lookers:
            if not over.done():
                over.set_result(None)

    async def _try(self) -> float:
        try:
            pause = await self.turn()
        except Exception as error:
            self.failures += 1
            # The store being away is told once by whoever writes; anything else is a surprise.
            if not isinstance(error, StoreUnavailableError):
                log.exception("%s failed and will go on", self.name)
            elif self.failures == 1:
                log.warning("%s waits for the store: %s", self.name, error)
            return min(BACKOFF * 2.0 ** min(self.failures - 1, 10), self.MOST_PAUSE)
        self.failures = 0
        return pause
