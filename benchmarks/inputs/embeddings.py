"""Made-up embeddings with the structure of real ones, and the exact answers about them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Vectors = npt.NDArray[np.float32]

SIZE = 128
CLUSTERS = 200
_LATENT = 24
_FILMS_A_PATIENT = 3


def films(count: int, seed: int = 0) -> tuple[Vectors, list[str]]:
    """Embeddings and patient keys of `count` films.

    Findings are clusters; within one, patients differ along a few directions, and the films of a
    patient are near each other. As the served embedding, values are those of a ReLU.

    Returns:
        float32 [count, 128], and the patient key of each; the same for the same `seed`, and the
        first films of a larger `count` are those of a smaller one.
    """
    shape = np.random.default_rng(12345)  # the same clusters for queries and archive
    centres = shape.normal(size=(CLUSTERS, _LATENT)) * 2.0
    mixing = shape.normal(size=(_LATENT, SIZE)) / np.sqrt(_LATENT)
    blocks, keys = [], []
    block_size = 3000
    for block in range(-(-count // block_size)):
        random = np.random.default_rng([seed, block])
        patients = random.normal(size=(block_size // _FILMS_A_PATIENT, _LATENT))
        patients += centres[random.integers(CLUSTERS, size=len(patients))]
        latent = np.repeat(patients, _FILMS_A_PATIENT, axis=0)
        latent += random.normal(size=latent.shape) * 0.3
        values = np.maximum(latent @ mixing + random.normal(size=(len(latent), SIZE)) * 0.05, 0)
        blocks.append(values.astype(np.float32))
        first = block * len(patients)
        keys += [f"{seed:08x}{first + n:024x}" for n in range(len(patients)) for _ in range(3)]
    return np.concatenate(blocks)[:count], keys[:count]


def exact(archive: Vectors, queries: Vectors, k: int) -> npt.NDArray[np.int64]:
    """Rows of the `k` nearest films of each query, by numpy: int64 [n, k], nearest first."""
    squares = np.einsum("ij,ij->i", archive, archive, dtype=np.float64)
    answers = []
    for query in queries:
        # ‖a − q‖² less ‖q‖², which is the same for all; then the candidates without cancellation.
        rough = squares - 2.0 * (archive @ query)
        some = np.argpartition(rough, 4 * k)[: 4 * k]
        distance = np.linalg.norm(archive[some].astype(np.float64) - query, axis=1)
        answers.append(some[np.argsort(distance, kind="stable")[:k]])
    return np.stack(answers)
