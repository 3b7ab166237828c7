"""What a backbone's frozen parts make of each film and its flip: computed once, kept on disk."""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from cxrclient.files import only_one, private_folder, sha256_of, write_whole
from cxrexport.errors import CheckpointError, RecipeError
from cxrexport.networks import Backbone
from cxrexport.training.films.in_memory import MappedFilms
from cxrexport.training.films.transforms import FILM, LUNGS
from cxrexport.training.processes import pick_device, process, processes, wait_for_all
from cxrexport.training.task import Films

__all__ = ["FEATURES", "MOST_BYTES", "Frozen", "cached_films", "check_room"]

FEATURES = "features"
MOST_BYTES = 32 * 2**30
"""What a folder of features may hold; more is refused before anything is computed."""
_BATCH = 8
_Picture = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Frozen:
    """The first parts of a backbone, which do not learn.

    Attributes:
        network: its name.
        backbone: it; is in evaluation mode after the first call.
        parts: how many of them, from the film on. Of all five the features are what the head reads,
            float32 [N, F]; of fewer the last one's maps, fp16 [N, C, h, w].
    """

    network: str
    backbone: Backbone
    parts: int

    @classmethod
    def of(cls, network: str, backbone: Backbone) -> Frozen:
        """Those from the film on of which no weight learns; moved to where they are computed."""
        learns = [any(w.requires_grad for w in part.parameters()) for part in backbone.parts]
        backbone.to(pick_device()).to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch knows it
        return cls(network, backbone, [*learns, True].index(True))

    @torch.inference_mode()
    def __call__(self, film: _Picture, lungs: _Picture) -> npt.NDArray[np.floating[Any]]:
        """Compute features.

        Args:
            film: uint8 [N, 1, S, S].
            lungs: likewise.
        """
        backbone = self.backbone.eval()
        device = backbone.mean.device
        shown, weighed = (
            torch.from_numpy(each).to(device).float().div(255) for each in (film, lungs)
        )
        maps = backbone.enter(shown, weighed)
        if self.parts == len(backbone.parts):
            pooled: npt.NDArray[np.float32] = (
                backbone.head.pool(backbone.extract(maps), weighed).cpu().numpy()
            )
            return pooled
        border = backbone.through(maps, 0, self.parts).cpu()
        half = border.half()
        # VGG16's maps lie in the hundreds; what fp16 cannot hold is kept as it is.
        return (half if bool(half.isfinite().all()) else border).numpy()

    def bytes_a_film(self, size_px: int) -> int:
        """What the features of one film and its flip take."""
        blank = np.zeros((1, 1, size_px, size_px), np.uint8)
        return 2 * self(blank, blank).nbytes

    @property
    def digest(self) -> str:
        """Sha256 hex of all that the features depend on, but film and lungs."""
        backbone, design = self.backbone, self.backbone.design
        facts = [self.network, self.parts, design.layout, design.masked]
        if self.parts == len(backbone.parts):
            facts += [design.pooling, design.stages]
        weights = [backbone.mean, backbone.std]
        for part in backbone.parts[: self.parts]:
            weights += part.state_dict().values()
        content = (tensor.detach().cpu().contiguous().numpy().tobytes() for tensor in weights)
        return sha256_of([repr(facts).encode(), *content])


def cached_films(
    films: Films, frozen: Frozen, folder: Path, advance: Callable[[], None] = lambda: None
) -> Films:
    """Compute the features of all films, or take those that are there; the same films by them.

    A feature's file is named by what it comes from: weights, film and lung map. So folds, studies
    and reruns share a folder. Of several processes each does its share, and all have all.

    Args:
        films: from `films_of_maps`.
        frozen: the parts.
        folder: where the features stand.
        advance: called once a film.

    Raises:
        RecipeError: they would take more room than there is; see `check_room`.
    """
    shown = films.train.films
    lungs = np.zeros_like(shown) if films.train.lungs is None else films.train.lungs
    check_room(folder, len(shown) * frozen.bytes_a_film(shown.shape[-1]))
    place = folder / frozen.network / frozen.digest[:16]
    place.parent.mkdir(parents=True, exist_ok=True)
    private_folder(place)
    paths = [
        place / f"{sha256_of([film.tobytes(), seen.tobytes()])}.npy"
        for film, seen in zip(shown, lungs, strict=True)
    ]
    alone = processes() == 1  # several hold the run's folder together
    with only_one(place) if alone else nullcontext():
        _compute(shown, lungs, frozen, paths, advance)
    wait_for_all()
    splits = ("train", "validation", "test")
    return Films(**{split: _FeatureFilms(getattr(films, split), paths) for split in splits})


def check_room(folder: Path, needed: int) -> None:
    """See whether a folder may come to hold so many bytes of features, old ones included.

    Raises:
        RecipeError: it may not, or the disk has no room.
    """
    held = sum(path.stat().st_size for path in folder.rglob("*.npy"))
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if max(held, needed) > MOST_BYTES or needed - held > shutil.disk_usage(there).free:
        raise RecipeError(
            f"Cached features would take {max(held, needed) / 1e9:.1f} GB in {folder}, more than "
            "there is room for; delete what is there, freeze more parts, or leave `cached` out of "
            "the recipe."
        )


def _compute(
    shown: _Picture,
    lungs: _Picture,
    frozen: Frozen,
    paths: Sequence[Path],
    advance: Callable[[], None],
) -> None:
    mine = [i for i in range(process(), len(paths), processes()) if not paths[i].is_file()]
    for start in range(0, len(mine), _BATCH):
        chosen = mine[start : start + _BATCH]
        film, seen = shown[chosen], lungs[chosen]
        as_it_is, flipped = frozen(film, seen), frozen(_flip(film), _flip(seen))
        for position, *both in zip(chosen, as_it_is, flipped, strict=True):
            content = io.BytesIO()
            np.save(content, np.stack(both))
            write_whole(paths[position], content.getbuffer(), secret=True)
            advance()


def _flip(maps: _Picture) -> _Picture:
    """Left to right, as the augmentation does."""
    return np.ascontiguousarray(maps[..., ::-1])


class _FeatureFilms(MappedFilms):
    """Films by their features; which of the two a film shows is drawn as its flip would be."""

    marker = torch.tensor([[[0, 255], [0, 255]]], dtype=torch.uint8)

    def __init__(self, films: MappedFilms, paths: Sequence[Path]) -> None:
        super().__init__(films.data, films.transform, films.films, films.lungs)
        self.paths = paths

    def _show(self, position: int, facts: dict[str, int]) -> Any:
        left, right = self.transform({FILM: self.marker, LUNGS: self.marker})[FILM][0, 0]
        flipped = bool(left > right)
        try:
            features = np.load(self.paths[position], mmap_mode="r")[int(flipped)].copy()
        except (OSError, ValueError) as error:
            raise CheckpointError(
                f"{self.paths[position]} is missing or damaged; delete it, and call again."
            ) from error
        lungs = self._lungs(position)
        return {
            FEATURES: torch.from_numpy(features).float(),
            LUNGS: (lungs.flip(-1) if flipped else lungs).float().div(255),
            **facts,
        }
