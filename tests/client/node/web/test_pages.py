"""What a node tells over HTTP: health, metrics, results page by page."""

from __future__ import annotations

import json
from datetime import date, timedelta

import pytest

from cxrclient.node.spool.opening import restore
from finished_films import MODEL, finish

TOKEN = "0123456789abcdef"


def finished(web, count: int) -> list[str]:
    """Films that were taken and analysed; gives their UIDs."""
    uids = [f"1.2.{number}" for number in range(count)]
    for number, uid in enumerate(uids):
        finish(web.spool, uid, number / count)
    return uids


@pytest.fixture
def told(start, tmp_path):
    """A node with a token: asks it for a page of results."""
    file = tmp_path / "token"
    file.write_text(TOKEN)
    web = start(results_token_file=file)

    def ask(path: str) -> dict:
        answer = web.get(path, headers={"Authorization": f"Bearer {TOKEN}"})
        assert answer.status_code == 200, answer.text
        assert "Research use only" in answer.json()["notice"]
        return answer.json()

    web.ask = ask
    return web


def test_a_process_that_answers_is_alive(web):
    assert web.get("/health/live").json() == {"live": True}


def test_readiness_is_the_spools_and_tells_of_each_part(web):
    answer = web.get("/health/ready")

    assert answer.status_code == 200, "films are taken, though Triton is away: they wait"
    assert answer.json()["ready"] is True
    assert answer.json()["parts"]["triton"] == {"works": False, "told": "Triton is away."}
    web.parts["spool"] = (False, "No film is taken: LOW_DISK.")
    assert web.get("/health/ready").status_code == 503


def test_results_are_told_page_by_page_in_the_order_in_which_they_came(told):
    uids = finished(told, 5)

    first = told.ask("/results?limit=2")
    second = told.ask(f"/results?limit=2&after={first['next']}")
    last = told.ask(f"/results?limit=2&after={second['next']}")

    pages = (first, second, last)
    assert [row["film_uid"] for page in pages for row in page["results"]] == uids
    assert last["next"] is None


def test_who_polls_misses_no_film_when_the_rows_are_made_anew(told):
    before = finished(told, 3)
    seen = told.ask("/results")["results"][-1]["seq"]
    spool = told.spool
    with spool.rows.change() as line:  # as `restore` does where node.sqlite is lost
        line.execute("DELETE FROM films")
    restore(spool.rows, spool.folder, lambda _outcome: list(spool.targets))
    finish(spool, "1.2.9")

    found = [row["film_uid"] for row in told.ask(f"/results?after={seen}")["results"]]

    assert found == [*before, "1.2.9"], "those told before are told again: their rows are new"


def test_a_result_says_what_became_of_the_film_and_where_it_went(told):
    finished(told, 1)
    here, away = told.spool.targets
    told.spool.delivered(told.spool.claim_delivery(here, 0))
    told.spool.delay(told.spool.claim_delivery(away, 0), "PEER_UNREACHABLE", "It is away.")

    (row,) = told.ask("/results")["results"]

    assert row["film_uid"] == "1.2.0"
    assert (row["state"], row["status"], row["code"]) == ("analysed", "ok", None)
    assert (row["probability"], row["positive"], row["label"]) == (0.0, False, "COVID-19")
    assert row["members"] == {"vgg16": 0.0, "xception": 0.5}
    assert row["model_digest"] == MODEL
    assert row["received_at"] <= row["finished_at"]
    assert row["deliveries"][here]["state"] == "delivered"
    assert row["deliveries"][here]["at"] >= row["finished_at"]
    assert row["deliveries"][away] == {"state": "waiting", "code": "PEER_UNREACHABLE", "at": None}
    assert "embedding" not in json.dumps(row)


def test_results_of_some_days_are_told_alone(told):
    uids = finished(told, 3)
    a_day = 24 * 3600
    with told.spool.rows.change() as line:
        line.execute(
            "UPDATE films SET finished_at = finished_at - ? WHERE uid = ?", (a_day, uids[1])
        )
    today = date.today()
    yesterday = today - timedelta(days=1)

    def found(query: str) -> list[str]:
        return [row["film_uid"] for row in told.ask(f"/results?{query}")["results"]]

    assert found(f"from={today}") == [uids[0], uids[2]]
    assert found(f"to={yesterday}") == [uids[1]]
    assert found(f"from={yesterday}&to={today}") == uids


@pytest.mark.parametrize(
    "query",
    [
        *("after=x", "after=-1", "after=1_0", "limit=0", "limit=1001", "limit=1&limit=2"),
        *("from=yesterday", "from=20261130", "to=2026-02-30", "to=2026-W49-1", "study=1.2"),
    ],
)
def test_a_query_that_is_none_is_refused_with_a_code(told, query):
    answer = told.get(f"/results?{query}", headers={"Authorization": f"Bearer {TOKEN}"})

    assert (answer.status_code, answer.json()["code"]) == (400, "QUERY_WRONG")


def test_drift_is_told_by_day(told):
    finished(told, 4)

    answer = told.ask("/drift")

    (day,) = answer["days"]
    assert (day["day"], day["films"]) == (date.today().isoformat(), 4)
    assert day["probability"]["median"] == pytest.approx(0.375)
    assert answer["reference"] is None


def test_metrics_are_told_as_prometheus_reads_them(told):
    from prometheus_client.parser import text_string_to_metric_families

    finished(told, 2)
    answer = told.get("/metrics")

    assert answer.headers["Content-Type"].startswith("text/plain; version=")
    names = {family.name for family in text_string_to_metric_families(answer.text)}
    assert {"cxr_node_films", "cxr_node_up", "process_resident_memory_bytes"} <= names


@pytest.mark.parametrize(
    ("method", "path", "status"), [("GET", "/", 404), ("POST", "/results", 405)]
)
def test_what_there_is_nothing_at_is_told_with_what_there_is(web, method, path, status):
    import requests

    answer = requests.request(method, web.url + path, timeout=60)

    assert (answer.status_code, answer.json()["code"]) == (status, "NO_SUCH_PAGE")
    assert "/dicom-web/studies" in answer.json()["do"]


def test_a_fault_of_ours_is_told_without_its_words(web, monkeypatch, caplog):
    def fails() -> dict:
        raise ValueError("Doe^Jane")

    monkeypatch.setattr(web.listener._pages.drift, "by_day", fails)
    monkeypatch.setattr(web.listener._pages.access, "_token", "t")
    answer = web.get("/drift", headers={"Authorization": "Bearer t"})

    assert (answer.status_code, answer.json()["code"]) == (500, "INTERNAL")
    assert "Doe" not in answer.text + caplog.text
