"""A film's results together: built from one prediction and one reading, written whole."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from cxrclient.dicom_results.capture import capture_of
from cxrclient.dicom_results.document import document_of
from cxrclient.dicom_results.neighbours import neighbours_of
from cxrclient.dicom_results.objects import Subject, encoded
from cxrclient.dicom_results.presentation import presentation_of
from cxrclient.dicom_results.pydicom_parts import Dataset
from cxrclient.dicom_results.segmentation import segmentation_of
from cxrclient.dicom_results.study import read_film_header
from cxrclient.errors import CxrClientError, FilmError
from cxrclient.faults import is_ours
from cxrclient.files import private_folder, write_whole
from cxrclient.pixels import decode_stored, quiet_pydicom
from cxrclient.wire import EnsembleInfo, Prediction

if TYPE_CHECKING:
    from cxrclient.archive import Neighbour

Kind = Literal["sr", "seg", "sc", "gsps", "neighbours"]
KINDS: tuple[Kind, ...] = ("sr", "seg", "sc", "gsps", "neighbours")


@dataclass(frozen=True, repr=False)
class Results:
    """The objects of one film, by kind; a film without a prediction has an SR alone.

    Attributes:
        film_uid: SOP Instance UID of the film.
        datasets: its objects.
        pixels: digest of the film's decoded values.
    """

    film_uid: str
    datasets: dict[Kind, Dataset]
    pixels: str

    def files(self) -> dict[Kind, bytes]:
        """Each as the bytes of its file."""
        with quiet_pydicom():
            return {kind: encoded(dataset) for kind, dataset in self.datasets.items()}


def results_of(
    result: Prediction | FilmError,
    film: bytes,
    ensemble: EnsembleInfo,
    *,
    gsps: bool = False,
    neighbours: Sequence[Neighbour] = (),
) -> Results:
    """Make the objects of a film.

    Args:
        result: made with `maps=True`; or a rejection, whose SR says why.
        film: the DICOM file.
        ensemble: that judged it.
        gsps: whether the outline of the lungs is wanted as a presentation state, too.
        neighbours: nearest films of an archive, nearest first; with some, there is an SR of them,
            which differs whenever they do.

    Raises:
        FilmError: `NO_STUDY` (rejected), `NO_RESULTS` (failed), or it cannot be decoded.
        UsageError: the prediction was made without `maps=True`.
    """
    with quiet_pydicom():
        try:
            return _results(result, film, ensemble, gsps, neighbours)
        except CxrClientError:
            raise
        except Exception as error:
            if is_ours(error):
                raise
            # What a library stumbled over may quote the header.
            raise FilmError(
                "NO_RESULTS",
                "The film's header is so odd that no DICOM results can be made of it "
                f"({type(error).__name__}). Export the film again from where it comes from.",
                status="failed",
            ) from None


def _results(
    result: Prediction | FilmError,
    film: bytes,
    ensemble: EnsembleInfo,
    gsps: bool,
    neighbours: Sequence[Neighbour],
) -> Results:
    header = read_film_header(film)
    stored = decode_stored(film)
    rows, columns = stored.shape
    digest = stored.digest()
    subject = Subject(header, rows, columns, digest, result, ensemble)
    if isinstance(result, FilmError):
        return Results(header.sop_uid, {"sr": document_of(subject, None)}, digest)
    lungs = segmentation_of(subject, result)
    datasets: dict[Kind, Dataset] = {"sr": document_of(subject, lungs)}
    if lungs is not None:
        datasets["seg"] = lungs.dataset
    datasets["sc"] = capture_of(subject, result, stored.brightness())
    if gsps and (outline := presentation_of(subject)) is not None:
        datasets["gsps"] = outline
    if neighbours:
        datasets["neighbours"] = neighbours_of(subject, neighbours)
    return Results(header.sop_uid, datasets, digest)


def write(
    result: Prediction | FilmError,
    film: bytes,
    ensemble: EnsembleInfo,
    folder: Path,
    *,
    gsps: bool = False,
    neighbours: Sequence[Neighbour] = (),
) -> dict[Kind, Path]:
    """Write the objects of a film into a folder, as `SOP-INSTANCE-UID.KIND.dcm` of the film.

    Those of an earlier run are replaced, and taken away where there is none of their kind now.

    Args:
        result: as in `results_of`; so are all others.
        film: see there.
        ensemble: see there.
        folder: made where it is missing.
        gsps: see there.
        neighbours: see there.

    Raises:
        FilmError: see there.
        OSError: the folder cannot be written to.
    """
    made = results_of(result, film, ensemble, gsps=gsps, neighbours=neighbours)
    private_folder(folder)
    paths: dict[Kind, Path] = {}
    files = made.files()
    for kind in KINDS:
        path = folder / f"{made.film_uid}.{kind}.dcm"
        if kind in files:
            write_whole(path, files[kind], secret=True)
            paths[kind] = path
        else:
            path.unlink(missing_ok=True)
    return paths
