"""The films that rows name: each file is decoded once, and what only its pixels tell is checked."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from cxrclient.errors import FilmError, TooLarge
from cxrclient.files import FileTooLarge, TableFault, read_regular, sha256_of
from cxrclient.films import HEAD_BYTES, MAX_FILE_BYTES, file_kind
from cxrexport.admission.exclusions import Exclusion, exclusions_of
from cxrexport.manifest.copies import coarse_sketch, find_copies, fine_sketch
from cxrexport.manifest.masks import read_mask
from cxrexport.manifest.rows import FilmRow, harm_of_twins
from cxrexport.manifest.splits import check_splits
from cxrexport.preprocessing import DecodedFilm, decode_film

# A mask that covers more of its film than this is no lung mask: lungs take a fifth to a half.
_MOST_LUNGS = 0.95


@dataclass(frozen=True, eq=False)
class FilmFacts:
    """What one look into a film's file tells.

    Attributes:
        bytes_digest: sha256 of the file.
        pixels_digest: sha256 of size and pixels, the same for the same film stored in another way
            (see `pixels_digest`); empty where the film cannot be decoded.
        sketch: what copies in other grey values, sizes or compressions have in common (see
            `copies`); None where the film cannot be decoded.
        error: why it cannot be decoded.
        mask_fault: what is wrong with its mask; empty where nothing is, or there is none.
        exclusions: why the study would have left it out; only where that was asked for.
        header_view: whether its header says what view it is; only where that was asked for.
    """

    bytes_digest: str = ""
    pixels_digest: str = ""
    sketch: npt.NDArray[np.float32] | None = None
    error: FilmError | None = None
    mask_fault: str = ""
    exclusions: tuple[Exclusion, ...] = ()
    header_view: bool = False


def check_films(
    rows: Sequence[FilmRow],
    path: Path,
    labels: Collection[str] | None = None,
    *,
    advance: Callable[[], None] = lambda: None,
) -> list[TableFault]:
    """Find what would spoil a training run or a judgement, before it starts.

    Films that cannot be decoded (each with its FilmError's code), the same film in two rows however
    it is stored, masks that do not fit their film, and splits that lack a class. What the cells
    tell (`scan_manifest`) is not looked for again. Every film is decoded once, in threads.

    Args:
        rows: of one manifest.
        path: of the manifest, only named in the problems.
        labels: the classes that every split must have; see `check_splits`.
        advance: called once a film, from several threads.
    """
    facts = inspect_films(rows, advance=advance)
    return [*problems_of_films(rows, facts, path), *check_splits(rows, path, labels)]


def inspect_films(
    rows: Sequence[FilmRow],
    *,
    exclusions: bool = False,
    advance: Callable[[], None] = lambda: None,
) -> list[FilmFacts | None]:
    """Decode each film once; None for a row whose file is not there (its cell's problem).

    Args:
        rows: of one manifest.
        exclusions: look for reasons to leave a film out, too.
        advance: called once a film, from several threads.
    """

    def look(row: FilmRow) -> FilmFacts | None:
        facts = _inspect(row, exclusions)
        advance()
        return facts

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(look, rows))


def problems_of_films(
    rows: Sequence[FilmRow], facts: Sequence[FilmFacts | None], path: Path
) -> list[TableFault]:
    """Turn what was seen into problems of the manifest at `path`."""
    problems = []
    for row, seen in zip(rows, facts, strict=True):
        if seen is not None and seen.error is not None:
            what = f"{seen.error} ({row.image.name})"
            problems.append(TableFault(path, row.row, "image", what, seen.error.code))
        if seen is not None and seen.mask_fault:
            problems.append(TableFault(path, row.row, "mask", seen.mask_fault, "MASK"))
    return [*problems, *_same_films(rows, facts, path)]


def pixels_digest(pixels: npt.NDArray[np.uint16]) -> str:
    """Hash a film's size and pixels, whatever their unit and offset.

    The same film as 12 bits in a DICOM object and as 16 bits in a PNG has the same proportions
    between its values; so the smallest value is taken off and the largest common step divided out.

    Args:
        pixels: uint16 [rows, columns], as decoded.
    """
    # Three times as fast as np.bincount, which first makes 64-bit numbers of the film.
    counts = cv2.calcHist([pixels], [0], None, [1 << 16], [0, 1 << 16])
    occurring = np.flatnonzero(counts)
    step = int(np.gcd.reduce(np.diff(occurring), initial=0)) or 1
    reduced = (pixels - np.uint16(occurring[0])) // np.uint16(step)
    return sha256_of((f"{pixels.shape}".encode(), reduced.astype("<u2", copy=False).tobytes()))


def _inspect(row: FilmRow, exclusions: bool) -> FilmFacts | None:
    try:
        encoded = read_regular(row.image, MAX_FILE_BYTES)
    except FileTooLarge:
        return FilmFacts(error=TooLarge("the file is larger than any film; leave it out"))
    except OSError:
        return None
    digest = sha256_of(encoded)
    try:
        film = decode_film(encoded)
    except FilmError as error:
        return FilmFacts(digest, error=error)
    return FilmFacts(
        bytes_digest=digest,
        pixels_digest=pixels_digest(film.pixels),
        sketch=coarse_sketch(film.pixels),
        mask_fault=_mask_fault(row, film),
        exclusions=exclusions_of(film, row.view) if exclusions else (),
        header_view=exclusions and _header_says_view(encoded),
    )


def _header_says_view(encoded: bytes) -> bool:
    if file_kind(encoded[:HEAD_BYTES]) != "dicom":
        return False
    from pydicom import dcmread

    # It was decoded before, so pydicom reads it.
    stream = io.BytesIO(encoded)
    header = dcmread(stream, force=True, stop_before_pixels=True, specific_tags=["ViewPosition"])
    return bool(str(header.get("ViewPosition") or "").strip())


def _mask_fault(row: FilmRow, film: DecodedFilm) -> str:
    if row.mask is None:
        return ""
    mask = read_mask(row.mask)
    if mask is None:
        return f"{row.mask.name} is not an image"
    rows, columns = film.pixels.shape
    if mask.shape != (rows, columns):
        return (
            f"{row.mask.name} has {mask.shape[1]}x{mask.shape[0]} pixels, its film "
            f"{columns}x{rows}; a mask has its film's size"
        )
    lungs = float((mask > 0).mean())
    if lungs == 0:
        return f"{row.mask.name} is empty; leave the cell empty where there is no mask"
    if lungs > _MOST_LUNGS:
        return f"{row.mask.name} covers {lungs:.0%} of the film; that is no lung mask"
    return ""


def _same_films(
    rows: Sequence[FilmRow], facts: Sequence[FilmFacts | None], path: Path
) -> Iterator[TableFault]:
    """Compare each film with the first row that has the same bytes, the same pixels, or a copy."""
    by_bytes: dict[str, FilmRow] = {}
    by_pixels: dict[str, FilmRow] = {}
    single: list[tuple[FilmRow, npt.NDArray[np.float32]]] = []
    for row, seen in zip(rows, facts, strict=True):
        if seen is None:
            continue
        twin = by_bytes.setdefault(seen.bytes_digest, row)
        how = "a copy of the same file"
        if twin is row and seen.sketch is not None:
            twin = by_pixels.setdefault(seen.pixels_digest, row)
            how = "the same pixels, stored in another way"
            if twin is row:
                single.append((row, seen.sketch))
        # The same path in two rows is reported where cells are.
        if twin is not row and twin.image.resolve() != row.image.resolve():
            yield _same_film(row, twin, how, path)
    for later, earlier, likeness in find_copies(
        [sketch for _, sketch in single], lambda film: _fine_sketch(single[film][0])
    ):
        how = f"{likeness:.0%} alike: exported again in other grey values, size or compression"
        yield _same_film(single[later][0], single[earlier][0], how, path)


def _same_film(row: FilmRow, twin: FilmRow, how: str, path: Path) -> TableFault:
    what = f"the same film as in line {twin.row} ({how}){harm_of_twins(row, twin)}"
    return TableFault(path, row.row, "image", what, "SAME_FILM")


def _fine_sketch(row: FilmRow) -> npt.NDArray[np.float32] | None:
    try:
        return fine_sketch(decode_film(row.image.read_bytes()).pixels)
    except (OSError, FilmError):
        return None  # changed since it was looked at
