"""Results that `cxrclient predict --output FILE.jsonl` stored, in the place of predicting.

A line has what was said of a film; its embedding and its maps only where they were asked for. No
line has the patient or anything else of the header: that is read from the film's file, which must
still be the one that was predicted.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt

from cxrclient.archive import SimilarityIndex, archive_id
from cxrclient.errors import FilmError, UsageError
from cxrclient.files import parse_json, read_regular, sha256_of, write_whole
from cxrclient.films import FilmSearch, read_parts
from cxrclient.runs.journal import file_identity
from cxrclient.runs.spool import MAPS
from cxrclient.wire import ModelInfo, Prediction, with_film

_BATCH = 500
_MAPS_MOST_BYTES = 1 << 30
_MODEL = "model"


def stored_lines(path: Path) -> Iterator[dict[str, Any]]:
    """Read results line by line; a last line that an ended run left half written is left out.

    Raises:
        UsageError: the file cannot be read, or is none of ours.
    """
    try:
        with path.open("rb") as file:
            for number, raw in enumerate(file, 1):
                if not raw.endswith(b"\n"):
                    return
                try:
                    line: dict[str, Any] = parse_json(raw)
                    _ = line["path"], line["status"] == "ok" and line["model"]["digest"]
                except (ValueError, KeyError, TypeError) as error:
                    raise UsageError(
                        f"{path}:{number} is no result of `cxrclient predict --output FILE.jsonl`."
                    ) from error
                yield line
    except OSError as error:
        raise UsageError(f"Cannot read {path}: {error.strerror}.") from error


def require_stored(path: Path, *, maps: bool) -> str:
    """Make sure that stored results have embeddings, or maps.

    Args:
        path: of the results.
        maps: whether these are asked for; else embeddings.

    Returns:
        The digest of the model that all of them are of.

    Raises:
        UsageError: they have none, they are of several models, or there is no prediction.
    """
    key, argument = ("maps", "maps") if maps else ("embedding", "embeddings")
    digests: set[str] = set()
    lacking = films = 0
    for line in stored_lines(path):
        if line["status"] == "ok":
            films += 1
            lacking += not line.get(key)
            digests.add(line["model"]["digest"])
    if not films:
        raise UsageError(f"{path} has no prediction.")
    if lacking:
        raise UsageError(
            f"{lacking} of {films} films in {path} were stored without {argument}: predict them "
            f"with `{argument}`, or give the films themselves in the place of `results`."
        )
    if len(digests) > 1:
        raise UsageError(f"The results in {path} are of {len(digests)} models. Give one a model.")
    return digests.pop()


def stored_predictions(path: Path, *, maps: bool = False) -> Iterator[Prediction | FilmError]:
    """Predictions as they were stored, each with its film's header where its file is as it was.

    Args:
        path: of results that `require_stored` has found whole.
        maps: whether to read their maps.
    """
    files = FilmSearch([])
    for line in stored_lines(path):
        if line["status"] != "ok":
            yield FilmError(
                str(line.get("code")),
                str(line.get("message")),
                status="rejected" if line["status"] == "rejected" else "failed",
                path=line["path"],
                retriable=bool(line.get("retriable")),
            )
            continue
        try:
            yield _with_header(prediction_of(line, maps=maps), line, files)
        except (KeyError, TypeError, ValueError, OSError, BadZipFile) as error:
            yield FilmError(
                "STORED_DAMAGED",
                f"Its stored result cannot be used ({type(error).__name__}). Predict it again.",
                status="failed",
                path=line["path"],
            )


def not_archived(path: Path, index: SimilarityIndex, uid_key: bytes | None) -> set[str]:
    """Ids of films that have a prediction in stored results and are not in the archive.

    Args:
        path: of the results; one that is not there, or is none of ours, has none.
        index: the archive.
        uid_key: for hashed ids; None for ids in clear.
    """
    lacking: set[str] = set()
    if not path.is_file():
        return lacking
    try:
        lines = (line for line in stored_lines(path) if line["status"] == "ok")
        while some := [str(line["film_id"]) for line in islice(lines, _BATCH)]:
            archived = {archive_id(film_id, uid_key): film_id for film_id in some}
            there = index.known(archived)
            lacking.update(film_id for own, film_id in archived.items() if own not in there)
    except (UsageError, KeyError):  # who goes on with the file says what is wrong with it
        return lacking
    return lacking


def without_header(prediction: Prediction) -> FilmError:
    """Why a stored prediction cannot be archived: nothing says whose film it is."""
    return FilmError(
        "FILE_CHANGED",
        "Its file is not the one that was predicted, and a result does not say whose film it is. "
        "Put the file back, or give `metadata` with its patient_id.",
        status="failed",
        path=prediction.path,
    )


def write_maps(folder: Path, prediction: Prediction) -> str:
    """Store a prediction's maps for its owner alone; returns where.

    Raises:
        OSError: they cannot be written.
    """
    place = sha256_of(str(Path(prediction.path or "").absolute()))[:12]
    target = folder / f"{prediction.film_id}-{place}.npz"
    content = io.BytesIO()
    maps = {name: getattr(prediction, name) for name in MAPS}
    np.savez_compressed(content, **maps, **{_MODEL: np.array(prediction.model.digest)})
    write_whole(target, content.getbuffer(), secret=True, sync=False)
    return str(target)


def prediction_of(line: Mapping[str, Any], *, maps: bool = False) -> Prediction:
    """Make a prediction of its record again, without its film.

    Args:
        line: as `Prediction.record` gave it.
        maps: whether to read the maps that it names.

    Raises:
        KeyError: it is none; likewise TypeError, ValueError.
    """
    embedding = line.get("embedding")
    vector = np.empty(0) if embedding is None else np.array(embedding)
    return Prediction(
        path=line["path"],
        film_id=line["film_id"],
        probability=line["probability"],
        label=line["label"],
        members=line["members"],
        votes=line["votes"],
        lung_fraction=line["lung_fraction"],
        embedding=vector.astype(np.float32),
        flags=tuple(line["flags"]),
        warnings=tuple(line["warnings"]),
        model=ModelInfo(line["model"]["name"], line["model"]["digest"]),
        latency_ms=line["latency_ms"],
        **(_maps(line["maps"]) if maps else {}),
    )


class StoredMaps:
    """A folder of `predict --maps`, in which a film is found by its id in an archive.

    Args:
        folder: with the maps of the archive's films, or of some of them.
        archive: whose films they are.
        uid_key: for hashed ids; None for ids in clear.

    Raises:
        UsageError: it is no folder.
    """

    def __init__(self, folder: Path, archive: SimilarityIndex, uid_key: bytes | None) -> None:
        if not folder.is_dir():
            raise UsageError(f"{folder} is no folder. Give the one that maps were stored in.")
        self._digest = archive.model_digest
        self._paths = {
            archive_id(path.stem.rpartition("-")[0], uid_key): path for path in folder.glob("*.npz")
        }

    def film(self, archived: str) -> npt.NDArray[np.float32] | None:
        """A film as the networks saw it, float32 [S, S]; None where it is not there.

        That of another model is not it.
        """
        path = self._paths.get(archived)
        if path is None:
            return None
        try:
            with _opened(path) as stored:
                same = str(stored[_MODEL]) == self._digest
                return np.asarray(stored["cxr"], np.float32) if same else None
        except (KeyError, ValueError, OSError, BadZipFile):
            return None


def _opened(path: str | Path) -> Any:
    return np.load(io.BytesIO(read_regular(path, _MAPS_MOST_BYTES)), allow_pickle=False)


def _maps(path: str) -> dict[str, Any]:
    with _opened(path) as stored:
        return {name: stored[name] for name in MAPS}


def _with_header(prediction: Prediction, line: Mapping[str, Any], files: FilmSearch) -> Prediction:
    then = line.get("journal") or {}
    now = file_identity(prediction.path or "")
    if now is None or (now.size, now.modified_ns) != (then.get("size"), then.get("modified_ns")):
        return prediction
    try:
        source = files.at(prediction.path or "")
        if isinstance(source, FilmError):
            return prediction
        film, _payload = read_parts(source)
    except (FilmError, ValueError):
        return prediction
    return with_film(prediction, film) if film.film_id == prediction.film_id else prediction
