"""The client against the real server: answers, order, bad films, lost servers."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest

from cxrclient import (
    AsyncCxrClient,
    CxrClient,
    FilmError,
    Prediction,
    ServerUnfit,
    ServerUnreachable,
    UsageError,
)
from cxrclient._geometry import sampled_on_film
from cxrclient._slots import Slots
from cxrclient.embedded import EmbeddedServer


@pytest.fixture(scope="module")
def cxr(triton_server):
    with CxrClient(triton_server.grpc_address, jobs=4) as client:
        yield client


@pytest.fixture(scope="module")
def films(tmp_path_factory, drawn_film, write_dicom):
    """Six drawn films, different sizes."""
    folder = tmp_path_factory.mktemp("films")
    return [
        write_dicom(folder / f"{n}.dcm", drawn_film(n, rows=200 + 10 * n, columns=180))
        for n in range(6)
    ]


def test_the_server_tells_what_it_serves(cxr, triton_server):
    from cxrexport.repository import MEMBERS

    info = cxr.model
    assert len(info.digest) == len(info.preprocessing_digest) == 64
    assert info.members == MEMBERS
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
    from cxrclient import render

    prediction = cxr.predict(real_film("RG1_UNCR.dcm"), maps=True)
    size = cxr.model.image_size_px
    assert prediction.lungs.shape == prediction.cxr.shape == (size, size)
    assert prediction.heatmap.shape == (size // 32, size // 32)
    mask = render.lung_mask(prediction.lungs, prediction.geometry, size)
    assert mask.shape == (1955, 1841)
    assert prediction.lung_fraction == pytest.approx(mask.mean(), abs=0.001)


def test_client_and_exporter_put_the_servers_lungs_at_the_same_place(cxr, real_film):
    from cxrexport.preprocessing import Geometry

    prediction = cxr.predict(real_film("RG1_J2KI.dcm"), maps=True)
    size = cxr.model.image_size_px
    theirs = Geometry.from_array(prediction.geometry, size).to_film(prediction.lungs)
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
def most_calls(monkeypatch):
    """Counts the requests of this process that gRPC has under way, whether anybody waits or not."""
    from tritonclient.grpc.aio import InferenceServerClient

    counts = {"now": 0, "most": 0, "all": 0}
    real = InferenceServerClient.infer

    async def counted(self, *arguments, **options):
        counts["now"] += 1
        counts["all"] += 1
        counts["most"] = max(counts["most"], counts["now"])
        try:
            return await real(self, *arguments, **options)
        finally:
            counts["now"] -= 1

    monkeypatch.setattr(InferenceServerClient, "infer", counted)
    return counts


def test_no_more_films_are_in_flight_than_jobs(triton_server, films, most_calls):
    with CxrClient(triton_server.grpc_address, jobs=2) as client:
        assert len(list(client.predict_many(films))) == len(films)
    assert (most_calls["most"], most_calls["all"]) == (2, len(films))


def test_a_film_whose_time_ran_out_holds_its_place_until_the_server_is_done_with_it(
    wire, films, most_calls
):
    with CxrClient(wire.address, jobs=2, timeout_s=2) as client:
        wire.hold()
        results = list(client.predict_many(films))
        assert [result.code for result in results] == ["TIMEOUT"] * 2 + ["SERVER_BUSY"] * 4
        assert all(result.status == "failed" and result.retriable for result in results)
        assert [result.path for result in results] == [str(path) for path in films]
        assert most_calls["all"] == 2
        wire.flow()
        later = client.predict_many(films[0] for _ in range(30) if not time.sleep(0.2))
        assert any(isinstance(result, Prediction) for result in later)
    assert most_calls["most"] == 2


def test_a_line_that_moves_is_waited_in_for_longer_than_one_film_may_take():
    async def run():
        slots = Slots(1, patience_s=0.3)

        async def hold():
            async with slots.slot():
                await asyncio.sleep(0.1)

        await asyncio.gather(*(hold() for _ in range(8)))

    asyncio.run(run())


def test_who_leaves_the_line_takes_no_place_with_him():
    async def run():
        slots = Slots(1, patience_s=60)
        async with slots.slot():
            waiting = [asyncio.create_task(slots.slot().__aenter__()) for _ in range(3)]
            await asyncio.sleep(0)
            waiting[0].cancel()
        waiting[1].cancel()  # in the same turn in which the place falls to it
        await asyncio.wait_for(waiting[2], 5)

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


def test_no_server_names_the_command_that_starts_one(free_address):
    with pytest.raises(ServerUnreachable, match=r"cxrclient serve") as error:
        CxrClient(free_address)
    assert free_address in str(error.value)
    assert error.value.retriable


def test_the_http_port_is_not_taken_for_a_server(triton_server):
    with pytest.raises((ServerUnreachable, ServerUnfit), match="gRPC port"):
        CxrClient(triton_server.http_address)


@pytest.mark.parametrize(
    ("model", "what"), [("nowhere", "without a model"), ("segment", "lacks 'labels'")]
)
def test_a_server_without_our_ensemble_is_unfit(model, what, triton_server, monkeypatch):
    monkeypatch.setattr("cxrclient._transport.ENSEMBLE", model)
    with pytest.raises(ServerUnfit, match=what) as error:
        CxrClient(triton_server.grpc_address)
    assert "cxrexport build" in error.value.message


@pytest.mark.parametrize(
    "address", ["http://localhost:8000", "localhost:port", "localhost:99999", ":8001", ""]
)
def test_what_is_no_address_is_wrong_usage(address):
    with pytest.raises(UsageError, match="HOST:PORT"):
        CxrClient(address)


def test_a_slow_answer_is_a_timeout_of_that_film(wire, films):
    with CxrClient(wire.address, timeout_s=0.6) as client:
        wire.hold()
        started = time.perf_counter()
        with pytest.raises(FilmError) as error:
            client.predict(films[0])
        assert time.perf_counter() - started < 5
        wire.flow()
    assert (error.value.status, error.value.code) == ("failed", "TIMEOUT")
    assert error.value.retriable


def test_an_answer_that_nobody_waits_for_is_not_cancelled(triton_server, films):
    """Triton 2.51 may hang for everybody when a request is cancelled."""
    before = _cancelled(triton_server)
    jobs = 2 * len(films)  # none waits for another one's place
    with CxrClient(triton_server.grpc_address, jobs=jobs, timeout_s=0.002) as client:
        for film in films:
            with pytest.raises(FilmError, match="No answer within"):
                client.predict(film)
        results = client.predict_many(films)
        next(results)
        results.close()
    assert _cancelled(triton_server) == before


@pytest.fixture
def held_film(wire, films, monkeypatch):
    """A client, and the future of a film that is on its way to a server that does not answer."""
    monkeypatch.setattr("cxrclient._transport.DRAIN_AT_LEAST_S", 0.0)
    client = CxrClient(wire.address, timeout_s=60)
    wire.hold()
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(client.predict, films[0])
        while not client._async._transport._calls:
            time.sleep(0.01)
        yield client, future
        wire.flow()


def test_closing_waits_for_films_in_flight(held_film, wire):
    client, future = held_film
    timer = threading.Timer(1.0, wire.flow)
    timer.start()
    client.close()
    assert not timer.is_alive()
    assert isinstance(future.result(5), Prediction)


def test_an_interrupt_while_closing_closes_at_once(held_film):
    client, future = held_film
    main = threading.main_thread().ident
    threading.Timer(0.5, signal.pthread_kill, [main, signal.SIGINT]).start()
    started = time.perf_counter()
    with pytest.raises(KeyboardInterrupt):
        client.close()
    assert time.perf_counter() - started < 5
    assert future.exception(5)


def test_a_closed_client_sends_nothing_and_says_so(triton_server, films):
    client = CxrClient(triton_server.grpc_address)
    client.close()
    with pytest.raises(UsageError, match="closed"):
        client.predict(films[0])


def _cancelled(server):
    """Requests that the server counts as cancelled, over all models."""
    with urllib.request.urlopen(f"http://{server.metrics_address}/metrics") as answer:
        text = answer.read().decode()
    counts = re.findall(r'request_failure\{.*reason="CANCELED".*\} (\d+)', text)
    assert counts
    return sum(map(int, counts))


def test_a_server_lost_on_the_way_fails_the_rest_each_by_itself(wire, films):
    with CxrClient(wire.address, jobs=2) as client:
        results = client.predict_many(films)
        first = next(results)
        wire.cut()
        rest = list(results)
    assert isinstance(first, Prediction)
    assert len(rest) == len(films) - 1
    lost = [result for result in rest if isinstance(result, FilmError)]
    assert isinstance(rest[-1], FilmError)
    assert {(error.code, error.status, error.retriable) for error in lost} == {
        ("SERVER_UNREACHABLE", "failed", True)
    }
    assert [result.path for result in rest] == [str(path) for path in films[1:]]


def test_a_server_that_is_back_is_found_again(wire, films):
    with CxrClient(wire.address) as client:
        wire.cut()
        with pytest.raises(FilmError):
            client.predict(films[0])
        wire.mend()
        later = (films[0] for _ in range(30) if not time.sleep(0.2))
        assert any(isinstance(result, Prediction) for result in client.predict_many(later))


@pytest.mark.parametrize("way", ["cut", "hold"])
def test_a_server_lost_while_it_is_asked_what_it_serves_is_unreachable(way, wire, monkeypatch):
    monkeypatch.setattr("cxrclient._transport.CONNECT_TIMEOUT_S", 1.0)

    async def run():
        async with AsyncCxrClient(wire.address) as client:
            getattr(wire, way)()
            with pytest.raises(ServerUnreachable):
                await client._transport.configuration()
            wire.flow()

    asyncio.run(run())


@pytest.fixture
def other_server(triton_server, tmp_path):
    """A second server: the same graphs under other labels and another digest."""
    repository = tmp_path / "other"
    shutil.copytree(triton_server.repository, repository, copy_function=os.link)
    for config in repository.glob("cxr/**/*.pbtxt"):
        text = config.read_text()
        config.unlink()  # it is a link
        info = json.loads((repository / "repository.json").read_text())
        text = text.replace(info["model_digest"], "f" * 64).replace("covid", "measles")
        config.write_text(text)
    with EmbeddedServer(repository, device="cpu") as server:
        yield server


def test_another_model_behind_the_same_address_is_noticed_with_the_next_film(
    other_server, wire, films
):
    with CxrClient(wire.address) as client:
        before = client.predict(films[0])
        wire.cut()
        wire.lead_to(other_server.grpc_address)
        wire.mend()
        time.sleep(2)  # gRPC reconnects by itself, and no film meets the gap
        after = client.predict(films[0])
        assert client.model.labels == ("non-measles", "measles")
    assert (before.model.digest == after.model.digest, after.model.digest) == (False, "f" * 64)
    assert after.label == before.label.replace("covid", "measles")


def run_python(code, **environment):
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=120,
        env={"PATH": "/usr/bin:/bin", **environment},
    )


@pytest.mark.parametrize("ending", ["client.close()", "", "results.close()", "next(results)"])
def test_a_process_ends_without_noise_however_it_leaves_the_client(ending, triton_server, films):
    code = f"""
from cxrclient import CxrClient
client = CxrClient({triton_server.grpc_address!r})
results = client.predict_many([{str(films[0])!r}] * 4)
print(next(results).path)
{ending}
"""
    done = run_python(code)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_proxy_of_the_environment_is_not_asked_for_this_machine(triton_server):
    code = f"from cxrclient import CxrClient; CxrClient({triton_server.grpc_address!r}).close()"
    proxy = "http://127.0.0.1:9"
    done = run_python(code, http_proxy=proxy, https_proxy=proxy, grpc_proxy=proxy)
    assert (done.returncode, done.stderr) == (0, "")


def test_no_patient_data_reaches_the_wire(wire, tmp_path, write_dicom):
    path = write_dicom(tmp_path / "zorn.dcm", PatientName="Zorn^Secret", PatientID="ZORN-77")
    with CxrClient(wire.address) as client:
        film_id = client.predict(path).film_id
    assert len(wire.sent) > path.stat().st_size // 2
    assert b"zorn" not in bytes(wire.sent).lower()
    assert film_id.encode() not in bytes(wire.sent)
