"""The client against the real server: answers, order, bad films, films in flight."""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections import defaultdict

import cv2
import numpy as np
import pydicom
import pytest
from PIL import Image

from cxrclient import (
    AsyncCxrClient,
    CxrClient,
    FilmError,
    Prediction,
)
from cxrclient.films.geometry import sampled_on_film
from cxrclient.wire.slots import Slots
from waiting import HANG_S, eventually


@pytest.fixture(scope="module")
def cxr(triton_server):
    with CxrClient(triton_server.grpc_address, jobs=4) as client:
        yield client


def test_the_server_tells_what_it_serves(cxr, triton_server):
    from cxrexport.ensemble import DEFAULT_MEMBERS

    info = cxr.model
    assert len(info.digest) == len(info.preprocessing_digest) == 64
    assert info.members == DEFAULT_MEMBERS
    assert 0 < info.threshold < 1
    assert info.notice
    assert info.name


def test_a_prediction_is_whole(cxr, real_film):
    path = real_film("RG1_UNCR.dcm")
    prediction = cxr.predict(path)
    info = cxr.model
    assert prediction.path == str(path)
    assert prediction.film_id.startswith("1.3.6.1.4.1.5962.1.1.9.1.1")
    assert prediction.label == info.labels[prediction.probability > info.threshold]
    assert tuple(prediction.members) == info.members
    assert prediction.probability == pytest.approx(np.mean(list(prediction.members.values())))
    assert prediction.votes == sum(p > 0.5 for p in prediction.members.values())
    assert prediction.embedding.shape == (info.embedding_size,)
    assert prediction.embedding.dtype == np.float32
    assert 0 <= prediction.lung_fraction <= 1
    assert "POLARITY_TURNED" in prediction.flags
    assert prediction.model.digest == info.digest
    assert prediction.latency_ms > 0
    assert prediction.lungs is prediction.cxr is None


def test_maps_come_when_asked_for_and_fit_the_film(cxr, real_film):
    from cxrclient.pages import render

    prediction = cxr.predict(real_film("RG1_UNCR.dcm"), maps=True)
    size = cxr.model.image_size_px
    assert prediction.lungs.shape == prediction.cxr.shape == (size, size)
    assert prediction.heatmap.shape == (size // 32, size // 32)
    mask = render.lung_mask(prediction.lungs, prediction.geometry, size)
    assert mask.shape == (1955, 1841)
    assert prediction.lung_fraction == pytest.approx(mask.mean(), abs=0.001)


def test_client_and_exporter_put_the_servers_lungs_at_the_same_place(cxr, real_film):
    from cxrexport.preprocessing import PreprocessingSpec, preprocess

    film = real_film("RG1_J2KI.dcm")
    prediction = cxr.predict(film, maps=True)
    size = cxr.model.image_size_px
    prepared = preprocess(film.read_bytes(), PreprocessingSpec(size_px=size))
    theirs = prepared.geometry.to_film(prediction.lungs)
    ours = sampled_on_film(prediction.lungs, prediction.geometry, size)
    assert (np.abs(ours - theirs) > 1e-3).mean() < 1e-3


def test_bytes_and_their_path_get_the_same_answer(cxr, films):
    by_path, by_bytes = cxr.predict(films[0]), cxr.predict(films[0].read_bytes())
    assert by_bytes.probability == by_path.probability
    assert by_bytes.path is None
    assert by_bytes.film_id == by_path.film_id


def test_many_films_come_in_order_and_as_one_by_one(cxr, films):
    together = list(cxr.predict_many(films))
    assert [prediction.path for prediction in together] == [str(path) for path in films]
    for path, prediction in zip(films, together, strict=True):
        alone = cxr.predict(path)
        assert prediction.probability == pytest.approx(alone.probability, abs=1e-5)
        apart = np.linalg.norm(prediction.embedding - alone.embedding)
        assert apart <= 1e-3 * np.linalg.norm(alone.embedding)


def test_dicom_and_png_of_the_same_pixels_get_the_same_answer(
    cxr, tmp_path, drawn_film, write_dicom
):
    pixels = drawn_film(7)
    pixels[0, :2] = 0, 4095  # both kinds of file then say the same of black and white
    png = cv2.imencode(".png", pixels)[1].tobytes()
    dicom = cxr.predict(write_dicom(tmp_path / "a.dcm", pixels))
    assert cxr.predict(png).probability == pytest.approx(dicom.probability, abs=1e-5)


def test_a_film_in_memory_gets_the_answer_of_its_file(cxr, films, drawn_film):
    png = cv2.imencode(".png", drawn_film(3))[1].tobytes()
    of_file, of_png = cxr.predict(films[3]), cxr.predict(png)
    array = drawn_film(3)
    held = [pydicom.dcmread(films[3]), array, Image.fromarray(array), array * 2.5 - 7]
    with films[3].open("rb") as file:
        data_set, *pictures, opened = cxr.predict_many([*held, file])
    for given in (data_set, opened):
        assert (given.film_id, given.path) == (of_file.film_id, str(films[3]))
        assert given.probability == pytest.approx(of_file.probability, abs=1e-5)
    for given in pictures:
        assert given.probability == pytest.approx(of_png.probability, abs=1e-4)
    assert data_set.film.view == "PA"
    with pytest.raises(FilmError) as error:
        cxr.predict(np.full((90, 90), 7, np.uint8))
    assert (error.value.code, error.value.record()["path"]) == ("CONSTANT", None)


@pytest.fixture(scope="module")
def bad_films(tmp_path_factory, drawn_film, write_dicom):
    """Every kind of bad film of the issue, and the code that it must get."""
    folder = tmp_path_factory.mktemp("bad")
    pixels = drawn_film(rows=120, columns=100)
    good = write_dicom(folder / "good.dcm", pixels).read_bytes()
    colour = np.dstack([pixels >> 4] * 3).astype(np.uint8)
    colour[..., 0] //= 2
    files = {
        "empty.dcm": b"",
        "truncated.dcm": good[: len(good) * 2 // 3],
        "text.dcm": b"this is a letter, not a film\n" * 20,
        "cut.png": cv2.imencode(".png", pixels)[1].tobytes()[:-20],
        "damaged.png": _damaged(cv2.imencode(".png", pixels)[1].tobytes()),
        "colour.png": cv2.imencode(".png", colour)[1].tobytes(),
        "constant.png": cv2.imencode(".png", np.full((90, 90), 7, np.uint8))[1].tobytes(),
        "zeros.png": cv2.imencode(".png", np.zeros((90, 90), np.uint16))[1].tobytes(),
    }
    for name, data in files.items():
        (folder / name).write_bytes(data)
    write_dicom(folder / "no_pixels.dcm", PixelData=None)
    frames = np.stack([pixels, pixels])
    write_dicom(folder / "frames.dcm", frames, NumberOfFrames=2, Rows=120, Columns=100)
    write_dicom(
        folder / "rgb.dcm",
        colour,
        SamplesPerPixel=3,
        PhotometricInterpretation="RGB",
        PlanarConfiguration=0,
        BitsStored=8,
        HighBit=7,
    )
    write_dicom(folder / "constant.dcm", np.full((90, 90), 9, np.uint16))
    write_dicom(folder / "huge_claim.dcm", pixels, Rows=60000, Columns=60000)
    codes = {
        **dict.fromkeys(("empty.dcm", "truncated.dcm", "text.dcm"), "NOT_READABLE"),
        **dict.fromkeys(("cut.png", "damaged.png"), "NOT_READABLE"),
        **dict.fromkeys(("colour.png", "rgb.dcm"), "COLOUR"),
        **dict.fromkeys(("constant.png", "zeros.png", "constant.dcm"), "CONSTANT"),
        "no_pixels.dcm": "NO_PIXELS",
        "frames.dcm": "MULTI_FRAME",
        "huge_claim.dcm": "TOO_LARGE",
    }
    return {folder / name: code for name, code in codes.items()}


def _damaged(png):
    middle = len(png) // 2
    return png[:middle] + bytes(b ^ 0xFF for b in png[middle : middle + 30]) + png[middle + 30 :]


def test_each_bad_film_has_its_code_and_costs_no_other_film_its_answer(cxr, bad_films, films):
    mixed = list(itertools.chain.from_iterable(zip(bad_films, itertools.cycle(films))))
    results = list(cxr.predict_many(mixed))
    codes = {result.path: result.code for result in results[::2]}
    assert codes == {str(path): code for path, code in bad_films.items()}
    assert {result.status for result in results[::2]} == {"rejected"}
    assert all(isinstance(result, Prediction) for result in results[1::2])
    for error in results[::2]:
        assert not error.retriable
        assert error.message[0].isupper() or error.message[0].isdigit()
        assert error.message.endswith(".")


def test_a_file_that_cannot_be_read_fails_and_the_others_do_not(cxr, films, tmp_path):
    missing, good = cxr.predict_many([tmp_path / "missing.dcm", films[0]])
    assert (missing.status, missing.code) == ("failed", "FILE_UNREADABLE")
    assert isinstance(good, Prediction)


def test_predict_raises_what_predict_many_yields(cxr, tmp_path):
    (tmp_path / "a.dcm").touch()
    with pytest.raises(FilmError) as error:
        cxr.predict(tmp_path / "a.dcm")
    assert error.value.path == str(tmp_path / "a.dcm")


def test_an_error_among_the_sources_comes_out_in_its_place(cxr, films):
    error = FilmError("FOLDER_UNREADABLE", "no", status="failed", path="x")
    results = list(cxr.predict_many([films[0], error, films[1]]))
    assert results[1] is error
    assert [result.path for result in results] == [str(films[0]), "x", str(films[1])]


def test_an_endless_walk_is_read_only_as_far_as_needed(cxr, films):
    asked = itertools.count()

    def walk():
        for number in asked:
            yield films[0] if number % 2 else b""

    results = cxr.predict_many(walk())
    for _ in range(5):
        next(results)
    results.close()
    assert next(asked) <= 5 + 2 * 4


@pytest.fixture
def calls_of(monkeypatch):
    """Counts the requests that gRPC has under way by client, whether anybody waits or not.

    Films that an earlier test left on another client's line still end in this process, so each
    client's requests are counted apart.
    """
    from cxrclient.wire.connection import Connection

    counts = defaultdict(lambda: {"now": 0, "most": 0, "all": 0})
    real = Connection.infer

    async def counted(self, *arguments):
        mine = counts[self]
        mine["now"] += 1
        mine["all"] += 1
        mine["most"] = max(mine["most"], mine["now"])
        try:
            return await real(self, *arguments)
        finally:
            mine["now"] -= 1

    monkeypatch.setattr(Connection, "infer", counted)
    return lambda client: counts[client._async._transport]


def test_no_more_films_are_in_flight_than_jobs(triton_server, films, calls_of):
    with CxrClient(triton_server.grpc_address, jobs=2) as client:
        calls = calls_of(client)
        assert len(list(client.predict_many(films))) == len(films)
    assert (calls["most"], calls["all"]) == (2, len(films))


def test_a_film_whose_time_ran_out_holds_its_place_until_the_server_is_done_with_it(
    wire, films, calls_of
):
    with CxrClient(wire.address, jobs=2, timeout_s=2) as client:
        calls = calls_of(client)
        wire.hold()
        results = list(client.predict_many(films))
        assert [result.code for result in results] == ["TIMEOUT"] * 2 + ["SERVER_BUSY"] * 4
        assert all(result.status == "failed" and result.retriable for result in results)
        assert [result.path for result in results] == [str(path) for path in films]
        assert calls["all"] == 2
        wire.flow()
        eventually(lambda: any(isinstance(r, Prediction) for r in client.predict_many(films[:1])))
    assert calls["most"] == 2


def test_a_line_that_moves_is_waited_in_for_longer_than_one_film_may_take():
    async def run():
        slots = Slots(1, patience_s=2)

        async def hold():
            async with slots.slot():
                await asyncio.sleep(0.5)

        await asyncio.gather(*(hold() for _ in range(6)))  # the last one waits 2.5 s and more

    asyncio.run(run())


def test_who_leaves_the_line_takes_no_place_with_him():
    async def run():
        slots = Slots(1, patience_s=60)
        async with slots.slot():
            waiting = [asyncio.create_task(slots.slot().__aenter__()) for _ in range(3)]
            await asyncio.sleep(0)
            waiting[0].cancel()
        waiting[1].cancel()  # in the same turn in which the place falls to it
        await asyncio.wait_for(waiting[2], HANG_S)

    asyncio.run(run())


def test_the_asynchronous_client_gives_the_same(triton_server, films, cxr):
    async def run():
        async with AsyncCxrClient(triton_server.grpc_address, jobs=2) as client:
            many = [result async for result in client.predict_many([films[0], b"", films[1]])]
            return many, await client.predict(films[0])

    many, one = asyncio.run(run())
    assert [getattr(result, "code", "ok") for result in many] == ["ok", "NOT_READABLE", "ok"]
    assert many[0].probability == pytest.approx(one.probability, abs=1e-5)


def test_a_client_may_be_used_from_several_threads(cxr, films):
    answers = {}

    def ask(number):
        answers[number] = cxr.predict(films[number]).path

    threads = [threading.Thread(target=ask, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == {n: str(films[n]) for n in range(4)}
