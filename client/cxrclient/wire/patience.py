"""When a film is sent again: after UNAVAILABLE, DEADLINE, a dead step, with growing pauses.

A server that restarts is away for all films at once. So it is not each film's own tries that are
counted, but the time: for how long a film, or the server, has been waited for in vain. Once the
server has been away for longer than that, the films still to come are told so at their first try,
and a run of 100,000 films against a dead server ends.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from cxrclient.errors import FilmError, ServerUnreachable

if TYPE_CHECKING:
    from tenacity import AsyncRetrying, RetryCallState

# A server that cannot answer anybody until it is started again.
_AWAY = frozenset({ServerUnreachable.code, "STEP_DIED"})
# And what gRPC's UNAVAILABLE and DEADLINE_EXCEEDED, and our own time limit, mean for a film. All
# else (a film at fault, a failed computation) would only happen again.
_WAITED_FOR = _AWAY | {"SERVER_BUSY", "TIMEOUT"}
_log = logging.getLogger(__name__)
_FIRST_PAUSE_S, _LONGEST_PAUSE_S, _SHORTEST_PAUSE_S = 0.5, 8.0, 0.05


class Patience:
    """How long failures of a server are borne; belongs to one client.

    Args:
        retry_for_s: from the first failure on; 0 for not at all.

    Attributes:
        retries: how many tries after a film's first there were.
    """

    def __init__(self, retry_for_s: float) -> None:
        self._retry_for_s = retry_for_s
        self._away_since: float | None = None
        self.retries = 0

    def answered(self) -> None:
        """Take note that the server is there."""
        self._away_since = None

    def tries(self) -> AsyncRetrying:
        """The tries of one film: `async for attempt in tries: with attempt: …`.

        The error of the last one is raised as it is.
        """
        from tenacity import AsyncRetrying, retry_if_exception, wait_random_exponential

        first_failure: list[float] = []

        def is_over(state: RetryCallState) -> bool:
            now = time.monotonic()
            error = state.outcome.exception() if state.outcome else None
            if getattr(error, "code", "") in _AWAY and self._away_since is None:
                self._away_since = now
            first_failure[:] = first_failure or [now]
            since = min(first_failure[0], self._away_since or now)
            return now - since >= self._retry_for_s

        def count(state: RetryCallState) -> None:
            self.retries += 1
            error = state.outcome.exception() if state.outcome else None
            pause_s = state.next_action.sleep if state.next_action else 0.0
            code = getattr(error, "code", "")
            _log.info("%s: a film is sent again in %.1f s", code, pause_s)

        return AsyncRetrying(
            retry=retry_if_exception(_is_waited_for),
            # Full jitter: films that failed together do not come back together.
            wait=wait_random_exponential(
                multiplier=_FIRST_PAUSE_S, max=_LONGEST_PAUSE_S, min=_SHORTEST_PAUSE_S
            ),
            stop=is_over,
            before_sleep=count,
            reraise=True,
        )


def _is_waited_for(error: BaseException) -> bool:
    return isinstance(error, FilmError) and error.code in _WAITED_FOR
