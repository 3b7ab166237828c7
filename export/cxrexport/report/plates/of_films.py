"""The figures made of a study's films: lung contours, nearest films, augmentations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import numpy.typing as npt

from cxrexport.evaluation.retrieval import Example
from cxrexport.evaluation.scores import Evidence
from cxrexport.evaluation.subgroups import Judged, extremes
from cxrexport.manifest import FilmRow
from cxrexport.report.figures.pictures import (
    FilmPicture,
    contact_sheet,
    films_to_look_at,
    lung_contours,
    nearest_films,
)
from cxrexport.report.plates.plate import Plate

if TYPE_CHECKING:
    from cxrexport.evaluation.assess import Assessment
    from cxrexport.evaluation.material import Material

Picture = npt.NDArray[np.uint8]

_PICTURE_PX = 256
"""Longer side of a film in a figure: a report of thirty films stays a few megabytes."""
_LUNG_FILMS = 8
_LOOKED_AT = 5


def film_plates(material: Material, results: Assessment, *, seed: int = 0) -> tuple[Plate, ...]:
    """Draw the figures that show films; none of them names a file or a patient."""
    return (
        _to_look_at(material, results),
        _nearest(material, results),
        _lungs(material, results),
        _augmentations(material, seed),
    )


def _to_look_at(material: Material, results: Assessment) -> Plate:
    found = extremes(material.evidence, results.comparison.threshold)

    def pictures(chosen: Sequence[Judged]) -> list[FilmPicture]:
        return [
            FilmPicture(
                _small(material.picture(each.film)),
                each.film.label == results.labels[1],
                each.probability,
                name=f"line {each.film.row}",
                source=each.film.source,
            )
            for each in chosen
        ]

    rows = []
    for how, judged in (("right, the most certain", found.right), ("most wrong", found.wrong)):
        for label in reversed(results.labels):
            chosen = [each for each in judged if each.film.label == label][:_LOOKED_AT]
            if chosen:
                rows.append((f"{label}: {how}", pictures(chosen)))
    return Plate(
        name="films-to-look-at",
        part="classification",
        title="Films to look at",
        caption="Of each class the most certain of the films that were judged right, and those "
        "that were judged most wrong. Line: of the manifest; scores.csv names the film.",
        figure=films_to_look_at(rows, results.labels) if rows else None,
        absent=None if rows else "no test film was scored",
        films=True,
        wide=True,
    )


def _nearest(material: Material, results: Assessment) -> Plate:
    examples = () if results.retrieval is None else results.retrieval.examples
    queries = [(_query(material, each), _neighbours(material, each)) for each in examples]
    figure = (
        nearest_films(queries, results.labels, [f"{each.kind} of its class" for each in examples])
        if queries
        else None
    )
    return Plate(
        name="nearest-films",
        part="retrieval",
        title="Nearest films",
        caption="Queries were chosen by rule. Best: the neighbours agree most with the query's "
        "true class; typical: at the median distance; worst: they contradict it most.",
        figure=figure,
        absent=None if queries else _why(results),
        films=True,
        wide=True,
    )


def _why(results: Assessment) -> str:
    if results.retrieval is None:
        return results.absent.get("retrieval", "there is no retrieval")
    return results.retrieval.reason or "no query has neighbours"


def _query(material: Material, example: Example) -> FilmPicture:
    test = material.evidence.trials[example.trial].test
    return FilmPicture(
        _small(material.picture(test.films[example.index])), example.positive, example.probability
    )


def _neighbours(material: Material, example: Example) -> list[FilmPicture]:
    train = material.evidence.trials[example.trial].train
    films: Sequence[FilmRow] = () if train is None else train.films
    return [
        FilmPicture(
            _small(material.picture(films[each.index])),
            each.positive,
            each.probability,
            each.distance,
        )
        for each in example.neighbours
    ]


def _lungs(material: Material, results: Assessment) -> Plate:
    films, contours, references, captions = [], [], [], []
    maps = material.lungs[0] if material.lungs else None
    if maps is not None:
        for film in _one_of_each_kind(material.evidence):
            films.append(_small(material.picture(film)))
            contours.append(_small(np.array(maps[material.position(film), 0])))
            references.append(_reference(material, film))
            captions.append("\n".join(text for text in (film.source, film.label) if text))
    return Plate(
        name="lungs",
        part="lungs",
        title="Segmentation of the lungs",
        caption="The first test films of each source and class, in the order of the manifest.",
        figure=lung_contours(films, contours, references, captions) if films else None,
        absent=None if films else "there are no lung maps",
        films=True,
        wide=True,
    )


def _one_of_each_kind(evidence: Evidence) -> list[FilmRow]:
    """Test films of the first trial, taking turns among source and class."""
    kinds: dict[tuple[str, str], list[FilmRow]] = {}
    for film in sorted(evidence.trials[0].test.films, key=lambda film: film.row):
        kinds.setdefault((film.source or "", film.label), []).append(film)
    turns = [films[turn] for turn in range(_LUNG_FILMS) for _, films in sorted(kinds.items())
             if turn < len(films)]  # fmt: skip
    return turns[:_LUNG_FILMS]


def _reference(material: Material, film: FilmRow) -> Picture | None:
    """The reader's lungs, on the way that the film took."""
    if film.mask is None:
        return None
    from cxrexport.training.films import FILM, LUNGS, PreprocessFilmd

    item: dict[Any, Any] = {FILM: str(film.image), "mask": str(film.mask)}
    mask: Picture = PreprocessFilmd(material.spec)(item)[LUNGS].numpy()[0]
    return _small(mask)


def _augmentations(material: Material, seed: int) -> Plate:
    recipe = material.recipe
    figure = None
    if recipe is not None and len(material.films):
        from cxrexport.report.figures.augmented import augmented_panels

        film = np.array(material.maps[0])
        figure = contact_sheet(
            augmented_panels(
                film, None, recipe.augmentation, clahe_tiles=material.spec.clahe_tiles, seed=seed
            ),
            f"Augmentations of one film, {recipe.spec.size_px} px",
        )
    return Plate(
        name="augmentations",
        part="training",
        title="Augmentations of one training film",
        caption="Each alone at the end of its range, then draws as a network sees them.",
        figure=figure,
        absent=None if figure else "a model repository does not say how its networks learnt",
        films=True,
        wide=True,
    )


def _small(picture: npt.NDArray[np.uint8]) -> Picture:
    scale = _PICTURE_PX / max(picture.shape)
    if scale >= 1:
        return picture
    size = round(picture.shape[1] * scale), round(picture.shape[0] * scale)
    small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    return np.asarray(small, dtype=np.uint8)
