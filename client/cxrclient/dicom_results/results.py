"""A film's results together: built from one prediction and one reading, written whole."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydicom.dataset import Dataset

from cxrclient.dicom_results.capture import capture_of
from cxrclient.dicom_results.document import document_of
from cxrclient.dicom_results.objects import Subject, encoded
from cxrclient.dicom_results.presentation import presentation_of
from cxrclient.dicom_results.segmentation import segmentation_of
from cxrclient.dicom_results.study import read_film_header
from cxrclient.errors import FilmError
from cxrclient.files import sha256_of, write_whole
from cxrclient.pixels import decode_stored
from cxrclient.wire import EnsembleInfo, Prediction

Kind = Literal["sr", "seg", "sc", "gsps"]
KINDS: tuple[Kind, ...] = ("sr", "seg", "sc", "gsps")


@dataclass(frozen=True, repr=False)
class Results:
    """The objects of one film, by kind; a film without a prediction has an SR alone."""

    datasets: dict[Kind, Dataset]

    def files(self) -> dict[Kind, bytes]:
        """Each as the bytes of its file."""
        return {kind: encoded(dataset) for kind, dataset in self.datasets.items()}


def results_of(
    result: Prediction | FilmError, film: bytes, ensemble: EnsembleInfo, *, gsps: bool = False
) -> Results:
    """Make the objects of a film.

    Args:
        result: made with `maps=True`; or a rejection, whose SR says why.
        film: the DICOM file.
        ensemble: that judged it.
        gsps: whether the outline of the lungs is wanted as a presentation state, too.

    Raises:
        FilmError: `NO_STUDY` (rejected), or it cannot be decoded.
        UsageError: the prediction was made without `maps=True`.
    """
    header = read_film_header(film)
    stored = decode_stored(film)
    rows, columns = stored.shape
    digest = sha256_of(
        [repr((stored.shape, stored.stored.dtype)).encode(), stored.stored.tobytes()]
    )
    subject = Subject(header, rows, columns, digest, result, ensemble)
    if isinstance(result, FilmError):
        return Results({"sr": document_of(subject, None)})
    lungs = segmentation_of(subject, result)
    datasets: dict[Kind, Dataset] = {"sr": document_of(subject, lungs)}
    if lungs is not None:
        datasets["seg"] = lungs.dataset
    datasets["sc"] = capture_of(subject, result, stored.brightness())
    if gsps and (outline := presentation_of(subject, result)) is not None:
        datasets["gsps"] = outline
    return Results(datasets)


def write(
    result: Prediction | FilmError,
    film: bytes,
    ensemble: EnsembleInfo,
    folder: Path,
    *,
    gsps: bool = False,
) -> dict[Kind, Path]:
    """Write the objects of a film into a folder, as `SOP-INSTANCE-UID.KIND.dcm` of the film.

    Args:
        result: as in `results_of`; so are all others.
        film: see there.
        ensemble: see there.
        folder: made where it is missing.
        gsps: see there.

    Raises:
        FilmError: see there.
        OSError: the folder cannot be written to.
    """
    made = results_of(result, film, ensemble, gsps=gsps)
    folder.mkdir(parents=True, exist_ok=True)
    name = read_film_header(film).sop_uid
    paths: dict[Kind, Path] = {}
    for kind, data in made.files().items():
        paths[kind] = folder / f"{name}.{kind}.dcm"
        write_whole(paths[kind], data)
    return paths
