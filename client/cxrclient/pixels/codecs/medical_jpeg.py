"""The JPEGs of medicine, which OpenCV does not read: 12 bits, lossless, JPEG-LS.

Extended JPEG in 12 bits (process 4) is not left to pydicom: it refuses GDCM for it altogether, and
the one plugin that it offers instead is under the GPL. GDCM decodes it rightly where it is told
that the words have 12 bits.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from cxrclient.pixels.codecs.claims import Claim, bare_jpeg
from cxrclient.pixels.codecs.jpeg_words import means_damage
from cxrclient.pixels.worker import in_worker

_EXTENDED_BITS = 12
_LOSSLESS, _JPEG_LS = 0xC3, 0xF7  # frame headers SOF3 and SOF55
_ONLY_MEDICAL = (_LOSSLESS, _JPEG_LS)
_JPEG_LS_SYNTAX = "1.2.840.10008.1.2.4.81"  # near-lossless, as lossless is a kind of it


def is_medical(claim: Claim) -> bool:
    """Tell whether a JPEG is one of those that only medicine uses."""
    return claim.process in _ONLY_MEDICAL or claim.bits > 8


def is_lossless(claim: Claim) -> bool:
    """Tell whether a JPEG's process loses nothing (or, near-lossless JPEG-LS, next to nothing)."""
    return claim.process in _ONLY_MEDICAL


def decode_medical(stream: bytes, claim: Claim) -> npt.NDArray[np.uint8] | npt.NDArray[np.uint16]:
    """Decode one grey JPEG that `is_medical` to unsigned [rows, columns].

    Args:
        stream: the JPEG.
        claim: what it says of itself.

    Raises:
        Exception: whatever the decoder raises where the stream is damaged.
    """
    if claim.samples != 1 or (claim.process not in _ONLY_MEDICAL and claim.bits != _EXTENDED_BITS):
        raise ValueError("not a grey image, or of other bits than its process has")
    # GDCM ends the process over a JFIF segment that it does not understand, and of a stream that is
    # cut off it gives an image, and says so aloud.
    bare = bare_jpeg(stream)
    work = _by_charls if claim.process == _JPEG_LS else _by_gdcm
    words = in_worker(work, bare, claim, refuse=lambda said: means_damage(said, bare))
    shape = (claim.height, claim.width)
    if claim.bits <= 8:
        return words.view(np.uint8).reshape(shape)
    return words.view("<u2").reshape(shape).astype(np.uint16, copy=False)


def _by_charls(stream: bytes, claim: Claim) -> npt.NDArray[np.uint8]:
    from cxrclient.pixels.pydicom_parts import encapsulate, get_decoder

    decoded, _ = get_decoder(_JPEG_LS_SYNTAX).as_buffer(
        encapsulate([bytes(stream)]),
        index=0,
        decoding_plugin="pyjpegls",
        pixel_keyword="PixelData",
        photometric_interpretation="MONOCHROME2",
        samples_per_pixel=1,
        number_of_frames=1,
        pixel_representation=0,
        rows=claim.height,
        columns=claim.width,
        bits_allocated=8 if claim.bits <= 8 else 16,
        bits_stored=claim.bits,
    )
    return np.frombuffer(decoded, np.uint8)


def _by_gdcm(stream: bytes, claim: Claim) -> npt.NDArray[np.uint8]:
    """Decode lossless JPEG, or extended JPEG in 12 bits, without the copies that pydicom makes."""
    import gdcm  # type: ignore[import-untyped]

    if claim.process == _LOSSLESS:
        syntax, allocated = gdcm.TransferSyntax.JPEGLosslessProcess14, 8 if claim.bits <= 8 else 16
    else:
        # Words of 16 bits work too, but GDCM then tries its 16-bit decoder first and complains.
        syntax, allocated = gdcm.TransferSyntax.JPEGExtendedProcess2_4, _EXTENDED_BITS
    fragment = gdcm.Fragment()
    fragment.SetByteStringValue(bytes(stream))
    fragments = gdcm.SequenceOfFragments.New()
    fragments.AddFragment(fragment)
    element = gdcm.DataElement(gdcm.Tag(0x7FE0, 0x0010))
    element.SetValue(fragments.__ref__())
    image = gdcm.Image()
    image.SetNumberOfDimensions(2)
    image.SetDimensions((claim.width, claim.height, 1))
    image.SetDataElement(element)
    grey = gdcm.PhotometricInterpretation.MONOCHROME2
    image.SetPhotometricInterpretation(gdcm.PhotometricInterpretation(grey))
    image.SetTransferSyntax(gdcm.TransferSyntax(syntax))
    image.SetPixelFormat(gdcm.PixelFormat(1, allocated, claim.bits, claim.bits - 1, 0))
    # GDCM's binding gives char* as str.
    return np.frombuffer(image.GetBuffer().encode("utf-8", "surrogateescape"), np.uint8)
