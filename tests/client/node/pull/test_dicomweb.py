"""Films of a date range by QIDO-RS and WADO-RS, out of a real PACS."""

from __future__ import annotations

import base64
import io
import json
import signal
import subprocess
from collections import Counter

import pydicom
import pytest

from certificates import make
from orthanc import free_port
from served import CXRCLIENT
from spoiling_proxy import spoiling_proxy

NEW_YEAR = ("2020-01-01", "2020-01-03")


def pixels(file: bytes) -> bytes:
    return pydicom.dcmread(io.BytesIO(file)).PixelData


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    return make(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def proxy(filled):
    with spoiling_proxy(f"http://127.0.0.1:{filled.pacs.http_port}") as running:
        yield running


def test_the_films_of_the_days_and_no_others_come_whole_and_private(filled, pull, tmp_path):
    done = pull(filled.url, tmp_path / "films", *NEW_YEAR)

    assert done.exit_code == 0, done.output
    wanted = filled.of(*NEW_YEAR)
    assert len(wanted) == 4
    paths = [film.path(tmp_path / "films") for film in wanted]
    assert sorted(done.stdout.splitlines()) == sorted(map(str, paths))
    for film, path in zip(wanted, paths, strict=True):
        assert pixels(path.read_bytes()) == pixels(film.file)
        assert path.stat().st_mode & 0o777 == 0o600
        assert path.parent.stat().st_mode & 0o777 == 0o700
    assert sorted((tmp_path / "films").rglob("*.dcm")) == sorted(paths)
    assert "4 films pulled, 0 were there already, 0 failed" in done.stderr


def test_a_range_of_one_day_and_another_modality(filled, pull, tmp_path):
    done = pull(filled.url, tmp_path, "2020-01-02", "2020-01-02", "--modality", "ct")

    (film,) = filled.of("2020-01-02", "2020-01-02", "CT")
    assert done.stdout.splitlines() == [str(film.path(tmp_path))]


def test_what_is_there_is_told_again_and_not_fetched_again(filled, pull, proxy, tmp_path):
    first = pull(proxy.url, tmp_path, *NEW_YEAR)
    fetched = proxy.films()
    gone = filled.of(*NEW_YEAR)[0]
    gone.path(tmp_path).unlink()
    again = pull(proxy.url, tmp_path, *NEW_YEAR)

    assert len(fetched) == 4
    assert again.stdout == first.stdout
    assert proxy.films()[4:] == [gone.uid]
    assert "1 films pulled, 3 were there already" in again.stderr


def test_after_a_kill_the_same_command_goes_on_and_fetches_nothing_twice(
    filled, pull, proxy, tmp_path
):
    folder = tmp_path / "films"
    command = ["pull", "--pacs", proxy.url, "--from", NEW_YEAR[0], "--to", NEW_YEAR[1], folder]

    def slowly(passing):
        if len(proxy.films()) == 3:  # the third film never comes
            process.send_signal(signal.SIGKILL)

    proxy.after = slowly
    process = subprocess.Popen([CXRCLIENT, *map(str, command)], stdout=subprocess.PIPE)
    told = process.communicate(timeout=600)[0].decode().splitlines()
    assert process.returncode == -signal.SIGKILL
    assert len(told) == 2
    proxy.after = lambda _passing: None

    done = pull(proxy.url, folder, *NEW_YEAR)

    assert done.exit_code == 0, done.output
    assert done.stdout.splitlines()[:2] == told
    assert len(done.stdout.splitlines()) == 4
    times = Counter(proxy.films())
    third = proxy.films()[2]
    assert {uid: n for uid, n in times.items() if n > 1} == {third: 2}
    assert "2 films pulled, 2 were there already" in done.stderr


def test_what_the_pacs_gives_beyond_the_question_is_dropped(filled, pull, proxy, tmp_path):
    def forget_the_question(passing):  # every study, and every series, whatever was asked
        if passing.path.startswith("/dicom-web/studies?"):
            passing.path = "/dicom-web/studies?includefield=StudyDate"

    proxy.before = forget_the_question
    done = pull(proxy.url, tmp_path, "2020-01-02", "2020-01-02")

    wanted = filled.of("2020-01-02", "2020-01-02")
    assert done.exit_code == 0, done.output
    assert set(done.stdout.splitlines()) == {str(film.path(tmp_path)) for film in wanted}


def test_names_of_files_come_from_uids_alone(filled, pull, proxy, tmp_path):
    def another_name(passing):
        if passing.path.endswith("/instances?limit=100&offset=0"):
            answers = json.loads(passing.body)
            answers[0]["00080018"]["Value"] = ["../../../escaped"]
            passing.body = json.dumps(answers).encode()

    proxy.after = another_name
    done = pull(proxy.url, tmp_path / "films", "2020-01-01", "2020-01-01")

    assert done.exit_code == 0, done.output
    assert done.stdout == ""
    assert not list(tmp_path.rglob("*escaped*"))


@pytest.mark.parametrize("fault", ["gone", "damaged", "another", "cut"])
def test_one_film_that_fails_does_not_stop_the_others(filled, pull, proxy, tmp_path, fault):
    bad, other, *_ = filled.of(*NEW_YEAR)

    def spoil(passing):
        if passing.path.endswith(f"/instances/{bad.uid}"):
            if fault == "gone":
                passing.status, passing.body = 404, b""
            elif fault == "cut":
                passing.body = passing.body[:-4000]
            elif fault == "damaged":
                passing.body = passing.body.replace(b"DICM", b"nope")
            else:
                passing.body = passing.body.replace(bad.uid.encode(), other.uid.encode())

    proxy.after = spoil
    done = pull(proxy.url, tmp_path, *NEW_YEAR)

    assert done.exit_code == 3, done.output
    assert not bad.path(tmp_path).exists()
    assert len(done.stdout.splitlines()) == 3
    assert f"{bad.uid}: NOT_PULLED: " in done.stderr
    assert "3 films pulled, 0 were there already, 1 failed" in done.stderr


def test_a_pacs_that_is_busy_is_asked_again(filled, pull, proxy, tmp_path):
    kinds = set()

    def busy_at_first(passing):  # for studies, series, films, and a film
        kind = passing.path.partition("?")[0].count("/")
        if kind not in kinds:
            kinds.add(kind)
            passing.status = 503
            return True
        return False

    proxy.before = busy_at_first
    done = pull(proxy.url, tmp_path, "2020-01-02", "2020-01-02", "--retry-for", "600")

    assert done.exit_code == 0, done.output
    assert len(kinds) == 4
    assert len(done.stdout.splitlines()) == 2


def test_a_pacs_that_is_away_ends_with_5(pull, tmp_path):
    done = pull(f"http://127.0.0.1:{free_port()}/dicom-web", tmp_path, *NEW_YEAR)

    assert (done.exit_code, done.stdout) == (5, "")
    assert done.stderr.splitlines()[-1].startswith("PACS_UNREACHABLE: http://127.0.0.1:")


def test_user_and_password_are_sent_and_shown_nowhere(filled, pull, proxy, tmp_path):
    url = proxy.url.replace("http://", "http://rad:se%40cret@")
    done = pull(url, tmp_path, "2020-01-01", "2020-01-01", "-v")
    assert done.exit_code == 0, done.output
    assert proxy.headers["Authorization"] == "Basic " + base64.b64encode(b"rad:se@cret").decode()

    def refuse(passing):
        passing.status = 401
        return True

    proxy.before = refuse
    refused = pull(url, tmp_path, *NEW_YEAR, "-v", "-v")

    assert refused.exit_code == 5
    assert "PACS_REFUSED" in refused.stderr
    for each in (done, refused):
        assert "cret" not in each.output
        assert "rad:" not in each.output


@pytest.mark.parametrize("address", ["ftp://host/dicom-web", "https://", "PACS", "http://h?x=1"])
def test_an_address_that_is_none_is_wrong_usage(pull, tmp_path, address):
    assert pull(address, tmp_path, *NEW_YEAR).exit_code == 2


def test_days_the_wrong_way_round_are_wrong_usage(filled, pull, tmp_path):
    done = pull(filled.url, tmp_path, "2020-01-02", "2020-01-01")
    assert (done.exit_code, done.stdout) == (2, "")


def test_files_of_tls_without_tls_and_files_that_are_none_are_wrong_usage(pull, tmp_path):
    for address in ("http://127.0.0.1/", "https://127.0.0.1/"):
        done = pull(address, tmp_path, *NEW_YEAR, "--peer-tls-ca", tmp_path / "none.pem")
        assert done.exit_code == 2


@pytest.mark.parametrize("trusted", [True, False])
def test_a_pacs_over_tls_is_trusted_by_its_authority_alone(
    filled, pull, certificates, tmp_path, trusted, monkeypatch
):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificates / "unknown.pem"))
    target = f"http://127.0.0.1:{filled.pacs.http_port}"
    authority = certificates / ("ca.pem" if trusted else "unknown.pem")
    with spoiling_proxy(target, certificates / "server.pem") as proxy:
        done = pull(proxy.url, tmp_path, "2020-01-01", "2020-01-01", "--peer-tls-ca", authority)

    if trusted:
        assert done.exit_code == 0, done.output
        assert len(done.stdout.splitlines()) == 1
    else:
        assert done.exit_code == 5
        assert "PACS_REFUSED: No TLS connection" in done.stderr
