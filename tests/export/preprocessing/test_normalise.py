"""The network's input: its range, its padding, its brightness, and that it is always the same."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import assume, given, settings, strategies as st

from cxrclient.errors import Constant
from cxrexport.preprocessing import DecodedFilm, PreprocessingSpec, preprocess, preprocess_film

SPEC = PreprocessingSpec(size_px=256)
WITHOUT_CLAHE = replace(SPEC, clahe_clip_limit=0)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 1500), st.integers(1, 1500), st.sampled_from([32, 64, 320]),
    st.integers(0, 9), st.booleans(),
)  # fmt: skip
def test_any_film_gives_a_finite_image_of_0_to_1(
    height: int, width: int, size_px: int, seed: int, padded: bool
) -> None:
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, rng.integers(2, 65536), (height, width)).astype(np.uint16)
    padding = rng.random((height, width)) < 0.3 if padded else None
    assume(pixels.min() < pixels.max())
    spec = PreprocessingSpec(size_px=size_px)
    result = preprocess_film(DecodedFilm(pixels, padding), spec)
    assert result.image.shape == (1, size_px, size_px)
    assert result.image.dtype == np.float32
    assert result.image.flags.c_contiguous
    assert np.isfinite(result.image).all()
    assert result.image.min() >= 0
    assert result.image.max() <= 1
    assert (result.geometry.film_height, result.geometry.film_width) == (height, width)


def test_a_decoded_film_of_one_value_is_constant() -> None:
    with pytest.raises(Constant):
        preprocess_film(DecodedFilm(np.full((50, 60), 7, np.uint16)), SPEC)


def test_the_same_film_gives_the_same_bytes(
    make_dicom: Callable[..., bytes], thorax: np.ndarray
) -> None:
    encoded = make_dicom(thorax)
    assert preprocess(encoded, SPEC).image.tobytes() == preprocess(encoded, SPEC).image.tobytes()


def test_threads_of_opencv_change_nothing() -> None:
    rng = np.random.default_rng(3)
    film = DecodedFilm(cv2.blur(rng.integers(0, 65536, (1800, 2100)).astype(np.uint16), (9, 9)))
    before = cv2.getNumThreads()
    images = []
    try:
        for threads in (1, 2, 4):
            cv2.setNumThreads(threads)
            images.append(preprocess_film(film, PreprocessingSpec()).image.tobytes())
    finally:
        cv2.setNumThreads(before)
    assert images[0] == images[1] == images[2]


def test_the_film_is_not_changed(thorax: np.ndarray) -> None:
    film = DecodedFilm(thorax.copy())
    preprocess_film(film, SPEC)
    np.testing.assert_array_equal(film.pixels, thorax)


@pytest.mark.parametrize("shape", [(380, 200), (200, 380)])
def test_the_aspect_is_kept_and_the_rest_is_zero(
    shape: tuple[int, int], thorax: np.ndarray
) -> None:
    """Also where CLAHE would have made something of nothing."""
    film = cv2.resize(thorax, shape[::-1])
    image = preprocess_film(DecodedFilm(film), SPEC).image[0]
    shorter = round(256 * 200 / 380)
    before = (256 - shorter) // 2
    content = image[:, before : before + shorter] if shape[0] > shape[1] else image[
        before : before + shorter
    ]  # fmt: skip
    assert image.sum() == pytest.approx(content.sum())
    assert (content > 0).mean() > 0.9


def test_brightness_is_standardised_on_percentiles(thorax: np.ndarray) -> None:
    image = preprocess_film(DecodedFilm(thorax), WITHOUT_CLAHE).image[0]
    content = image[:, (image > 0).any(axis=0)]
    assert (content == 0).mean() == pytest.approx(0.01, abs=0.01)
    assert (content == 1).mean() == pytest.approx(0.01, abs=0.01)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 12), st.integers(0, 10_000))
def test_exposure_and_offset_of_a_detector_do_not_matter(gain: int, offset: int) -> None:
    film = cv2.blur(
        np.random.default_rng(1).integers(0, 4000, (300, 260)).astype(np.uint16), (5, 5)
    )
    plain = preprocess_film(DecodedFilm(film), WITHOUT_CLAHE).image
    other = preprocess_film(DecodedFilm(film * gain + offset), WITHOUT_CLAHE).image
    assert np.abs(plain - other).max() <= 1.01 / 255


def test_a_white_marker_does_not_darken_the_film(thorax: np.ndarray) -> None:
    marked = thorax.copy()
    marked[20:40, 20:40] = 65535
    plain = preprocess_film(DecodedFilm(thorax), WITHOUT_CLAHE).image
    other = preprocess_film(DecodedFilm(marked), WITHOUT_CLAHE).image
    assert np.median(np.abs(plain - other)) < 0.02


def test_clahe_raises_local_contrast_within_the_lungs(thorax: np.ndarray) -> None:
    plain = preprocess_film(DecodedFilm(thorax), WITHOUT_CLAHE).image[0]
    equalised = preprocess_film(DecodedFilm(thorax), SPEC).image[0]
    lung = np.s_[90:160, 75:95]
    assert equalised[lung].std() > 1.3 * plain[lung].std()


def test_shrinking_does_not_alias() -> None:
    """A checkerboard of single pixels is grey from afar: blocks of 5x5 hold 12 or 13 of 25."""
    board = (np.indices((1280, 1280)).sum(axis=0) % 2 * 40_000 + 10_000).astype(np.uint16)
    board[:4], board[-4:] = 0, 60_000
    image = preprocess_film(DecodedFilm(board), WITHOUT_CLAHE).image[0]
    assert image[20:-20].std() < 0.03


def test_preprocessing_loads_neither_torch_nor_what_talks_to_servers(tmp_path: Path) -> None:
    """Of the client it loads what decodes films; each step of a server would pay for more."""
    film = tmp_path / "film.png"
    cv2.imwrite(str(film), np.arange(4096, dtype=np.uint16).reshape(64, 64) * 16)
    code = (
        "import sys, cxrexport.preprocessing as p\n"
        "from pathlib import Path\n"
        "heavy = {'torch', 'monai', 'tritonclient', 'grpc', 'pymilvus', 'onnx', 'openvino',"
        " 'sklearn', 'yaml', 'pandas', 'scipy', 'pydantic'}\n"
        "spec = p.PreprocessingSpec()\n"
        "print(sorted((heavy | {'PIL'}) & set(sys.modules)))\n"
        "p.preprocess(Path(sys.argv[1]).read_bytes(), spec)\n"
        "rooms = {n.split('.')[1] for n in sys.modules if n.startswith('cxrclient.')}\n"
        "print(sorted(heavy & set(sys.modules)), sorted(rooms))"
    )
    command = [sys.executable, "-c", code, str(film)]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    first, then = run.stdout.splitlines()
    assert first == "[]"
    assert then == "[] ['errors', 'faults', 'files', 'films', 'pixels']"
