"""An archive as one Parquet file: its backup, also for other programs and another Milvus.

A backup that cannot be brought back is none, so what could not come in again is not let out.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cxrclient.archive.archive_key import bind_check
from cxrclient.archive.index import Added, SimilarityIndex
from cxrclient.archive.milvus.rows import EMBEDDING_SIZE, FIELDS, ArchivedFilm, rows
from cxrclient.errors import ArchiveInput, CxrClientError, UsageError
from cxrclient.files import cannot_write, open_regular, parse_json, replacing

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

_KEY = b"cxr-triton"
_FORMAT = 1
_ROW_GROUP = 5000
"""Films that are in memory at once, about 10 MB."""


def export_parquet(index: SimilarityIndex, path: str | Path) -> int:
    """Write all films of an archive to a Parquet file; returns how many.

    The columns: id, embedding (128 float32), label, label_source, probability, patient_key, and
    metadata (JSON). The model's digest and the check value of the patient key are in the file's own
    metadata; the key is not. Each page has a checksum. The file appears when it is whole; its owner
    alone can read it.

    Raises:
        UsageError: the file is there already, is not named *.parquet, or its folder is none.
        ArchiveInput: the archive has films that could not be imported again; nothing was written.
        CxrClientError: it cannot be written: the disk is full.
        ArchiveUnavailable: the archive failed.
    """
    _check_pyarrow()
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = Path(path)
    check_name(path)
    about = {
        "format": _FORMAT,
        "model_digest": index.model_digest,
        "key_check": index.key_check(),
    }
    schema = _schema().with_metadata({_KEY: json.dumps(about).encode()})
    count, films_there = 0, len(index)
    films = index.films()
    try:
        with (
            replacing(path, secret=True) as file,
            pq.ParquetWriter(file, schema, compression="zstd", write_page_checksum=True) as writer,
        ):
            while some := list(islice(films, _ROW_GROUP)):
                _check(index, some)
                writer.write_table(_table(some, schema), row_group_size=_ROW_GROUP)
                count += len(some)
            if count < films_there:
                raise ArchiveInput(
                    f"{index.uri} counts {films_there} films and shows {count}. {_mend(index)}"
                )
    except OSError as error:
        raise CxrClientError(cannot_write(path, error)) from error
    except pa.ArrowException as error:
        raise CxrClientError(f"{path} cannot be written ({error}).") from error
    return count


def check_name(path: Path) -> None:
    """Raise UsageError where `export_parquet` would not write to `path`, before all else."""
    if path.suffix.lower() not in (".parquet", ".pq"):
        raise UsageError(
            f"The export is a Parquet file, but {path} does not end in .parquet. Give a name that "
            "does."
        )
    if not path.parent.is_dir():
        raise UsageError(f"There is no folder {path.parent}. Make it, or name another place.")
    if path.exists():
        raise UsageError(f"{path} is there already. Give another name, or move it away.")


def model_digest(path: str | Path) -> str:
    """Of which model the embeddings in a file are.

    Raises:
        UsageError: it is no file of `export_parquet`.
    """
    with _opened(path) as file:
        return _digest(file, path)


def import_parquet(
    index: SimilarityIndex, path: str | Path, *, overwrite: bool = False
) -> Iterator[Added]:
    """Put the films of a Parquet file into an archive, a row group at a time.

    Args:
        index: of the same model, see `model_digest`.
        path: of a file that `export_parquet` wrote.
        overwrite: write over films that are there; else they stay as they are.

    Raises:
        UsageError: it is no such file.
        ArchiveInput: it is of another model, or has a film that must not be stored. Films before
            its row group are stored.
        KeyMismatch: its patients were hashed with another key than the archive's.
        ArchiveUnavailable: the archive failed; what was yielded before is safe.
    """
    with _opened(path) as file:
        digest = _digest(file, path)
        if digest != index.model_digest:
            raise ArchiveInput(
                f"{path} holds embeddings of the model {digest[:12]}, {index.uri} of "
                f"{index.model_digest[:12]}. Import into a new archive."
            )
        if check := _about(file).get("key_check"):
            bind_check(index, str(check))
        for batch in _batches(file, path):
            yield _add(index, batch, overwrite=overwrite)


def _check(index: SimilarityIndex, films: Sequence[ArchivedFilm]) -> None:
    """Raise ArchiveInput where a film could not be put into an archive as it is."""
    for film in films:
        film.require_as_stored()
    try:
        for film in films:
            rows([film.id], film.embedding[None], [film.about()], index._layout)
    except ArchiveInput as error:
        error.message += f" {_mend(index)}"
        raise


def _mend(index: SimilarityIndex) -> str:
    return f"Mend it first: cxrclient archive verify --mend --uri {index.uri}"


def _batches(file: pq.ParquetFile, path: str | Path) -> Iterator[pa.RecordBatch]:
    import pyarrow as pa

    try:
        yield from file.iter_batches(batch_size=_ROW_GROUP)
    except (OSError, pa.ArrowException) as error:
        raise ArchiveInput(
            f"{path} is damaged ({error}). What was imported before is stored; go on from another "
            "copy."
        ) from error


def _add(index: SimilarityIndex, batch: pa.RecordBatch, *, overwrite: bool) -> Added:
    ids = batch.column("id").to_pylist()
    there = index.known(ids)
    chosen = [n for n, film_id in enumerate(ids) if overwrite or film_id not in there]
    done = Added(0, len(ids) - len(chosen))
    if not chosen:
        return done
    # `flatten` leaves out what a null would hide, so a film without embedding changes the shape.
    flat = batch.column("embedding").flatten().to_numpy(zero_copy_only=False)
    if flat.size != len(ids) * EMBEDDING_SIZE:
        raise ArchiveInput("The file has films without an embedding. Export it again.")
    embeddings = flat.reshape(len(ids), EMBEDDING_SIZE)
    columns = {name: batch.column(name).to_pylist() for name in (*FIELDS, "metadata")}
    about = [
        {name: columns[name][n] for name in FIELDS} | _metadata(ids[n], columns["metadata"][n])
        for n in chosen
    ]
    return done + index.add([ids[n] for n in chosen], embeddings[chosen], about, there=there)


def _metadata(film_id: str, text: str | None) -> dict[str, Any]:
    try:
        return dict(parse_json(text or "{}"))
    except (ValueError, TypeError) as error:
        raise ArchiveInput(
            f"The film {film_id} has metadata that are no JSON object ({error}). Export it again."
        ) from error


@contextmanager
def _opened(path: str | Path) -> Iterator[pq.ParquetFile]:
    _check_pyarrow()
    import pyarrow as pa
    import pyarrow.parquet as pq

    with ExitStack() as opened:
        try:
            source = opened.enter_context(open_regular(path))
            file = opened.enter_context(pq.ParquetFile(source, page_checksum_verification=True))
        except (OSError, pa.ArrowException) as error:
            raise UsageError(f"{path} is no Parquet file that can be read ({error}).") from error
        yield file


def _check_pyarrow() -> None:
    if importlib.util.find_spec("pyarrow") is None:
        raise UsageError('Parquet needs pyarrow. Run: pip install "cxr-triton[archive]"')


def _about(file: pq.ParquetFile) -> dict[str, Any]:
    return dict(parse_json((file.schema_arrow.metadata or {})[_KEY]))


def _digest(file: pq.ParquetFile, path: str | Path) -> str:
    try:
        about = _about(file)
        digest = str(about["model_digest"])
        if about["format"] != _FORMAT or not file.schema_arrow.equals(_schema()):
            raise ValueError("another format")
    except (KeyError, ValueError, TypeError) as error:
        raise UsageError(
            f"{path} was not written by cxrclient archive export of this version."
        ) from error
    return digest


def _schema() -> pa.Schema:
    import pyarrow as pa

    return pa.schema(
        [
            pa.field("id", pa.string(), nullable=False),
            pa.field("embedding", pa.list_(pa.float32(), EMBEDDING_SIZE), nullable=False),
            pa.field("label", pa.string()),
            pa.field("label_source", pa.string()),
            pa.field("probability", pa.float64()),
            pa.field("patient_key", pa.string()),
            pa.field("metadata", pa.string()),
        ]
    )


def _table(films: list[ArchivedFilm], schema: pa.Schema) -> pa.Table:
    import pyarrow as pa

    flat = pa.array(np.concatenate([film.embedding for film in films]), pa.float32())
    columns: dict[str, Any] = {
        "id": [film.id for film in films],
        "embedding": pa.FixedSizeListArray.from_arrays(flat, EMBEDDING_SIZE),
    }
    columns |= {name: [getattr(film, name) for film in films] for name in FIELDS}
    columns["metadata"] = [json.dumps(dict(film.metadata), ensure_ascii=False) for film in films]
    return pa.table(columns, schema=schema)
