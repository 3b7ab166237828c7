"""A spool whose disk is full or read-only: films come again later, and nothing is left half."""

from __future__ import annotations

import pytest

from cxrclient.node import NodeOptions
from cxrclient.node.spool import room
from cxrclient.node.spool.arrival import arrival_of
from cxrclient.node.spool.look import spool_status
from cxrclient.node.spool.spool import Spool
from cxrclient.node.watch.drift import Drift
from cxrclient.node.watch.metrics import Metrics
from dicom_senders import kept, noted
from small_disks import read_only, small_disk

__all__ = ["small_disk"]  # a fixture


@pytest.fixture
def megabytes(tmp_path, drawn_film, write_dicom):
    """Writes films of 1 MB, each with a UID of its own."""
    pixels = drawn_film(rows=720, columns=720)
    uids = {"StudyInstanceUID": "1.2.3", "SeriesInstanceUID": "1.2.3.4"}

    def write(*numbers):
        return [write_dicom(tmp_path / f"{n}.dcm", pixels, **uids) for n in numbers]

    return write


def _all_whole(spool, count):
    assert len(kept(spool)) == count, "neither less than what was acknowledged, nor more"
    for path in kept(spool):
        assert arrival_of(path.read_bytes()).uid == path.stem


@pytest.mark.parametrize(("min_free", "code"), [(0, "SPOOL_FAILED"), (2_000_000, "LOW_DISK")])
def test_on_a_full_disk_films_are_put_off_and_it_recovers(
    small_disk, megabytes, listen, sender, monkeypatch, min_free, code
):
    monkeypatch.setattr(room, "RESULTS_BYTES", 0)  # else 14 MB are too few for films that wait
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(8_000_000))
    with Spool(small_disk / "spool", min_free_bytes=min_free) as spool:
        listener = listen(spool)
        films = megabytes(*range(7))
        answers = sender(listener).store(*films)
        taken = [answer.Status for answer in answers].count(0x0000)
        refused = answers[taken:]
        assert 0 < taken < 7
        assert {answer.Status for answer in refused} == {0xA700}
        assert {answer.ErrorComment.split(":")[0] for answer in refused} == {code}
        _all_whole(spool, taken)
        assert sender(listener).store(films[0])[0].Status == 0x0000, "it is here already"

        ballast.unlink()
        assert [each.Status for each in sender(listener).store(*films)] == [0x0000] * 7
        _all_whole(spool, 7)
        if min_free:
            assert {said for said, _ in noted(spool)} == {code}
        listener.stop(10)


def test_on_a_read_only_disk_films_are_put_off_and_it_recovers(
    small_disk, megabytes, listen, sender
):
    with Spool(small_disk / "spool", min_free_bytes=0) as spool:
        listener = listen(spool)
        first, second = megabytes(1, 2)
        assert sender(listener).store(first)[0].Status == 0x0000
        with read_only(spool.folder / "films"):  # the whole disk cannot: the rows' file is open
            answers = sender(listener).store(second, first)
            assert [answer.Status for answer in answers] == [0xA700, 0x0000]
            assert answers[0].ErrorComment.startswith("SPOOL_FAILED")
            assert [code for code, _ in noted(spool)] == ["SPOOL_FAILED"]
        _all_whole(spool, 1)
        assert sender(listener).store(second)[0].Status == 0x0000
        _all_whole(spool, 2)
        listener.stop(10)


def test_a_disk_without_a_byte_left_is_told_by_metrics_and_status(
    small_disk, megabytes, listen, sender
):
    with Spool(small_disk / "spool", min_free_bytes=2_000_000) as spool:
        listener = listen(spool)
        options = NodeOptions(spool.folder, (), "localhost:1")
        metrics = Metrics(options, spool, Drift(spool, None))
        refused = 'cxr_node_refused_total{code="LOW_DISK"}'
        assert f"{refused} 0.0" in metrics.text({}).decode()
        ballast = small_disk / "ballast"
        with pytest.raises(OSError, match="No space left"):
            ballast.write_bytes(bytes(15_000_000))
        films = megabytes(1, 2, 3)
        assert [each.Status for each in sender(listener).store(*films)] == [0xA700] * 3
        assert f"{refused} 3.0" in metrics.text({}).decode()
        (seen,) = spool_status(spool.folder)["trouble"]
        assert (seen["what"], seen["code"]) == ("spool", "SPOOL_FAILED")

        ballast.unlink()
        assert sender(listener).store(films[0])[0].Status == 0x0000
        assert f"{refused} 3.0" in metrics.text({}).decode()
        assert [code for code, _ in noted(spool)] == ["LOW_DISK"] * 3
        listener.stop(10)
