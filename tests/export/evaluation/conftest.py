"""Made-up evidence whose properties are known: no film is read and no network is run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from cxrexport.evaluation.scores import COMPARISON, Evidence, Scores, Trial
from cxrexport.manifest import FilmRow

LABELS = ("normal", "tb")


def film(number: int, *, positive: bool, **cells: object) -> FilmRow:
    """One row; each film has its own patient unless `cells` says otherwise."""
    label = LABELS[positive]
    cells.setdefault("patient_id", f"p{number:05d}")
    return FilmRow(image=Path(f"/films/{number:05d}.png"), label=label, row=number + 2, **cells)  # type: ignore[arg-type]


def scores(
    films: Sequence[FilmRow],
    *,
    networks: Sequence[str] = COMPARISON,
    skill: float | dict[str, float] = 2.0,
    temperature: float = 1.0,
    seed: int = 0,
    margins: dict[str, np.ndarray] | None = None,
) -> Scores:
    """Margins of each network, and an embedding.

    Two Gaussians of variance 1 whose means are `skill` apart: a network's true log odds are
    skill × (x - skill / 2) where the classes are equally frequent, so margins of `temperature`
    times that are calibrated by exactly that temperature, and the ROC AUC is Φ(skill / √2).
    """
    random = np.random.default_rng(seed)
    truth = np.array([row.label == LABELS[1] for row in films])
    made = {}
    for name in networks:
        d = skill[name] if isinstance(skill, dict) else skill
        seen = random.normal(size=len(films)) + d * truth
        made[name] = temperature * d * (seen - d / 2)
    embedding = random.normal(size=(len(films), 8)) + 2.0 * truth[:, None]
    return Scores(
        films=tuple(films),
        labels=LABELS,
        margins=made if margins is None else margins,
        embedding=embedding.astype(np.float32),
    )


def films_of(count: int, *, start: int = 0, share: float = 0.5, **cells: object) -> list[FilmRow]:
    """Films of which the first `share` are positive."""
    return [film(start + i, positive=i < round(share * count), **cells) for i in range(count)]


def folds(
    films: Sequence[FilmRow], *, count: int = 3, seed: int = 0, **options: object
) -> Evidence:
    """Cross-validation: film i is tested in fold i mod `count`, the next fold validates."""
    index = np.arange(len(films)) % count
    trials = []
    for fold in range(count):
        parts = {
            "test": index == fold,
            "validation": index == (fold + 1) % count,
            "train": (index != fold) & (index != (fold + 1) % count),
        }
        made = {
            name: scores(
                [row for row, there in zip(films, mask, strict=True) if there],
                seed=seed + 10 * fold + k,
                **options,  # type: ignore[arg-type]
            )
            for k, (name, mask) in enumerate(parts.items())
        }
        trials.append(Trial(name=f"fold {fold + 1}", **made))
    return Evidence(labels=LABELS, trials=tuple(trials), folds=True)


@pytest.fixture
def make_film():
    return film


@pytest.fixture
def make_films():
    return films_of


@pytest.fixture
def make_scores():
    return scores


@pytest.fixture
def make_folds():
    return folds
