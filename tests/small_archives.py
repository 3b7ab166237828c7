"""Small archives of drawn embeddings."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import numpy as np

from cxrclient.archive.index import SimilarityIndex
from cxrclient.archive.milvus.layout import FORMAT_1, Layout
from cxrclient.archive.milvus.store import Store

MODEL = "a" * 64


def embeddings(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, 128)).astype(np.float32)


def filled(uri: Path, count: int = 20) -> np.ndarray:
    vectors = embeddings(count)
    with SimilarityIndex(uri, model_digest=MODEL) as index:
        index.add(
            [f"1.2.{n}" for n in range(count)],
            vectors,
            [
                {
                    "label": ("covid", "non-covid")[n % 2],
                    "label_source": "metadata",
                    "probability": n / count,
                    "patient_key": f"key{n // 2}",
                    "view": ("AP", "PA")[n % 2],
                    "age": 40 + n,
                }
                for n in range(count)
            ],
        )
    return vectors


def make_format_1(uri: Path | str, layout: Layout = FORMAT_1, token: str | None = None) -> None:
    """An archive without films, as an earlier version made it."""
    store = Store(str(uri), token=token, tls=None, timeout_s=60, create=True)
    store.create("cxr_films", MODEL, layout)
    store.close()


def flip(uri: Path, before: bytes, at: int, bit: int = 0) -> None:
    """Flip a bit of the file, `at` bytes behind the beginning of a text in it."""
    data = bytearray(uri.read_bytes())
    assert data.count(before) == 1
    data[data.index(before) + at] ^= 1 << bit
    uri.write_bytes(data)


def row_of(uri: Path, film_id: str) -> bytes:
    with sqlite3.connect(uri) as database:
        database.text_factory = bytes
        rows = "SELECT data FROM cxr_films WHERE milvus_id = ?"
        (data,) = database.execute(rows, [film_id]).fetchone()
    return bytes(data)
