"""The program of the archiver: finished films into the archive, as `cxrclient index` puts them."""

from __future__ import annotations

import os
from contextlib import closing
from itertools import groupby
from typing import Any

from cxrclient.archive import SimilarityIndex, Tls, import_lightly, load_patient_key
from cxrclient.errors import (
    ArchiveInput,
    ArchiveMismatch,
    CxrClientError,
    FilmError,
    KeyMismatch,
    UsageError,
)
from cxrclient.faults import internal_error
from cxrclient.films import read_parts
from cxrclient.node.work.line import Told, answer_lines
from cxrclient.runs import Archiving, prediction_of
from cxrclient.settings import ArchiveSettings
from cxrclient.wire import Prediction, with_film

_SAID_AS_THEY_ARE = (ArchiveMismatch, KeyMismatch, UsageError)


class Filer:
    """Puts films into one archive, which is open only while there are some.

    Args:
        uri: of the archive.
    """

    def __init__(self, uri: str) -> None:
        self._uri = uri
        self._key = load_patient_key()
        settings = ArchiveSettings()
        self._tls = Tls(
            settings.milvus_tls_ca,
            settings.milvus_tls_cert,
            settings.milvus_tls_key,
            settings.milvus_tls_name,
        )
        self._index: SimilarityIndex | None = None

    def answer(self, question: Told) -> Told:
        """Answer `{"films": [{"film": PATH, "record": …}]}`, or `{}`: nothing for a while.

        Returns:
            `films`: of each `code`, `message`, and whether the archive `refuses` it for good.
        """
        films = question.get("films")
        if films is None:
            self._let_go(fit=True)
            return {}
        told: list[Told] = []
        for digest, group in groupby(films, lambda each: each["record"]["model"]["digest"]):
            told += self._filed(list(group), str(digest))
        return {"films": told}

    def _filed(self, films: list[Told], digest: str) -> list[Told]:
        try:
            return self._put(films, self._opened(digest))
        except ArchiveInput as error:
            if len(films) > 1:  # it is one of them
                return [told for film in films for told in self._filed([film], digest)]
            return [_told(error.code, error.message, refuses=True)]
        except CxrClientError as error:
            self._let_go()
            own = isinstance(error, _SAID_AS_THEY_ARE)
            return [_told(error.code if own else "ARCHIVE_AWAY", error.message)] * len(films)
        except Exception as error:
            self._let_go()
            found = internal_error(error)
            return [_told(found.code, found.message)] * len(films)

    def _put(self, films: list[Told], index: SimilarityIndex) -> list[Told]:
        told: list[Told] = []
        # The archive has the choice: its films have hashed UIDs, or it has none.
        hashed = bool(index.has_hashed_ids())
        with closing(Archiving(index, metadata={}, key=self._key, hash_uids=hashed)) as archiving:
            for film in films:
                try:
                    prediction = _with_header(prediction_of(film["record"]), film["film"])
                except FilmError as error:
                    rejected = error.status == "rejected"
                    told.append(_told(error.code, error.message, refuses=rejected))
                    continue
                for _said in archiving.add(prediction):
                    pass
                told.append(_told(None, ""))
            for _said in archiving.flush():
                pass
        return told

    def _opened(self, digest: str) -> SimilarityIndex:
        if self._index is not None and self._index.model_digest != digest:
            self._let_go()
        if self._index is None:
            token = os.environ.get("CXR_MILVUS_TOKEN")
            self._index = SimilarityIndex(
                self._uri, model_digest=digest, token=token, tls=self._tls
            )
        return self._index

    def _let_go(self, *, fit: bool = False) -> None:
        """Close the archive: one process at a time may have a .db file."""
        index, self._index = self._index, None
        if index is not None:
            with closing(index):
                if fit:
                    index.fit_index()


def _with_header(prediction: Prediction, path: str) -> Prediction:
    film, _payload = read_parts(path)
    return with_film(prediction, film)


def _told(code: str | None, message: str, *, refuses: bool = False) -> Told:
    return {"code": code, "message": message, "refuses": refuses}


def _made(told: dict[str, Any]) -> Any:
    import_lightly()
    return Filer(told["uri"]).answer


if __name__ == "__main__":
    answer_lines(_made)
