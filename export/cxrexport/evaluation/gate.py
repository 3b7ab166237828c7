"""A repository and films that it should know → the reference that its gate judges by."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from cxrclient.errors import FilmError
from cxrclient.files import sha256_of, write_whole
from cxrexport.admission import FALSE_ALARM_RATE, Reference, fit_reference, look, reduced
from cxrexport.ensemble import SEGMENT, Ensemble, OpenvinoGraphs
from cxrexport.errors import ManifestError
from cxrexport.manifest import FilmRow, read_manifest
from cxrexport.manifest.preprocessed import preprocessed
from cxrexport.repository import (
    REFERENCE,
    ServedReference,
    graph_files,
    read_repository,
    write_repository,
)


def share_of_patients(patient_id: str, share: float) -> bool:
    """Tell whether a patient is among a share of all patients; by name alone, always the same."""
    number = int(sha256_of(patient_id.encode())[:8], 16)
    return number < share * 2**32


def fit_admission(
    repository: Path,
    manifests: Sequence[Path],
    *,
    share: float = 1.0,
    false_alarm_rate: float = FALSE_ALARM_RATE,
    advance: Callable[[int], None] = lambda films: None,
) -> Reference:
    """Fit the gate of a repository to films; write its reference, and the configuration with it.

    Neither a film nor a name goes into it: thresholds, and means of groups of embeddings. The
    model digest stays as it is, so archives stay valid.

    Args:
        repository: the model repository; its graphs run in this process, in f32.
        manifests: frontal chest films as the networks should see them; test films are passed over,
            so that they can judge the gate.
        share: of the patients, by name, so that the other films can judge the gate.
        false_alarm_rate: share of such films that each fitted threshold may turn away.
        advance: called once a film with the number of all films.

    Raises:
        ManifestError: too few films, or one cannot be read.
        RepositoryError: the repository is not whole.
    """
    spec, _, digest = read_repository(repository)
    rows = [row for path in manifests for row in read_manifest(path)]
    rows = [r for r in rows if r.split != "test" and share_of_patients(r.patient_id, share)]
    files = graph_files(repository, spec)
    graphs = OpenvinoGraphs({name: files[name] for name in (SEGMENT, spec.embedder)})
    ensemble = Ensemble(graphs, spec.members)
    chests, embeddings = [], []
    try:
        for film in preprocessed(rows, spec.preprocessing, lambda: advance(len(rows))):
            lungs = ensemble.lungs(film)
            chests.append(look(reduced(film[0, 0], lungs[0, 0])))
            embeddings.append(ensemble.embedding(film, lungs)[0])
        reference = fit_reference(
            chests,
            np.stack(embeddings) if embeddings else np.empty((0, spec.embedding_size), np.float32),
            [row.patient_id for row in rows],
            _sources(rows),
            digest,
            false_alarm_rate,
        )
    except FilmError as error:
        raise ManifestError(f"a film cannot be used: {error}") from error
    except ValueError as error:
        raise ManifestError(f"{', '.join(map(str, manifests))}: {error}") from error
    write_reference(repository, reference)
    return reference


def write_reference(repository: Path, reference: Reference) -> None:
    """Put a reference into a repository, and write the configuration that names it.

    Raises:
        RepositoryError: the repository cannot be read.
    """
    spec, _, _ = read_repository(repository)
    content = reference.to_json()
    path = repository / REFERENCE
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, content)
    served = ServedReference(
        sha256=sha256_of(content),
        model_digest=reference.model_digest,
        films=reference.films,
        patients=reference.patients,
        sources=dict(sorted(reference.sources.items())),
        false_alarm_rate=reference.false_alarm_rate,
    )
    write_repository(replace(spec, reference=served), repository)


def _sources(rows: Sequence[FilmRow]) -> Counter[str]:
    return Counter(row.source or "unknown" for row in rows)
