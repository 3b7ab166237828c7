"""A film whose end is zeros, as in a file that was being written, is refused."""

from __future__ import annotations

import pytest

from compressed_streams import SHARES, STREAMS, MakeDicom, Stream, refused

# OpenJPEG takes zeros for packets without content.
ZEROS_ARE_SEEN = [name for name in STREAMS if not name.startswith("JPEG 2000")]


@pytest.mark.parametrize("share", SHARES)
@pytest.mark.parametrize("name", ZEROS_ARE_SEEN)
def test_a_stream_of_which_the_end_is_zeros_is_not_readable(
    name: str, share: float, streams: dict[str, Stream], make_dicom: MakeDicom
) -> None:
    stream = streams[name]
    assert refused(stream.in_dicom(make_dicom, stream.zeroed(share))) == "NOT_READABLE"


@pytest.mark.parametrize("name", STREAMS)
def test_zeros_up_to_the_end_of_the_file_are_not_readable(
    name: str, streams: dict[str, Stream], make_dicom: MakeDicom
) -> None:
    stream = streams[name]
    encoded = stream.in_dicom(make_dicom)
    half = encoded.index(stream.encoded[:64]) + sum(stream.data) // 2
    assert refused(encoded[:half] + bytes(len(encoded) - half)) == "NOT_READABLE"
