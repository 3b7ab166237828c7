"""Images that are no upright frontal chest films: for the admission gate to be judged on.

Pictures of other kinds come with installed packages (pydicom's and pydicom-data's test files, the
pictures of scikit-image and scikit-learn); what is wrong with a chest film is made from films.
All are sent as grey PNG, without any header that could give them away.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from cxrexport.evaluation.gate import share_of_patients

Grey = npt.NDArray[np.uint8]

CHEST_FILMS = ("RG1_",)
"""Files of pydicom-data that are frontal chest films, and so not foreign."""
FACES = 40
DIGITS = 20
_FRAMES = 3


@dataclass(frozen=True, eq=False)
class Foreign:
    """One image that must not be let through.

    Attributes:
        name: of the picture; what is made from one film or file shares what stands before "#".
        kind: for the table.
        pixels: uint8 [rows, columns].
    """

    name: str
    kind: str
    pixels: Grey

    def png(self) -> bytes:
        """Give the file that is sent."""
        return bytes(cv2.imencode(".png", self.pixels)[1])

    @property
    def half(self) -> int:
        """Tell which half it belongs to: 0 to set thresholds with, 1 to measure on."""
        return half_of(self.name.split("#")[0])


def half_of(name: str) -> int:
    """Halve by the name of a patient or picture, as `cxrexport admission --share 0.5` does."""
    return 0 if share_of_patients(name, 0.5) else 1


def pictures() -> Iterator[Foreign]:
    """Give every picture of the packages that is no chest film, each once."""
    seen = set()
    for picture in (*_of_pydicom(), *_of_scikit_image(), *_of_scikit_learn()):
        digest = hashlib.sha256(cv2.resize(picture.pixels, (32, 32)).tobytes()).digest()
        if digest not in seen and picture.pixels.min() < picture.pixels.max():
            seen.add(digest)
            yield picture


def spoilt(name: str, film: Grey) -> Iterator[Foreign]:
    """Give what one film becomes when it is turned, inverted or cropped: one of each kind.

    Crops take 30 to 50 % of each side, so that no crop holds both lungs.
    """
    chance = np.random.default_rng(int.from_bytes(hashlib.sha256(name.encode()).digest()[:4]))
    quarter = (cv2.ROTATE_90_CLOCKWISE, cv2.ROTATE_90_COUNTERCLOCKWISE)[chance.integers(2)]
    yield Foreign(f"{name}#90", "film turned by 90°", _grey(cv2.rotate(film, quarter)))
    yield Foreign(f"{name}#180", "film turned by 180°", _grey(cv2.rotate(film, cv2.ROTATE_180)))
    yield Foreign(f"{name}#inverted", "film inverted", 255 - film)
    rows, columns = film.shape
    height, width = (int(side * chance.uniform(0.3, 0.5)) for side in (rows, columns))
    top, left = chance.integers(rows - height), chance.integers(columns - width)
    part = film[top : top + height, left : left + width]
    yield Foreign(f"{name}#crop", "crop of a film", np.ascontiguousarray(part))


def _of_pydicom() -> Iterator[Foreign]:
    from pydicom import dcmread
    from pydicom.data import get_testdata_file, get_testdata_files
    from pydicom.pixels import pixel_array

    for name in sorted({Path(str(found)).name for found in get_testdata_files("**/*.dcm")}):
        path = get_testdata_file(name, download=False)
        if name.startswith(CHEST_FILMS) or path is None:
            continue
        try:
            header = dcmread(path, force=True, stop_before_pixels=True)
            frames = int(header.get("NumberOfFrames") or 1)
            chosen = range(0, frames, max(1, frames // _FRAMES))[:_FRAMES]
            pictures = [_grey(pixel_array(path, index=number)) for number in chosen]
        except Exception:  # noqa: S112 - many of these files are broken on purpose
            continue
        kind = f"DICOM, {header.get('Modality') or 'other'}"
        for number, pixels in zip(chosen, pictures, strict=True):
            if min(pixels.shape) >= 16:
                yield Foreign(f"{name}#{number}", kind, pixels)


def _of_scikit_image() -> Iterator[Foreign]:
    import skimage.data

    folder = Path(skimage.data.__file__).parent
    for path in sorted(folder.iterdir()):
        if path.suffix in {".png", ".jpg", ".tif"}:
            picture = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
            if picture is not None:
                yield Foreign(path.name, "scikit-image, picture", _grey(picture))
    for number, face in enumerate(np.load(folder / "lfw_subset.npy")[:FACES]):
        yield Foreign(f"face {number}", "scikit-image, face", _grey(face))


def _of_scikit_learn() -> Iterator[Foreign]:
    from sklearn.datasets import load_digits, load_sample_images

    for number, picture in enumerate(load_sample_images().images):
        yield Foreign(f"sample {number}", "scikit-learn, picture", _grey(picture))
    for number, digit in enumerate(load_digits().images[:DIGITS]):
        enlarged = cv2.resize(digit, (64, 64), interpolation=cv2.INTER_CUBIC)
        yield Foreign(f"digit {number}", "scikit-learn, digit", _grey(enlarged))


def _grey(picture: npt.NDArray[np.generic]) -> Grey:
    """Give any picture in 8 bits, its whole range used."""
    values = np.asarray(picture, dtype=np.float32)
    if values.ndim == 3:
        values = values.mean(axis=2)
    low, high = float(values.min()), float(values.max())
    return ((values - low) * (255 / max(high - low, 1e-9))).astype(np.uint8)
