"""Films preprocessed once for all trials, on disk: a second epoch, or run, decodes nothing."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cxrclient.files import (
    PART,
    new_private,
    parse_json,
    private_folder,
    sha256_of,
    take_place,
    write_whole,
)
from cxrexport.manifest import FilmRow
from cxrexport.preprocessing import PreprocessingSpec

Maps = npt.NDArray[np.uint8]
"""uint8 [N, 1, S, S], 255 is 1.0; mapped from disk."""


def mapped_films(
    rows: Sequence[FilmRow],
    spec: PreprocessingSpec,
    folder: Path,
    *,
    masks: bool,
    advance: Callable[[], None] = lambda: None,
) -> tuple[Maps, Maps | None]:
    """Preprocess every film, or map what an earlier call left.

    Args:
        rows: the films.
        spec: the preprocessing.
        folder: where `films.npy`, `masks.npy` and their `cache.json` stand.
        masks: whether lung masks are wanted too; a film without one gets an empty map.
        advance: called once a film.

    Raises:
        FilmError: a film cannot be judged.
    """
    from cxrexport.training.films.transforms import FILM, LUNGS, PreprocessFilmd

    identity = _identity(rows, spec, masks)
    paths = [folder / "films.npy", *([folder / "masks.npy"] if masks else [])]
    if not _is_there(folder, identity, paths):
        private_folder(folder)
        shape = (len(rows), 1, spec.size_px, spec.size_px)
        arrays = [_new(path, shape) for path in paths]
        transform = PreprocessFilmd(spec)

        def work(position: int) -> None:
            row = rows[position]
            item: dict[Any, Any] = {FILM: str(row.image)}
            if masks and row.mask is not None:
                item["mask"] = str(row.mask)
            done = transform(item)
            for array, key in zip(arrays, (FILM, LUNGS), strict=False):
                if key in done:
                    array[position] = done[key].numpy()
            advance()

        with ThreadPoolExecutor(2) as pool:
            list(pool.map(work, range(len(rows))))
        _finish(folder, identity, paths, arrays)
    films = np.load(paths[0], mmap_mode="r")
    return films, np.load(paths[1], mmap_mode="r") if masks else None


def mapped_lungs(
    films: Maps, network: Callable[[Any], Any], weights: str, folder: Path, *, batch: int = 8
) -> Maps:
    """Segment every film, or map what an earlier call left.

    Args:
        films: from `mapped_films`.
        network: float [n, 1, S, S] in 0..1 → lung probability of that shape.
        weights: sha256 of the network's weights; other weights, other maps.
        folder: where `lungs.npy` and its `cache.json` stand.
        batch: films at once.
    """
    import torch

    path = folder / "lungs.npy"
    identity = {"weights": weights, "films": len(films), "size_px": films.shape[-1]}
    if not _is_there(folder, identity, [path]):
        private_folder(folder)
        array = _new(path, films.shape)
        for start in range(0, len(films), batch):
            with torch.inference_mode():
                chosen = torch.from_numpy(films[start : start + batch].copy()).float().div(255)
                maps = network(chosen).cpu().float().numpy()
            array[start : start + batch] = np.rint(maps * np.float32(255)).astype(np.uint8)
        _finish(folder, identity, [path], [array])
    lungs: Maps = np.load(path, mmap_mode="r")
    return lungs


def _new(path: Path, shape: tuple[int, ...]) -> Maps:
    """An array on disk that its owner alone can read: it holds the pixels of films."""
    part = path.with_suffix(PART)
    new_private(part)  # the memory map keeps the mode
    try:
        array: Maps = np.lib.format.open_memmap(  # type: ignore[no-untyped-call]
            part, "w+", np.uint8, shape
        )
        with part.open("r+b") as file:
            # A trap: writing into a map of what has no room ends the process by SIGBUS.
            os.posix_fallocate(file.fileno(), 0, part.stat().st_size)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise OSError(error.errno, error.strerror or str(error), str(path)) from error
    return array


def _identity(rows: Sequence[FilmRow], spec: PreprocessingSpec, masks: bool) -> dict[str, Any]:
    """What the arrays depend on; a film that changed on disk has another size or time."""

    def facts() -> Iterator[bytes]:
        for row in rows:
            for path in (row.image, row.mask if masks else None):
                stat = path.stat() if path is not None else None
                yield f"{path}\0{stat and (stat.st_size, stat.st_mtime_ns)}\0".encode()

    return {"preprocessing": spec.digest, "films": sha256_of(facts()), "masks": masks}


def _is_there(folder: Path, identity: dict[str, Any], paths: Sequence[Path]) -> bool:
    known = folder / "cache.json"
    if not known.is_file() or not all(path.is_file() for path in paths):
        return False
    return bool(_read(known) == identity)


def _read(path: Path) -> Any:
    """What a `cache.json` says; None where it is damaged, and the films are preprocessed anew."""
    try:
        return parse_json(path.read_bytes())
    except (OSError, ValueError):
        return None


def _finish(
    folder: Path, identity: dict[str, Any], paths: Sequence[Path], arrays: Sequence[Any]
) -> None:
    """Name the arrays by their names once they are whole; `cache.json` last."""
    (folder / "cache.json").unlink(missing_ok=True)
    for path, array in zip(paths, arrays, strict=True):
        array.flush()
        take_place(path.with_suffix(PART), path)
    write_whole(folder / "cache.json", json.dumps(identity, indent=2) + "\n")
