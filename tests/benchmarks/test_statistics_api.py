"""Triton's statistics between two moments: by hand, and of the real server."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from measuring import statistics_api

from cxrclient import CxrClient, Prediction
from waiting import eventually


def counted(films: int, executions: int, infer_ns: int, queue_ns: int) -> dict[str, Any]:
    time = {"count": executions, "ns": infer_ns}
    none = {"count": executions, "ns": 0}
    batch = {"compute_input": none, "compute_infer": time, "compute_output": none}
    requests = {"queue": {"count": films, "ns": queue_ns}, "success": {"count": films, "ns": 0}}
    return {
        "inference_count": films,
        "execution_count": executions,
        "inference_stats": requests,
        "batch_stats": [{"batch_size": 1, **batch}],
    }


def test_a_batchs_time_is_shared_among_its_films() -> None:
    before = {"vgg16": counted(10, 10, 1_000_000, 0)}
    after = {"vgg16": counted(18, 12, 9_000_000, 16_000_000)}
    stage = statistics_api.between(before, after)["vgg16"]
    # Eight films in two batches that took 8 ms together; they waited 2 ms each.
    assert (stage.films, stage.batch, stage.infer_ms, stage.queue_ms) == (8, 4.0, 1.0, 2.0)


def test_a_model_that_did_nothing_is_left_out() -> None:
    same = {"vgg16": counted(10, 10, 1_000_000, 0)}
    assert statistics_api.between(same, same) == {}


def settled(server: Any) -> dict[str, Any]:
    """What a server has counted, once that stands still: Triton answers first and counts then."""

    def still() -> dict[str, Any] | None:
        before = statistics_api.read(server.http_address)
        time.sleep(0.2)
        return before if statistics_api.read(server.http_address) == before else None

    return eventually(still)


def test_a_film_is_seen_once_in_each_model_of_the_real_server(
    triton_server: Any, write_dicom: Callable[..., Path], tmp_path: Path
) -> None:
    film = write_dicom(tmp_path / "film.dcm")
    before = settled(triton_server)

    def seen() -> dict[str, statistics_api.Stage] | None:
        stages = statistics_api.between(before, settled(triton_server))
        return stages if stages.keys() == before.keys() else None

    with CxrClient(triton_server.grpc_address) as client:
        client.predict(film)
    done = eventually(seen, "a model has not counted the film")
    assert {name: stage.films for name, stage in done.items()} == dict.fromkeys(before, 1)
    assert 0 < done["resnet152"].busy_ms < done["cxr"].latency_ms


def test_a_latency_is_the_mean_over_requests() -> None:
    early, late = counted(0, 0, 0, 0), counted(4, 4, 0, 0)
    late["inference_stats"]["success"]["ns"] = 12_000_000
    assert statistics_api.between({"m": early}, {"m": late})["m"].latency_ms == pytest.approx(3.0)


def test_the_stopwatch_is_exact_to_a_look(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]  # a clock that only the looks turn
    answered_at = (2.0, 4.0, 6.0, 8.0)

    def look(_watch: Any) -> tuple[int, float]:
        now[0] += 0.1
        count = sum(when <= now[0] for when in answered_at)
        return count, 2.0 * count

    monkeypatch.setattr("measuring.statistics_api.time.perf_counter", lambda: now[0])
    monkeypatch.setattr("measuring.statistics_api.LOOK_EVERY_S", 0.001)
    monkeypatch.setattr("measuring.statistics_api.LOOK_SELDOM_S", 0.001)
    monkeypatch.setattr(statistics_api.Stopwatch, "_look", look)
    with statistics_api.Stopwatch("127.0.0.1:1", len(answered_at), 1) as watch:
        eventually(lambda: now[0] >= 9 or watch._ended is not None)
    assert watch.wall_s == pytest.approx(8.0, abs=0.11)


@pytest.mark.parametrize("inflight", [1, 3])
def test_the_stopwatch_sees_films_of_a_real_server(
    inflight: int, triton_server: Any, write_dicom: Callable[..., Path], tmp_path: Path
) -> None:
    films = [str(write_dicom(tmp_path / f"{n}.dcm")) for n in range(6)]
    with CxrClient(triton_server.grpc_address, jobs=inflight, gate=False) as client:
        client.predict(films[0])
        settled(triton_server)
        begin = time.perf_counter()
        with statistics_api.Stopwatch(triton_server.http_address, len(films), inflight) as watch:
            found = list(client.predict_many(films))
        wall_s = time.perf_counter() - begin
    assert [type(each) for each in found] == [Prediction] * len(films)
    assert 0 < watch.wall_s <= wall_s


def test_a_stopwatch_that_saw_too_few_films_has_no_time(triton_server: Any) -> None:
    settled(triton_server)
    with statistics_api.Stopwatch(triton_server.http_address, 1, 1) as watch:
        pass
    with pytest.raises(RuntimeError, match="did not answer 1 films"):
        _ = watch.wall_s
