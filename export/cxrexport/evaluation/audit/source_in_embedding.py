"""Can the source be read off the embedding?"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from cxrexport.evaluation.audit.tables import SourceInEmbedding
from cxrexport.evaluation.measures import interval, measure, over_trials, resamples
from cxrexport.evaluation.scores import Evidence, Floats, Scores

FOLDS = 5
MIN_FILMS_OF_SOURCE = 10
"""Test films that a source must have in a trial, from at least FOLDS patients, to be one of those
that are told apart: two of each in a fold."""
PENALTY_C = 0.1
"""Inverse strength of the L2 penalty: 128 columns, some hundred films."""


def source_in_embedding(
    evidence: Evidence, *, bootstrap: int, seed: int
) -> tuple[SourceInEmbedding, ...]:
    """Try to tell the sources apart by the embedding: among all films, then within each label.

    Embeddings of different trials have nothing in common, so each trial is asked for itself, on
    its test films.
    """
    asked = []
    for films in ("all", *evidence.labels):
        values, samples = [], []
        for number, trial in enumerate(evidence.trials):
            chosen = np.array(
                [films in ("all", film.label) for film in trial.test.films], dtype=bool
            )
            areas = _areas(trial.test.take(chosen), bootstrap, (seed, number))
            if areas is not None:
                values.append(float(areas[0]))
                samples.append(areas[1:])
        asked.append(_joined(films, values, samples, evidence))
    return tuple(asked)


def _joined(
    films: str, values: Sequence[float], samples: Sequence[Floats], evidence: Evidence
) -> SourceInEmbedding:
    undefined = (
        f"no trial's test films have an embedding and two sources of at least "
        f"{MIN_FILMS_OF_SOURCE} films"
    )
    if values and evidence.folds:  # disjoint films: the mean's own interval
        mean = interval(float(np.mean(values)), np.mean(samples, axis=0))
    else:
        mean = over_trials(values, samples, undefined=undefined)
    return SourceInEmbedding(films, len(values), mean)


def _areas(scores: Scores, bootstrap: int, seed: tuple[int, int]) -> Floats | None:
    """Macro one-against-rest AUC of one trial: the films themselves, then each resample, [1 + B].

    None where there are not two sources with enough films.
    """
    large = _large(scores)
    scores = scores.take(np.array([film.source in large for film in scores.films], dtype=bool))
    sources = np.array([film.source for film in scores.films], dtype=str)
    names = np.unique(sources)
    if scores.embedding is None or len(names) < 2:
        return None
    told = _told(scores.embedding.astype(np.float64), sources, scores.patients, sum(seed))
    drawn = resamples(sources == names[0], bootstrap=bootstrap, seed=seed, groups=scores.patients)
    weights = np.concatenate([np.ones((1, len(scores))), drawn])
    each = [
        measure(sources == name, told[:, k], sources == name, weights)["roc_auc"]
        for k, name in enumerate(names)
    ]
    macro: Floats = np.nanmean(each, axis=0)  # a resample may miss a source
    return macro


def _large(scores: Scores) -> set[str]:
    """The sources with enough films and patients to be told apart."""
    films = Counter(film.source for film in scores.films if film.source)
    patients: defaultdict[str, set[str]] = defaultdict(set)
    for film in scores.films:
        patients[film.source or ""].add(film.patient_id)
    return {
        source
        for source, number in films.items()
        if number >= MIN_FILMS_OF_SOURCE and len(patients[source]) >= FOLDS
    }


def _told(
    embedding: Floats, sources: npt.NDArray[np.str_], patients: npt.NDArray[np.str_], seed: int
) -> Floats:
    """Out-of-fold probability of each source, [N, sources]; no patient on both sides."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedGroupKFold
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from threadpoolctl import threadpool_limits

    names = np.unique(sources)
    told = np.zeros((len(sources), len(names)))
    folds = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=seed)
    with threadpool_limits(limits=1):
        for learn, ask in folds.split(embedding, sources, patients):
            model = make_pipeline(
                StandardScaler(), LogisticRegression(C=PENALTY_C, max_iter=5000)
            ).fit(embedding[learn], sources[learn])
            told[np.ix_(ask, np.searchsorted(names, model.classes_))] = model.predict_proba(
                embedding[ask]
            )
    return told
