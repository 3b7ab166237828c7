"""What a backbone's frozen parts make of each film and its flip: computed once, kept on disk."""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from cxrclient.files import only_one, private_folder, sha256_of, write_whole
from cxrexport.errors import CheckpointError, RecipeError
from cxrexport.networks import Backbone, Pooling, pool_maps
from cxrexport.training.films.in_memory import MappedFilms
from cxrexport.training.films.transforms import FILM, LUNGS
from cxrexport.training.processes import pick_device, process, processes, wait_for_all
from cxrexport.training.task import Films

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
        parts: how many of them, from the film on. Of all five the features are the pooled maps that
            the head reads, float32 [N, F]; of fewer the last one's maps, fp16 [N, C, h, w].
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

    @property
    def sees_lungs(self) -> bool:
        """Whether the lung map goes into the parts; weights learnt elsewhere may not look at it."""
        first = next(m for m in self.backbone.parts[0].modules() if isinstance(m, nn.Conv2d))
        return self.backbone.design.masked or bool(first.weight[:, 1].count_nonzero())

    @property
    def reads_lungs(self) -> bool:
        """Whether features depend on the lung map, through the parts or the head's pooling."""
        pooled = self.parts == len(self.backbone.parts)
        return self.sees_lungs or (pooled and self.backbone.design.pooling != "average")

    @property
    def pooling(self) -> Pooling:
        """How features are pooled: a head that reads lungs alone finds what it reads in `both`."""
        return "average" if self.backbone.design.pooling == "average" else "both"

    def read(self, features: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """What the head, or the next part, takes of features [..., F] or [..., C, h, w]."""
        head = self.backbone.head
        if self.parts < len(self.backbone.parts) or head.pooling == self.pooling:
            return features
        lung = np.concatenate([np.repeat([False, True], each) for each in head.channels])
        return features[..., lung]

    @torch.inference_mode()
    def __call__(self, film: _Picture, *lungs: _Picture) -> list[npt.NDArray[np.floating[Any]]]:
        """Compute the features of films, with each of several lung maps.

        Args:
            film: uint8 [N, 1, S, S].
            lungs: likewise; the parts run once for all of them where they do not see them.
        """
        if self.sees_lungs and len(lungs) > 1:
            return [features for each in lungs for features in self(film, each)]
        backbone = self.backbone.eval()
        shown, *weighed = (
            torch.from_numpy(each).to(backbone.mean.device).float().div(255)
            for each in (film, *lungs)
        )
        maps = backbone.enter(shown, weighed[0])
        if self.parts == len(backbone.parts):
            read = backbone.extract(maps)
            return [pool_maps(read, each, self.pooling).cpu().numpy() for each in weighed]
        border = backbone.through(maps, 0, self.parts).cpu()
        half = border.half()
        # What fp16 cannot hold is kept as it is.
        return [(half if bool(half.isfinite().all()) else border).numpy()] * len(lungs)

    def bytes_a_film(self, size_px: int) -> int:
        """What the features of one film and its flip take."""
        blank = np.zeros((1, 1, size_px, size_px), np.uint8)
        return 2 * self(blank, blank)[0].nbytes

    @property
    def digest(self) -> str:
        """Sha256 hex of all that the features depend on, but film and lungs."""
        backbone, design = self.backbone, self.backbone.design
        facts = [self.network, self.parts, design.layout, design.masked]
        if self.parts == len(backbone.parts):
            facts += [self.pooling, design.stages]
        weights = [backbone.mean, backbone.std]
        for part in backbone.parts[: self.parts]:
            weights += part.state_dict().values()
        content = (tensor.detach().cpu().contiguous().numpy().tobytes() for tensor in weights)
        return sha256_of([repr(facts).encode(), *content])


def cached_films(films: Films, frozen: Frozen, folder: Path) -> Films:
    """Compute the features of all films, or take those that are there; the same films by them.

    Args:
        films: from `films_of_maps`.
        frozen: the parts.
        folder: where the features stand.

    Raises:
        RecipeError: they would take more room than there is; see `check_room`.
    """
    paths = compute_features(films.train.films, [films.train.lungs], frozen, folder)[0]
    splits = ("train", "validation", "test")
    return Films(**{split: _FeatureFilms(getattr(films, split), frozen, paths) for split in splits})


def compute_features(
    films: _Picture,
    lungs: Sequence[_Picture | None],
    frozen: Frozen,
    folder: Path,
    advance: Callable[[], None] = lambda: None,
) -> list[list[Path]]:
    """Compute the features of films that are not there yet.

    A feature's file is named by what it comes from: weights, film and lung map. So folds, studies
    and reruns share a folder. Of several processes each does its share, and all have all.

    Args:
        films: uint8 [N, 1, S, S].
        lungs: for each set of features the lung maps, likewise; None for empty ones.
        frozen: the parts.
        folder: where the features stand.
        advance: called for each film that is computed.

    Returns:
        Each set's files, one a film.

    Raises:
        RecipeError: they would take more room than there is; see `check_room`.
    """
    empty = np.zeros_like(films[:1])
    sets = [np.broadcast_to(empty, films.shape) if each is None else each for each in lungs]
    place = folder / frozen.network / frozen.digest[:16]
    paths = [[place / f"{name}.npy" for name in _names(films, each, frozen)] for each in sets]
    new = {path for path in chain(*paths) if not path.is_file()}
    check_room(folder, len(new) * frozen.bytes_a_film(films.shape[-1]))
    place.parent.mkdir(parents=True, exist_ok=True)
    private_folder(place)
    alone = processes() == 1  # several hold the run's folder together
    with only_one(place) if alone else nullcontext():
        mine = range(process(), len(films), processes())
        missing = [i for i in mine if not all(each[i].is_file() for each in paths)]
        for start in range(0, len(missing), _BATCH):
            chosen = missing[start : start + _BATCH]
            shown, seen = films[chosen], [each[chosen] for each in sets]
            as_they_are = frozen(shown, *seen)
            flipped = frozen(_flip(shown), *(_flip(each) for each in seen))
            for files, *both in zip(paths, as_they_are, flipped, strict=True):
                for position, features in zip(chosen, zip(*both, strict=True), strict=True):
                    _write(files[position], features)
            for _ in chosen:
                advance()
    wait_for_all()
    return paths


def features_of(
    films: _Picture, lungs: _Picture, frozen: Frozen, folder: Path
) -> npt.NDArray[np.floating[Any]]:
    """What frozen parts make of films, from disk where it is there; pooled features are put there.

    Args:
        films: uint8 [N, 1, S, S].
        lungs: likewise.
        frozen: the parts.
        folder: where features stand, those of `compute_features` among them.

    Returns:
        As `Frozen.read` gives them.
    """
    learnt_from = folder / frozen.network / frozen.digest[:16]
    judged = learnt_from.with_name(f"{learnt_from.name}-judged")
    names = [f"{name}.npy" for name in _names(films, lungs, frozen)]
    places = [next((p for p in (learnt_from, judged) if (p / n).is_file()), None) for n in names]
    found = {i: _load(place / names[i], 0) for i, place in enumerate(places) if place is not None}
    if missing := [i for i in range(len(films)) if i not in found]:
        (computed,) = frozen(films[missing], lungs[missing])
        found |= dict(zip(missing, computed, strict=True))
        if frozen.parts == len(frozen.backbone.parts):
            private_folder(judged)
            for i in missing:
                _write(judged / names[i], [found[i]])
    return frozen.read(np.stack([found[i] for i in range(len(films))]))


def _load(path: Path, which: int) -> npt.NDArray[np.floating[Any]]:
    """The features of a film (0) or of its flip (1)."""
    try:
        return np.array(np.load(path, mmap_mode="r")[which])
    except (OSError, ValueError, IndexError) as error:
        raise CheckpointError(
            f"{path} is missing or damaged; delete it, and call again."
        ) from error


def _names(films: _Picture, lungs: _Picture, frozen: Frozen) -> Iterator[str]:
    for film, seen in zip(films, lungs, strict=True):
        yield sha256_of([film.tobytes(), seen.tobytes() if frozen.reads_lungs else b""])


def _write(path: Path, features: Sequence[npt.NDArray[np.floating[Any]]]) -> None:
    if not path.is_file():
        content = io.BytesIO()
        np.save(content, np.stack(features))
        write_whole(path, content.getbuffer(), secret=True)


def check_room(folder: Path, needed: int) -> None:
    """See whether a folder may come to hold so many more bytes of features.

    Raises:
        RecipeError: it may not, or the disk has no room.
    """
    held = sum(path.stat().st_size for path in folder.rglob("*.npy"))
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if held + needed > MOST_BYTES or needed > shutil.disk_usage(there).free:
        raise RecipeError(
            f"Cached features would take {(held + needed) / 1e9:.1f} GB in {folder}, more than "
            "there is room for; delete what is there, freeze more parts, or leave `cached` out of "
            "the recipe."
        )


def _flip(maps: _Picture) -> _Picture:
    """Left to right, as the augmentation does."""
    return np.ascontiguousarray(maps[..., ::-1])


class _FeatureFilms(MappedFilms):
    """Films by their features; which of the two a film shows is drawn as its flip would be."""

    marker = torch.tensor([[[0, 255], [0, 255]]], dtype=torch.uint8)

    def __init__(self, films: MappedFilms, frozen: Frozen, paths: Sequence[Path]) -> None:
        super().__init__(films.data, films.transform, films.films, films.lungs)
        self.frozen, self.paths = frozen, paths

    def _show(self, position: int, facts: dict[str, int]) -> Any:
        left, right = self.transform({FILM: self.marker, LUNGS: self.marker})[FILM][0, 0]
        flipped = bool(left > right)
        features = _load(self.paths[position], int(flipped))
        lungs = self._lungs(position)
        return {
            FEATURES: torch.from_numpy(self.frozen.read(features)).float(),
            LUNGS: (lungs.flip(-1) if flipped else lungs).float().div(255),
            **facts,
        }
