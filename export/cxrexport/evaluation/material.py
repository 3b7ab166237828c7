"""What an evaluation works on: the scores, and the films and lungs that the figures show."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from cxrexport.errors import CxrExportError
from cxrexport.evaluation.lungs import FilmLungs, compare_masks
from cxrexport.evaluation.scores import Evidence
from cxrexport.manifest import FilmRow
from cxrexport.manifest.masks import read_mask
from cxrexport.preprocessing import PreprocessingSpec, preprocess
from cxrexport.training.recipe import Recipe

Maps = npt.NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Material:
    """Everything that the analyses, the figures and the report start from.

    Attributes:
        title: what the study calls itself.
        evidence: the scores.
        spec: the preprocessing.
        recipe: the networks learnt by; None where only their graphs are known.
        films: every film of the manifest, N.
        maps: uint8 [N, 1, S, S], the films preprocessed.
        lungs: uint8 [N, 1, S, S] for each trial, its lung network's maps; None without one.
        lungs_note: what the lung network is and learnt from, where it was not trained here.
        facts: what was used (digests, versions of weights), for the report and metrics.json.
        failures: task → what failed.
        before: the evidence of the networks that these were fine-tuned from; None if none.
        through_lungs: whether the networks pool over the lungs alone.
    """

    title: str
    evidence: Evidence
    spec: PreprocessingSpec
    films: tuple[FilmRow, ...]
    maps: Maps
    lungs: tuple[Maps | None, ...]
    recipe: Recipe | None = None
    lungs_note: str | None = None
    facts: Mapping[str, str] = field(default_factory=dict)
    failures: Mapping[str, str] = field(default_factory=dict)
    before: Evidence | None = None
    through_lungs: bool = False

    def position(self, film: FilmRow) -> int:
        """Where a film's maps stand."""
        return self._positions[str(film.image)]

    @property
    def _positions(self) -> dict[str, int]:
        known = self.__dict__.get("_known")
        if known is None:
            known = {str(film.image): i for i, film in enumerate(self.films)}
            object.__setattr__(self, "_known", known)
        return known

    def picture(self, film: FilmRow) -> npt.NDArray[np.uint8]:
        """The preprocessed film, [S, S]."""
        picture: npt.NDArray[np.uint8] = np.array(self.maps[self.position(film), 0])
        return picture


def compare_lungs(
    material: Material, advance: Callable[[], None] = lambda: None
) -> tuple[FilmLungs, ...]:
    """Compare each trial's lung maps with its test films' masks, at the film's own size.

    Raises:
        CxrExportError: a mask has another size than its film.
    """
    compared = []
    for trial, lungs in zip(material.evidence.trials, material.lungs, strict=True):
        if lungs is None:
            continue
        for film in trial.test.films:
            if film.mask is not None:
                compared.append(_compare(film, lungs[material.position(film), 0], material.spec))
            advance()
    return tuple(compared)


def _compare(film: FilmRow, lungs: npt.NDArray[np.uint8], spec: PreprocessingSpec) -> FilmLungs:
    geometry = preprocess(film.image.read_bytes(), spec).geometry
    found = geometry.to_film(lungs.astype(np.float32) / np.float32(255)) >= 0.5
    mask = None if film.mask is None else read_mask(film.mask)
    if mask is None or mask.shape != found.shape:
        raise CxrExportError(f"{film.mask} must be an image of its film's size.")
    return compare_masks(found, mask > 0, row=film.row, source=film.source, patient=film.patient_id)


def different(films: Sequence[FilmRow]) -> tuple[FilmRow, ...]:
    """Each film once, in the order of its first mention."""
    return tuple({str(film.image): film for film in films}.values())
