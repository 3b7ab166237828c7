"""Rows of a manifest → cached, preprocessed films by split."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from monai.data import CacheDataset, Dataset
from monai.transforms import Compose, Transform
from rich.console import Console

from cxrexport.errors import ManifestError
from cxrexport.manifest import FilmRow, assign_splits
from cxrexport.training.loop import Films
from cxrexport.training.recipe import Recipe
from cxrexport.transforms import (
    FILM,
    LUNGS,
    LungMapd,
    PreprocessFilmd,
    ToUnitRanged,
    augmentations,
)

__all__ = ["LABEL", "cache_films", "films_of_maps", "with_splits"]

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
) -> Films:
    """Preprocess every film once and keep it in memory.

    Args:
        rows: films with splits; for segmentation with masks.
        recipe: gives the preprocessing and the augmentations.
        console: where the count is said.
        lung_network: adds the lung map; without it the rows' masks become the map.
    """
    fixed: list[Transform] = [PreprocessFilmd(recipe.spec)]
    if lung_network is not None:
        fixed.append(LungMapd(lung_network))
    fixed.append(ToUnitRanged())
    datasets = {}
    for split in SPLITS:
        chosen = [row for row in rows if row.split == split]
        console.print(f"Preprocessing {len(chosen)} {split} films at {recipe.spec.size_px} px")
        steps = [*fixed, augmentations(recipe.augmentation)] if split == "train" else fixed
        datasets[split] = _FilmCache(
            [_item(row, recipe, masks=lung_network is None) for row in chosen],
            Compose(steps),
            cached_steps=len(fixed) - 1,
        )
    return Films(**datasets)


def films_of_maps(
    rows: Sequence[FilmRow],
    positions: npt.NDArray[np.int_],
    films: npt.NDArray[np.uint8],
    lungs: npt.NDArray[np.uint8] | None,
    recipe: Recipe,
) -> Films:
    """Take films that are preprocessed already.

    Args:
        rows: films with splits, n.
        positions: where each row's maps stand, [n].
        films: uint8 [N, 1, S, S].
        lungs: uint8 [N, 1, S, S], lung maps or masks; None gives empty ones.
        recipe: gives the augmentations and the labels.
    """
    datasets = {}
    for split in SPLITS:
        items = [
            {"position": int(position), LABEL: recipe.labels.index(row.label)}
            for row, position in zip(rows, positions, strict=True)
            if row.split == split
        ]
        steps: list[Transform] = [ToUnitRanged()]
        if split == "train":
            steps.append(augmentations(recipe.augmentation))
        datasets[split] = _MappedFilms(items, Compose(steps), films, lungs)
    return Films(**datasets)


def _item(row: FilmRow, recipe: Recipe, *, masks: bool) -> dict[str, Any]:
    item: dict[str, Any] = {FILM: str(row.image)}
    if masks:
        item["mask"] = str(row.mask)
    else:
        item[LABEL] = recipe.labels.index(row.label)
    return item


class _FilmCache(CacheDataset):  # type: ignore[misc]  # MONAI is untyped here
    """Caches the first steps' uint8 result; MONAI would cache float32, four times the memory."""

    def __init__(self, items: list[dict[str, Any]], transform: Compose, cached_steps: int) -> None:
        self.cached_steps = cached_steps
        super().__init__(items, transform, num_workers=1, progress=False, copy_cache=False)

    def _load_cache_item(self, idx: int) -> Any:
        return self.transform(self.data[idx], end=self.cached_steps, threading=True)

    def _transform(self, index: int) -> Any:
        return self.transform(self._cache[index], start=self.cached_steps)


class _MappedFilms(Dataset):  # type: ignore[misc]  # MONAI is untyped here
    """Films out of arrays that are mapped from disk."""

    def __init__(
        self,
        items: list[dict[str, int]],
        transform: Compose,
        films: npt.NDArray[np.uint8],
        lungs: npt.NDArray[np.uint8] | None,
    ) -> None:
        super().__init__(items, transform)
        self.films, self.lungs = films, lungs

    def _transform(self, index: int) -> Any:
        item = self.data[index]
        film = torch.from_numpy(self.films[item["position"]].copy())
        lungs = (
            torch.zeros_like(film)
            if self.lungs is None
            else torch.from_numpy(self.lungs[item["position"]].copy())
        )
        return self.transform({FILM: film, LUNGS: lungs, LABEL: item[LABEL]})
