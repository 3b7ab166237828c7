"""Trivial baselines: what can be had without looking at the lungs.

A logistic regression on a thumbnail, on the film's aspect ratio, its view or the patient's age, on
the networks' own splits. A network that is not better than these has shown nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cxrclient.errors import Rejected
from cxrexport.evaluation.scores import Evidence, Floats, Trial
from cxrexport.manifest import FilmRow

BASELINES = ("thumbnail", "aspect_ratio", "view", "age")
THUMBNAIL_PX = 24
THUMBNAIL_C = 0.01
"""Inverse strength of the L2 penalty on greys. Of 1, 0.1, 0.01 and 0.001 the one that did best on
the development films (5-fold AUC 0.79, 0.83, 0.84, 0.82): the baseline at its strongest."""
NOT_STATED = "not stated"

# From rows to columns [N, F]; from nothing to an unfitted scikit-learn estimator.
_Features = Callable[[Sequence[FilmRow]], npt.NDArray[Any]]
_Model = Callable[[], Any]


@dataclass(frozen=True, eq=False)
class Baseline:
    """One trivial baseline's word on the test films.

    Attributes:
        name: one of BASELINES, or `source`.
        probability: of the positive class, for the films of `Evidence.pooled`, [N]; None where
            the baseline is absent.
        reason: why it is absent.
    """

    name: str
    probability: Floats | None
    reason: str | None = None


def thumbnails(
    films: Sequence[FilmRow], progress: Callable[[], None] | None = None
) -> npt.NDArray[np.float32]:
    """Look at each film from afar: the whole film, without preprocessing, as 24×24 greys.

    Args:
        films: N rows.
        progress: called after each film.

    Returns:
        float32 [N, 576] in 0..1.

    Raises:
        FilmError: a film cannot be read; the sentence begins with its file name.
    """
    import cv2

    from cxrexport.preprocessing import decode_film

    greys = np.empty((len(films), THUMBNAIL_PX**2), dtype=np.float32)
    for place, film in enumerate(films):
        with _named(film.image):
            pixels = decode_film(film.image.read_bytes()).pixels
        small = cv2.resize(pixels, (THUMBNAIL_PX, THUMBNAIL_PX), interpolation=cv2.INTER_AREA)
        greys[place] = small.ravel() / np.float32(65535)
        if progress is not None:
            progress()
    return greys


def aspect_ratios(films: Sequence[FilmRow]) -> Floats:
    """Width over height of each film's file, from its header, [N].

    Raises:
        FilmError: a film cannot be read; the sentence begins with its file name.
    """
    from cxrclient.pixels import stated_size

    ratios = np.empty(len(films), dtype=np.float64)
    for place, film in enumerate(films):
        with _named(film.image):
            width, height = stated_size(film.image.read_bytes())
        ratios[place] = width / height
    return ratios


def trivial_baselines(
    evidence: Evidence,
    films: Sequence[FilmRow],
    thumbnail: npt.NDArray[np.float32] | None,
    aspect_ratio: Floats | None,
) -> tuple[Baseline, ...]:
    """Train each baseline on the training and validation films of each trial, score its test films.

    A number goes in with its square, so that a middle can be told from both ends (a square film
    among upright and wide ones); a view as one column a value. A film whose view or age is not
    known counts as such: that, too, can give the label away.

    Args:
        evidence: gives the trials and their films.
        films: every film of the study once, N; told apart by `image`.
        thumbnail: of `thumbnails(films)`, [N, 576]; None leaves the baseline out.
        aspect_ratio: of `aspect_ratios(films)`, [N]; likewise.

    Returns:
        The BASELINES in their order; those that are absent say why.
    """
    place = {film.image: i for i, film in enumerate(films)}

    def looked_up(values: npt.NDArray[Any]) -> _Features:
        columns = values.astype(np.float64).reshape(len(values), -1)
        return lambda rows: columns[[place[row.image] for row in rows]]

    def ages(rows: Sequence[FilmRow]) -> Floats:
        return np.array([[np.nan if row.age is None else row.age] for row in rows], dtype=float)

    found = []
    for name, features, model in (
        ("thumbnail", None if thumbnail is None else looked_up(thumbnail), _of_greys),
        (
            "aspect_ratio",
            None if aspect_ratio is None else looked_up(np.log(aspect_ratio)),
            _of_number,
        ),
        ("view", _column("view"), _of_names),
        ("age", ages, _of_number),
    ):
        if features is None:
            found.append(Baseline(name, None, "it was not asked for"))
        else:
            found.append(_cross_fitted(name, evidence, features, model))
    return tuple(found)


def source_alone(evidence: Evidence) -> Baseline:
    """Predict the label from nothing but the source: what a network could earn by the hospital."""
    return _cross_fitted("source", evidence, _column("source"), _of_names)


def _cross_fitted(name: str, evidence: Evidence, features: _Features, model: _Model) -> Baseline:
    """Fit on each trial's training and validation films; score its test films."""
    from threadpoolctl import threadpool_limits

    if reason := _says_nothing(features(evidence.pooled.films)):
        return Baseline(name, None, reason)
    scored = []
    # One thread: the sums, and so the last digits, do not depend on the machine's cores.
    with threadpool_limits(limits=1):
        for trial in evidence.trials:
            rows = _learnt_from(trial)
            truth = np.array([row.label == evidence.labels[1] for row in rows], dtype=bool)
            if truth.all() or not truth.any():
                why = "were not scored" if not rows else "have one class only"
                return Baseline(name, None, f"the training films of {trial.name} {why}")
            fitted = model().fit(features(rows), truth)
            scored.append(fitted.predict_proba(features(trial.test.films))[:, 1])
    return Baseline(name, np.concatenate(scored))


def _learnt_from(trial: Trial) -> tuple[FilmRow, ...]:
    if trial.train is None:
        return ()
    return trial.train.films + (() if trial.validation is None else trial.validation.films)


def _column(name: str) -> _Features:
    def read(rows: Sequence[FilmRow]) -> npt.NDArray[Any]:
        return np.array([[getattr(row, name) or NOT_STATED] for row in rows], dtype=object)

    return read


def _says_nothing(values: npt.NDArray[Any]) -> str | None:
    """Why a column cannot tell films apart; None where it can. Known and unknown are different."""
    unknown = values == NOT_STATED if values.dtype == object else np.isnan(values)
    if unknown.all():
        return "the manifest does not state it"
    if (unknown == unknown[:1]).all() and (values == values[:1])[~unknown].all():
        return "it is the same for every film"
    return None


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Put the file's name into what is raised about its film."""
    try:
        yield
    except Rejected as error:
        raise type(error)(f"{path.name}: {error.message}") from error


def _of_greys() -> Any:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), LogisticRegression(C=THUMBNAIL_C, max_iter=5000))


def _of_number() -> Any:
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import PolynomialFeatures, StandardScaler

    return make_pipeline(
        StandardScaler(),  # before the square, which would otherwise be the number once more
        SimpleImputer(add_indicator=True),
        PolynomialFeatures(2, include_bias=False),
        LogisticRegression(max_iter=5000),
    )


def _of_names() -> Any:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder

    return make_pipeline(OneHotEncoder(handle_unknown="ignore"), LogisticRegression(max_iter=5000))
