"""The line to the server: addresses, time-outs, its loss and return, and how a client leaves it."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor

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
from cxrclient.serving.embedded import EmbeddedServer
from linked_copy import linked_copy
from waiting import eventually

HANG_S = 600  # only a hang takes so long, whatever else the machine does


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
    monkeypatch.setattr("cxrclient.wire.connection.ENSEMBLE", model)
    with pytest.raises(ServerUnfit, match=what) as error:
        CxrClient(triton_server.grpc_address)
    assert "cxrexport build" in error.value.message


@pytest.mark.parametrize(
    "address", ["http://localhost:8000", "localhost:port", "localhost:99999", ":8001", ""]
)
def test_what_is_no_address_is_wrong_usage(address):
    with pytest.raises(UsageError, match="HOST:PORT"):
        CxrClient(address)


def test_an_answer_larger_than_any_is_the_servers_fault_and_read_no_further(
    triton_server, films, monkeypatch
):
    monkeypatch.setattr("cxrclient.wire.connection.LARGEST_ANSWER_BYTES", 100_000)
    with CxrClient(triton_server.grpc_address) as client, pytest.raises(FilmError) as error:
        client.predict(films[0])  # with a lung map of 400 kB
    assert (error.value.code, error.value.status) == ("BAD_ANSWER", "failed")
    assert "larger than any answer" in error.value.message


def test_a_slow_answer_is_a_timeout_of_that_film(wire, films):
    with CxrClient(wire.address, timeout_s=0.6) as client:
        wire.hold()  # there will be no answer: without a limit this would never end
        with pytest.raises(FilmError) as error:
            client.predict(films[0])
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
    monkeypatch.setattr("cxrclient.wire.transport.DRAIN_AT_LEAST_S", 0.0)
    client = CxrClient(wire.address, timeout_s=HANG_S)
    wire.hold()
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(client.predict, films[0])
        eventually(lambda: client._async._transport._calls)
        yield client, future
        wire.flow()


def test_closing_waits_for_films_in_flight(held_film, wire):
    client, future = held_film
    flows = threading.Event()
    threading.Timer(1.0, lambda: (flows.set(), wire.flow())).start()
    client.close()
    assert flows.is_set()
    assert isinstance(future.result(HANG_S), Prediction)


def test_an_interrupt_while_closing_closes_at_once(held_film):
    client, future = held_film
    main = threading.main_thread().ident
    threading.Timer(0.5, signal.pthread_kill, [main, signal.SIGINT]).start()
    started = time.perf_counter()
    with pytest.raises(KeyboardInterrupt):
        client.close()
    # Who waited for the film would have waited for its HANG_S.
    assert time.perf_counter() - started < HANG_S / 2
    assert future.exception(HANG_S)


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
        before = len(wire.sent)
        client.predict(films[0])
        of_one_film = len(wire.sent) - before
        wire.cut_after(of_one_film * 7 // 2)
        results = list(client.predict_many(films))
    assert [result.path for result in results] == [str(path) for path in films]
    lost = [result for result in results if isinstance(result, FilmError)]
    # Two at a time: who sends half of the fourth film has the answers to two, and not to the last.
    assert 2 <= len(results) - len(lost) <= 3
    assert isinstance(results[-1], FilmError)
    assert {(error.code, error.status, error.retriable) for error in lost} == {
        ("SERVER_UNREACHABLE", "failed", True)
    }


def test_a_server_that_is_back_is_found_again(wire, films):
    with CxrClient(wire.address) as client:
        wire.cut()
        with pytest.raises(FilmError):
            client.predict(films[0])
        wire.mend()
        eventually(lambda: any(isinstance(r, Prediction) for r in client.predict_many(films[:1])))


@pytest.mark.parametrize("way", ["cut", "hold"])
def test_a_server_lost_while_it_is_asked_what_it_serves_is_unreachable(way, wire, monkeypatch):
    async def run():
        async with AsyncCxrClient(wire.address) as client:
            monkeypatch.setattr("cxrclient.wire.connection.CONNECT_TIMEOUT_S", 1.0)
            getattr(wire, way)()
            with pytest.raises(ServerUnreachable):
                await client._transport.configuration()
            wire.flow()

    asyncio.run(run())


@pytest.fixture
def other_server(triton_server, tmp_path):
    """A second server: the same graphs under other labels and another digest."""
    repository = tmp_path / "other"
    linked_copy(triton_server.repository, repository)
    for config in repository.glob("cxr/**/*.pbtxt"):
        text = config.read_text()
        config.unlink()  # it is a link
        info = json.loads((repository / "repository.json").read_text())
        text = text.replace(info["model_digest"], "f" * 64).replace("covid", "measles")
        config.write_text(text)
    (repository / "repository.json").unlink()  # which is of the first
    with EmbeddedServer(repository, device="cpu") as server:
        yield server


def test_another_model_behind_the_same_address_is_noticed_with_the_next_film(
    other_server, wire, films
):
    with CxrClient(wire.address, retry_for_s=HANG_S) as client:
        before = client.predict(films[0])
        wire.cut()
        wire.lead_to(other_server.grpc_address)
        wire.mend()
        after = client.predict(films[0])
        assert client.model.labels == ("non-measles", "measles")
    assert (before.model.digest == after.model.digest, after.model.digest) == (False, "f" * 64)
    assert after.label == before.label.replace("covid", "measles")


def run_python(code, **environment):
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=HANG_S,
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
