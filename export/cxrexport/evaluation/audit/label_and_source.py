"""How far the source of a film gives its label away."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from cxrexport.evaluation.audit.baselines import source_alone
from cxrexport.evaluation.audit.same_source import NO_PAIRS, Resampled, summed_up
from cxrexport.evaluation.audit.tables import Association, SourceCount
from cxrexport.evaluation.measures import Interval
from cxrexport.evaluation.scores import Evidence, Scores
from cxrexport.manifest import FilmRow


def label_and_source(evidence: Evidence, resampled: Resampled) -> Association:
    """Count the test films of each source, and say how far the source gives the label away."""
    films = distinct(evidence.pooled.films)
    sources = count_sources(films, evidence.labels[1])
    unstated = sum(film.source is None for film in films)
    alone = source_alone(evidence)
    if alone.probability is None:
        roc_auc = Interval.undefined(f"source alone: {alone.reason}")
    else:
        roc_auc = summed_up(resampled.by_trial().auc(alone.probability), NO_PAIRS)
    cramers_v, reason = _cramers_v(sources)
    return Association(sources, unstated, cramers_v, roc_auc, reason)


def _cramers_v(sources: Sequence[SourceCount]) -> tuple[float | None, str | None]:
    from scipy.stats.contingency import association

    table = np.array([[count.negatives, count.positives] for count in sources], dtype=int)
    if len(sources) < 2:
        return None, "only one source is stated" if sources else "no film's source is stated"
    if not table.sum(axis=0).all():
        return None, "all films are of one class"
    return float(association(table, method="cramer")), None


def count_sources(films: Sequence[FilmRow], positive: str) -> tuple[SourceCount, ...]:
    """Count the films that have a source, each film once, in the order of the sources' names."""
    films = distinct(films)
    counts = []
    for source in sorted({film.source for film in films if film.source}):
        here = [film for film in films if film.source == source]
        positives = sum(film.label == positive for film in here)
        patients = len({film.patient_id for film in here})
        counts.append(SourceCount(source, len(here), patients, positives, len(here) - positives))
    return tuple(counts)


def distinct(films: Iterable[FilmRow]) -> list[FilmRow]:
    """Each film once, however many trials tested it."""
    return list({film.image: film for film in films}.values())


def new_sources(evidence: Evidence) -> tuple[str, ...] | None:
    """Sources that no trial tested whose networks learnt from them or were chosen by them.

    None where some trial does not say what it learnt from.
    """
    tested: set[str] = set()
    known: set[str] = set()
    for trial in evidence.trials:
        if trial.train is None:
            return None
        here = _sources(trial.test)
        tested |= here
        known |= here & (_sources(trial.train) | _sources(trial.validation))
    return tuple(sorted(tested - known))


def _sources(scores: Scores | None) -> set[str]:
    return set() if scores is None else {film.source for film in scores.films if film.source}
