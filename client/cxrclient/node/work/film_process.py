"""The program of a worker: a film a line; its prediction, and its results in the spool."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from cxrclient.dicom_results import KINDS, Results, results_of
from cxrclient.errors import (
    AccessDenied,
    CxrClientError,
    FilmError,
    ServerError,
    ServerUnfit,
    ServerUnreachable,
    TlsFailed,
)
from cxrclient.faults import INTERNAL, internal_error, is_ours
from cxrclient.files import private_folder, write_whole
from cxrclient.node.spool.records import Outcome, ResultObject
from cxrclient.node.work.line import Told, answer_lines
from cxrclient.settings import client_settings
from cxrclient.wire import CxrClient, Endpoint, Prediction

Fate = Literal["finished", "away", "paused", "later", "blamed"]
"""Of a film: it has its outcome. The server is away for all films. The server cannot now, perhaps
for this film alone. It is tried again later, alone. Perhaps it is its own fault."""

_AWAY = {each.code for each in (ServerUnreachable, ServerUnfit, TlsFailed, AccessDenied)}


class Analyst:
    """Makes the results of films, one after the other.

    Args:
        server: Triton's address.
        timeout_s: as of CxrClient.
        gsps: whether the lungs' outline is made, too.
    """

    def __init__(self, server: Endpoint, timeout_s: float, gsps: bool) -> None:
        self._endpoint = server
        self._timeout_s, self._gsps = timeout_s, gsps
        self._client: CxrClient | None = None

    def answer(self, question: Told) -> Told:
        """Answer `{}` (is the server there?) or `{"film": PATH, "results": FOLDER}`."""
        try:
            if "film" in question:
                return self._analysed(Path(question["film"]), Path(question["results"]))
            return self._look()
        except FilmError as error:
            return _of_failure(error)
        except ServerError as error:
            return _told("away", error)
        except CxrClientError as error:
            return _told("blamed", error)
        except OSError as error:
            reason = error.strerror or type(error).__name__
            message = f"The spool's disk refuses the film or its results: {reason}."
            return {"fate": "later", "code": "SPOOL_FAILED", "message": message}
        except Exception as error:
            return _of_failure(_internal(error))

    def _look(self) -> Told:
        """Ask the server anew what it is; what it says of itself may have changed."""
        client = self._connected()
        if self._client is None:
            self._client = client
        else:
            client.close()
        return {"fate": "finished"}

    def _connected(self) -> CxrClient:
        return CxrClient(self._endpoint, jobs=1, timeout_s=self._timeout_s)

    def _analysed(self, path: Path, folder: Path) -> Told:
        if self._client is None:
            self._client = self._connected()
        film = path.read_bytes()
        result: Prediction | FilmError
        try:
            result = self._client.predict(film, maps=True)
        except FilmError as error:
            if error.status == "failed":
                raise
            result = error
        ensemble = self._client.model
        try:
            made = results_of(result, film, ensemble, gsps=self._gsps)
        except FilmError as error:
            if error.status == "failed" and error.code != "NO_RESULTS":
                raise
            return _finished(_failed(result if isinstance(result, FilmError) else error))
        objects = _written(made, folder)
        if isinstance(result, FilmError):
            return _finished(
                Outcome(
                    *("rejected", result.code, result.message, result.record(), objects),
                    values=made.pixels,
                )
            )
        return _finished(
            Outcome(
                "ok",
                record=result.record(embedding=True),
                objects=objects,
                positive=result.label == ensemble.labels[1],
                values=made.pixels,
            )
        )


def _written(made: Results, folder: Path) -> tuple[ResultObject, ...]:
    """Write a film's objects, and leave none where the disk refuses one."""
    files = made.files()
    private_folder(folder)
    try:
        for kind in KINDS:
            path = folder / f"{kind}.dcm"
            if kind in files:
                write_whole(path, files[kind], secret=True)
            else:
                path.unlink(missing_ok=True)
    except OSError:
        for kind in KINDS:
            (folder / f"{kind}.dcm").unlink(missing_ok=True)
        raise
    return tuple(
        ResultObject(
            kind,
            str(dataset.SOPInstanceUID),
            str(dataset.SeriesInstanceUID),
            str(dataset.SOPClassUID),
            f"{kind}.dcm",
        )
        for kind, dataset in made.datasets.items()
    )


def _failed(error: FilmError) -> Outcome:
    return Outcome("failed", error.code, error.message, error.record())


def _of_failure(error: FilmError) -> Told:
    """What becomes of a film that has no prediction now, or no results."""
    if error.status == "rejected":
        return _finished(_failed(error))
    if error.code in _AWAY:
        return _told("away", error)
    if error.code != INTERNAL:
        return _told("paused", error)
    cause = error.__cause__
    if isinstance(cause, MemoryError):  # of this film, as a rule
        return _told("blamed", error)
    if cause is None or is_ours(cause):
        return _told("later", error)
    # A fault of the server's comes as gRPC's error; all else happened here, over this film.
    return _told("paused" if type(cause).__module__.startswith("grpc") else "blamed", error)


def _internal(error: Exception) -> FilmError:
    found = internal_error(error)
    found.__cause__ = error
    return found


def _finished(outcome: Outcome) -> Told:
    return {"fate": "finished", "outcome": outcome.as_json()}


def _told(fate: Fate, error: CxrClientError) -> Told:
    return {"fate": fate, "code": error.code, "message": error.message}


def _made(told: dict[str, Any]) -> Any:
    import highdicom  # noqa: F401  # slow: before the first film waits for it

    endpoint = Endpoint.of_settings(client_settings(told["server"], **told["secured"]))
    return Analyst(endpoint, told["timeout_s"], told["gsps"]).answer


if __name__ == "__main__":
    answer_lines(_made)
