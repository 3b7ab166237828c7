"""Rows of a manifest → cached, preprocessed films by split."""

from __future__ import annotations

import copy
import os
import time
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from monai.data import Dataset
from monai.transforms import Compose, Transform
from rich.console import Console

from cxrexport.errors import ManifestError
from cxrexport.manifest import FilmRow, assign_splits
from cxrexport.training.films.transforms import (
    FILM,
    LUNGS,
    LungMapd,
    PreprocessFilmd,
    ToUnitRanged,
    augmentations,
)
from cxrexport.training.processes import exchange_rows, process, processes
from cxrexport.training.recipe import Recipe
from cxrexport.training.task import Films

LABEL = "label"
SPLITS = ("train", "validation", "test")


def with_splits(rows: Sequence[FilmRow], seed: int) -> Sequence[FilmRow]:
    """Keep a manifest's own splits, or draw patient-wise ones where it has none.

    Raises:
        ManifestError: only some rows have a split, or nothing is left to learn from or choose by.
    """
    given = sum(row.split is not None for row in rows)
    if not given:
        rows = assign_splits(rows, seed=seed)
    elif given < len(rows):
        raise ManifestError(
            f"{len(rows) - given} of {len(rows)} rows have no split; give every row one, or none "
            "and the splits are drawn patient-wise."
        )
    for split in SPLITS[:2]:
        if not any(row.split == split for row in rows):
            raise ManifestError(f"No film is in the {split} split; add films or split again.")
    return rows


def cache_films(
    rows: Sequence[FilmRow],
    recipe: Recipe,
    console: Console,
    lung_network: Callable[[torch.Tensor], torch.Tensor] | None = None,
    *,
    masks: bool = False,
) -> Films:
    """Decode and preprocess every film once and keep it in memory, whatever the epochs.

    Of several processes each does its share, and all have all.

    Args:
        rows: films with splits; for segmentation with masks.
        recipe: gives the preprocessing and the augmentations.
        console: where the cost is said.
        lung_network: gives the lung maps.
        masks: whether the rows' masks are the lung maps; with neither they are empty.
    """
    started = time.perf_counter()
    size_px = recipe.spec.size_px
    films = np.zeros((len(rows), 1, size_px, size_px), np.uint8)
    lungs = np.zeros_like(films) if masks or lung_network is not None else None
    mine = range(process(), len(rows), processes())
    preprocess = PreprocessFilmd(recipe.spec)

    def decode(position: int) -> dict[Hashable, Any]:
        row = rows[position]
        return preprocess({FILM: str(row.image), **({"mask": str(row.mask)} if masks else {})})

    with ThreadPoolExecutor(_cores()) as pool:
        for position, item in zip(mine, pool.map(decode, mine), strict=True):
            mapped = item if lung_network is None else LungMapd(lung_network)(item)
            films[position] = mapped[FILM].numpy()
            if lungs is not None:
                lungs[position] = mapped[LUNGS].numpy()
    for array in (films, *(() if lungs is None else (lungs,))):
        exchange_rows(array)
    seconds = time.perf_counter() - started
    console.print(
        f"Preprocessed {len(rows)} films at {size_px} px in {seconds:.1f} s, "
        f"{1000 * seconds / len(rows):.1f} ms a film; every epoch takes them from memory.",
        highlight=False,
    )
    return films_of_maps(rows, np.arange(len(rows)), films, lungs, recipe, masks=masks)


def films_of_maps(
    rows: Sequence[FilmRow],
    positions: npt.NDArray[np.int_],
    films: npt.NDArray[np.uint8],
    lungs: npt.NDArray[np.uint8] | None,
    recipe: Recipe,
    *,
    masks: bool = False,
) -> Films:
    """Take films that are preprocessed already.

    Args:
        rows: films with splits, n.
        positions: where each row's maps stand, [n].
        films: uint8 [N, 1, S, S].
        lungs: uint8 [N, 1, S, S], lung maps or masks; None gives empty ones.
        recipe: gives the augmentations and the labels.
        masks: whether the lungs are to be learnt; such films may be augmented otherwise.
    """
    settings = recipe.augmentation_of("segment" if masks else "classify")
    datasets = {}
    for split in SPLITS:
        items = [
            {"position": int(position), **_label(row, recipe)}
            for row, position in zip(rows, positions, strict=True)
            if row.split == split
        ]
        steps: list[Transform] = [ToUnitRanged()]
        if split == "train":
            steps.append(augmentations(settings, clahe_tiles=recipe.spec.clahe_tiles))
        datasets[split] = MappedFilms(items, Compose(steps), films, lungs)
    return Films(**datasets)


def _label(row: FilmRow, recipe: Recipe) -> dict[str, int]:
    """Give the class's number; the lung network also learns from films of other classes."""
    return {LABEL: recipe.labels.index(row.label)} if row.label in recipe.labels else {}


def _cores() -> int:
    """Cores for this process: its share of the machine's where torchrun started several."""
    return max(1, len(os.sched_getaffinity(0)) // int(os.environ.get("LOCAL_WORLD_SIZE", "1")))


class MappedFilms(Dataset):  # type: ignore[misc]  # MONAI is untyped here
    """Films out of arrays, in memory or mapped from disk."""

    def __init__(
        self,
        items: list[dict[str, int]],
        transform: Compose,
        films: npt.NDArray[np.uint8],
        lungs: npt.NDArray[np.uint8] | None,
    ) -> None:
        super().__init__(items, transform)
        self.films, self.lungs = films, lungs
        self.seed = 0

    def reseed(self, seed: int) -> None:
        """Let the augmentations follow from a seed.

        Alone they are drawn one film after the other. Of several processes each sees a part of
        the films, so there they follow from each film's number as well.
        """
        self.seed = seed
        self.transform.set_random_state(seed=seed)

    def as_they_are(self) -> MappedFilms:
        """The same films without augmentation."""
        plain = copy.copy(self)
        plain.transform = Compose([ToUnitRanged()])
        return plain

    def _transform(self, index: int) -> Any:
        if processes() > 1:
            self.transform.set_random_state(seed=(self.seed + 7_919 * index) % 2**31)
        facts = dict(self.data[index])
        return self._show(facts.pop("position"), facts)

    def _show(self, position: int, facts: dict[str, int]) -> Any:
        """One film, augmented, with what is known of it."""
        film = torch.from_numpy(self.films[position].copy())
        return self.transform({FILM: film, LUNGS: self._lungs(position), **facts})

    def _lungs(self, position: int) -> torch.Tensor:
        """One film's lung map, uint8 [1, S, S]; empty where there is none."""
        if self.lungs is None:
            return torch.zeros(self.films.shape[1:], dtype=torch.uint8)
        return torch.from_numpy(self.lungs[position].copy())
