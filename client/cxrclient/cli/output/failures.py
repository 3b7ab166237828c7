"""Films without a prediction, one line each on stderr; of many equal ones five, and a count."""

from __future__ import annotations

from collections import Counter

from cxrclient.cli.exits import naming_options
from cxrclient.cli.terminal import is_verbose, say
from cxrclient.errors import FilmError
from cxrclient.files import MOST_ALIKE


class Failures:
    """Says what failed, as it comes; `--verbose` says each."""

    def __init__(self) -> None:
        self._alike: Counter[str] = Counter()

    def say(self, error: FilmError, path: object = None) -> None:
        """Say one, unless enough like it were said.

        Args:
            error: of a film.
            path: of the film, where the error has none.
        """
        film = str(error.path or path)
        kind = naming_options(str(error)).replace(film, "it")
        self._alike[kind] += 1
        if self._alike[kind] <= MOST_ALIKE or is_verbose():
            say(f"{film}: {naming_options(str(error))}", fg="red")

    def say_the_rest(self) -> None:
        """Count those that were not said; when no more will come."""
        for kind, count in self._alike.items():
            if count > MOST_ALIKE and not is_verbose():
                say(f"and {count - MOST_ALIKE} more (--verbose names them): {kind}", fg="red")
        self._alike.clear()
