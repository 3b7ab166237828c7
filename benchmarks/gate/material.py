"""Films and foreign images as the gate sees them: made once, kept under build/benchmarks."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from cxrclient.errors import FilmError
from cxrexport.admission import Picture, find_writing, grey_copy, has_rectangle, reduced
from cxrexport.ensemble import SEGMENT, Ensemble, OpenvinoGraphs
from cxrexport.manifest import read_manifest
from cxrexport.preprocessing import preprocess
from cxrexport.repository import graph_files, read_repository
from gate.images import half_of, pictures, spoilt

KEPT = Path(__file__).resolve().parents[2] / "build" / "benchmarks" / "admission"
PHANTOMS = 60
SPOILT_EVERY = 4
"""Each n-th film is turned, inverted and cropped too."""
_ARRAYS = ("film", "lungs", "shown", "embedding", "rectangle", "writing")
_WORDS = ("name", "patient", "group", "kind")


@dataclass(frozen=True, eq=False)
class Material:
    """Everything that is judged; all arrays have one entry an image.

    Attributes:
        name: of the file, and what was made of it.
        patient: of the film, or the picture that it was made from: what halves are drawn by.
        group: `film`, `phantom` or `foreign`.
        kind: source of the film, or kind of the picture.
        film: float32 [n, 64, 64], as `reduced`.
        lungs: the same of the lung map.
        shown: bool [n, 64, 64].
        embedding: float32 [n, 128].
        rectangle: bool, whether the gate sees one.
        writing: bool, whether it sees writing.
    """

    name: npt.NDArray[np.str_]
    patient: npt.NDArray[np.str_]
    group: npt.NDArray[np.str_]
    kind: npt.NDArray[np.str_]
    film: npt.NDArray[np.float32]
    lungs: npt.NDArray[np.float32]
    shown: npt.NDArray[np.bool_]
    embedding: npt.NDArray[np.float32]
    rectangle: npt.NDArray[np.bool_]
    writing: npt.NDArray[np.bool_]

    @property
    def half(self) -> npt.NDArray[np.int64]:
        """0 to set thresholds with, 1 to measure on."""
        return np.array([half_of(str(name)) for name in self.patient])

    def pictures(self) -> Iterator[Picture]:
        """Give each image as the gate measures it."""
        for film, lungs, shown in zip(self.film, self.lungs, self.shown, strict=True):
            yield Picture(film, lungs, shown)


def load_material(
    repository: Path,
    manifests: Sequence[Path],
    *,
    again: bool,
    advance: Callable[[str], None] = lambda name: None,
) -> Material:
    """Run preprocessing, U-Net and embedding network on everything, or read what was kept of it."""
    digest = read_repository(repository)[2]
    path = KEPT / f"{digest[:12]}.npz"
    if again or not path.is_file():
        material = _made(repository, manifests, advance)
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(path, **{key: getattr(material, key) for key in (*_WORDS, *_ARRAYS)})
        return material
    with np.load(path) as kept:
        return Material(**{key: kept[key] for key in (*_WORDS, *_ARRAYS)})


def _made(repository: Path, manifests: Sequence[Path], advance: Callable[[str], None]) -> Material:
    served = read_repository(repository)[0]
    spec, files = served.preprocessing, graph_files(repository, served)
    graphs = OpenvinoGraphs({name: files[name] for name in (SEGMENT, served.embedder)})
    ensemble = Ensemble(graphs, served.members)
    columns: dict[str, list[object]] = {key: [] for key in (*_WORDS, *_ARRAYS)}
    for words, encoded in _images(manifests):
        advance(words[0])
        try:
            film = preprocess(encoded, spec).image[None]
        except FilmError:
            continue  # it would be rejected before the gate
        lungs = ensemble.lungs(film)
        picture = reduced(film[0, 0], lungs[0, 0])
        grey = grey_copy(film[0, 0])
        arrays = (
            picture.film,
            picture.lungs,
            picture.shown,
            ensemble.embedding(film, lungs)[0],
            has_rectangle(grey),
            find_writing(grey),
        )
        for key, value in zip((*_WORDS, *_ARRAYS), (*words, *arrays), strict=True):
            columns[key].append(value)
    return Material(**{key: np.array(values) for key, values in columns.items()})


def _images(manifests: Sequence[Path]) -> Iterator[tuple[tuple[str, str, str, str], bytes]]:
    """Give name, patient, group and kind of each image, and its file's bytes."""
    for manifest in manifests:
        for number, row in enumerate(read_manifest(manifest)):
            encoded = row.image.read_bytes()
            source = row.source or "unknown"
            yield (row.image.name, row.patient_id, "film", source), encoded
            if number % SPOILT_EVERY == 0:
                film = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_GRAYSCALE)
                for foreign in spoilt(row.image.name, film):
                    words = (foreign.name, row.patient_id, "foreign", foreign.kind)
                    yield words, foreign.png()
    for picture in pictures():
        name = picture.name.split("#")[0]
        yield (picture.name, name, "foreign", picture.kind), picture.png()
    yield from _phantoms()


def _phantoms() -> Iterator[tuple[tuple[str, str, str, str], bytes]]:
    from cxrexport.phantom import write_phantoms

    with tempfile.TemporaryDirectory() as folder:
        for row in read_manifest(write_phantoms(PHANTOMS, Path(folder), seed=1)):
            yield (row.image.name, row.image.stem, "phantom", "phantom"), row.image.read_bytes()
