"""The archive on a real Milvus server: what Milvus Lite answers, and what only a server can do."""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from cxrclient.archive.checks import verify
from cxrclient.archive.index import Added, SimilarityIndex
from cxrclient.archive.milvus import index_kinds
from cxrclient.archive.milvus.tls import Tls
from cxrclient.archive.parquet import export_parquet
from cxrclient.cli.app import app
from cxrclient.errors import (
    ArchiveInput,
    ArchiveMismatch,
    ArchiveUnavailable,
    CxrClientError,
    UsageError,
)
from waiting import eventually

MODEL = "a" * 64
TOKEN = "root:Milvus"
DATABASE = "elsewhere"
FILMS = 1200
HOSTILE = [
    '" or 1==1 or label == "',
    "' OR '1'='1",
    '"] or id not in ["',
    "\\",
    '\\" or id != "',
    "a'b",
    "%",
    "É{x}*",
]


def vectors() -> np.ndarray:
    """Films of few places, so that many are at the same distance."""
    random = np.random.default_rng(3)
    spread = random.normal(size=(FILMS, 128)).astype(np.float32)
    spread[100:160] = spread[100]  # sixty at one place
    return spread


def about(number: int) -> dict[str, Any]:
    row: dict[str, Any] = {
        "label": ("covid", "non-covid", None)[number % 3],
        "label_source": ("metadata", "predicted")[number % 2],
        "probability": None if number % 7 == 0 else (number % 100) / 100,
        "patient_key": None if number % 11 == 0 else f"p{number // 3}",
        "view": ("AP", "PA")[number % 2],
        "days": float(number % 30),
        "treatment": "oxygen" if number % 5 else "none",
        "ventilated": number % 4 == 0,
        "study_uid": f"1.2.3.{number // 2}",
    }
    if number % 2:
        row["age"] = number % 90
    if number < len(HOSTILE):
        row |= {"label": HOSTILE[number], HOSTILE[number]: HOSTILE[number]}
    return row


def fill(index: SimilarityIndex) -> None:
    ids = [f"1.2.{n}" for n in range(FILMS)]
    rows = [about(n) for n in range(FILMS)]
    assert index.add(ids, vectors(), [{"label": "wrong"}] * FILMS) == Added(FILMS, 0)
    assert index.add(ids, vectors(), rows) == Added(0, FILMS)


@pytest.fixture(scope="module")
def both(milvus_server, tmp_path_factory) -> Iterator[tuple[SimilarityIndex, SimilarityIndex]]:
    """The same films, put in by the same calls, in a file and on a server."""
    path = tmp_path_factory.mktemp("lite") / "cxr.db"
    with (
        SimilarityIndex(path, model_digest=MODEL) as lite,
        SimilarityIndex(milvus_server.uri, model_digest=MODEL, token=TOKEN) as server,
    ):
        fill(lite)
        fill(server)
        yield lite, server


@pytest.fixture
def index(milvus_server) -> Iterator[SimilarityIndex]:
    """An archive of its own on the server."""
    name = f"t{uuid.uuid4().hex}"
    with SimilarityIndex(
        milvus_server.uri, model_digest=MODEL, token=TOKEN, collection=name
    ) as index:
        yield index


# --- the same calls, the same answers ---------------------------------------------------------

QUERY = np.random.default_rng(9).normal(size=128).astype(np.float32)
SAME_PLACE = vectors()[100] + 0.01

CALLS: dict[str, Callable[[SimilarityIndex], Any]] = {
    "len": len,
    "known": lambda i: i.known(
        ["1.2.3", "1.2.99999", "", "a'b", *(f"1.2.{n}" for n in range(900))]
    ),
    "hashed": lambda i: i.has_hashed_ids(),
    "all films": lambda i: [(f.id, f.about(), f.embedding.tobytes()) for f in i.films()],
    "some films": lambda i: sorted(f.id for f in i.films(["1.2.7", "1.2.8", "nobody", "b'c"])),
    "default": lambda i: i.search(QUERY),
    "k 1000, one a patient": lambda i: i.search(QUERY, 1000),
    "k 1000": lambda i: i.search(QUERY, 1000, one_per_patient=False),
    "k beyond the archive": lambda i: i.search(QUERY, 1000, label="covid", one_per_patient=False),
    "ties": lambda i: i.search(SAME_PLACE, 37, one_per_patient=False),
    "ties, one a patient": lambda i: i.search(SAME_PLACE, 11),
    "exclude": lambda i: i.search(QUERY, 50, exclude=["1.2.5", "1.2.100", "nobody"]),
    "exclude patients": lambda i: i.search(QUERY, 50, exclude_patients={"p1", "p30", "p7"}),
    "exclude many": lambda i: i.search(QUERY, 50, exclude=[f"1.2.{n}" for n in range(1000)]),
    "of a list": lambda i: i.search(QUERY, 1000, view=["AP", "lateral"]),
    "of a mixed list": lambda i: i.search(QUERY, 1000, age=["33", 31, True]),
    "yes or no": lambda i: i.search(QUERY, 1000, ventilated=True),
    "range": lambda i: i.search(QUERY, 1000, age=(40, 60), days=(0, 3)),
    "open range": lambda i: i.search(QUERY, 1000, probability=(None, 0.2)),
    "a number": lambda i: i.search(QUERY, 1000, days=7),
    "no such column": lambda i: i.search(QUERY, 1000, nothing="x"),
    "nothing at all": lambda i: i.search(QUERY, label=[]),
    "where": lambda i: i.search(
        QUERY, 1000, where="treatment == 'oxygen' and (days < 3 or age >= 80) and view != 'PA'"
    ),
    "where in": lambda i: i.search(
        QUERY, where='id in ["1.2.3", "1.2.4"] and metadata["days"] > 1'
    ),
    "where like": lambda i: i.search(QUERY, 1000, where='label like "non%"', one_per_patient=False),
    "where that opens": lambda i: i.search(QUERY, where='label == "x") or (label != "x"'),
    "where without sense": lambda i: i.search(QUERY, where="age >"),
    "where of another kind": lambda i: i.search(QUERY, where="label > 3"),
    "id": lambda i: i.search_id("1.2.40", 20),
    "id, same patient": lambda i: i.search_id("1.2.40", 20, same_patient=True),
    "id, filtered": lambda i: i.search_id("1.2.40", 20, view="AP", one_per_patient=False),
    "no such id": lambda i: i.search_id("1.2.99999"),
    "k 0": lambda i: i.search(QUERY, 0),
    "NaN": lambda i: i.search(np.full(128, np.nan)),
    "bad film": lambda i: i.add(["1", "2", "1"], vectors()[:3], [{}] * 3),
    "again": lambda i: i.add(["1.2.0"], vectors()[:1], [about(0)]),
    **{
        f"hostile {n}": lambda i, value=value: (
            i.search(QUERY, 1000, label=value)
            + i.search(QUERY, 1000, label=[value, "nobody"])
            + i.search(QUERY, 1000, **{value: value})
        )
        for n, value in enumerate(HOSTILE)
    },
}


def answer(call: Callable[[SimilarityIndex], Any], index: SimilarityIndex) -> Any:
    try:
        return call(index)
    except CxrClientError as error:
        return type(error)


@pytest.mark.parametrize("name", CALLS)
def test_the_same_call_has_the_same_answer_in_a_file_and_on_a_server(both, name: str) -> None:
    in_file, on_server = (answer(CALLS[name], index) for index in both)
    if isinstance(in_file, list) and in_file and hasattr(in_file[0], "distance"):
        near = [n.distance for n in in_file]
        assert [n.distance for n in on_server] == pytest.approx(near, rel=1e-5)
        assert [_but_distance(n) for n in on_server] == [_but_distance(n) for n in in_file]
    else:
        assert on_server == in_file


def _but_distance(neighbour: Any) -> dict[str, Any]:
    known = {name: getattr(neighbour, name) for name in neighbour.__dataclass_fields__}
    return known | {"distance": None}


@pytest.mark.parametrize("place", [0, 1], ids=["file", "server"])
@pytest.mark.parametrize("one_per_patient", [True, False])
def test_a_thousand_neighbours_are_those_of_an_independent_count(
    both, place: int, one_per_patient: bool
) -> None:
    distances = np.linalg.norm(vectors().astype(np.float64) - QUERY, axis=1)
    expected: list[str] = []
    patients: set[str] = set()
    for number in sorted(range(FILMS), key=lambda n: (round(distances[n], 9), f"1.2.{n}")):
        patient = about(number)["patient_key"]
        if one_per_patient and patient in patients:
            continue
        patients |= {patient} - {None}
        expected.append(f"1.2.{number}")
    found = both[place].search(QUERY, 1000, one_per_patient=one_per_patient)
    assert [n.id for n in found] == expected[:1000]


@pytest.mark.parametrize("value", HOSTILE)
def test_a_hostile_value_finds_its_own_film_on_a_server(both, value: str) -> None:
    own = f"1.2.{HOSTILE.index(value)}"
    assert [n.id for n in both[1].search(QUERY, 9, label=value)] == [own]
    assert [n.id for n in both[1].search(QUERY, 9, **{value: value})] == [own]


def test_a_pointer_moves_in_a_file_and_on_a_server_alike(both) -> None:
    for index in both:
        store, there = index._store, index._collection
        assert store.current("somewhere") == "somewhere"
        store.create(f"somewhere_{MODEL[:12]}", MODEL)
        for name in (there, f"somewhere_{MODEL[:12]}"):
            store.switch("somewhere", name)
            assert store.current("somewhere") == name
        assert store.generations("somewhere") == [f"somewhere_{MODEL[:12]}"]


# --- what only a server can do ----------------------------------------------------------------


def test_a_large_archive_gets_a_graph_that_is_recorded_and_answers_alike(
    index: SimilarityIndex, milvus_server, both, monkeypatch
) -> None:
    ids = [f"1.2.{n}" for n in range(FILMS)]
    index.add(ids, vectors(), [about(n) for n in range(FILMS)])
    assert index.fit_index().name == "FLAT"
    monkeypatch.setattr(index_kinds, "HNSW_FROM", FILMS)
    assert index.fit_index().name == "HNSW"
    with SimilarityIndex(
        milvus_server.uri, model_digest=MODEL, token=TOKEN, collection=index.archive
    ) as again:
        assert again.kind.name == "HNSW"
        assert again.kind.parameters == index_kinds.HNSW.parameters
        for options in ({}, {"k": 300}, {"k": 1000}, {"k": 5, "view": "AP", "age": (40, 42)}):
            exact = [n.id for n in both[0].search(QUERY, **options)]
            found = [n.id for n in again.search(QUERY, **options)]
            assert len(found) == len(exact)
            assert len(set(found) & set(exact)) >= 0.98 * len(exact)
        search = again._store._search

        def search_that_ends_too_soon(*asked: Any) -> list[Any]:
            return search(*asked)[: None if asked[-1]["ef"] > 10_000 else 3]

        again._store._search = search_that_ends_too_soon  # type: ignore[method-assign]
        assert len(again.search(QUERY, 1000)) == len(both[0].search(QUERY, 1000))


def test_an_index_that_was_lost_while_it_was_rebuilt_is_made_again(
    index: SimilarityIndex, milvus_server
) -> None:
    index.add(["1"], vectors()[:1], [{}])
    client = index._store._open
    client.release_collection(index._collection)
    client.drop_index(index._collection, client.list_indexes(index._collection)[0])
    with SimilarityIndex(
        milvus_server.uri, model_digest=MODEL, token=TOKEN, collection=index.archive
    ) as again:
        assert [n.id for n in again.search(QUERY)] == ["1"]


def test_another_models_archive_is_refused_on_a_server(index, milvus_server) -> None:
    with pytest.raises(ArchiveMismatch, match="archive migrate"):
        SimilarityIndex(
            milvus_server.uri, model_digest="b" * 64, token=TOKEN, collection=index.archive
        )


@pytest.mark.parametrize("token", [None, "root:wrong"])
def test_without_the_right_token_nobody_comes_in(milvus_server, token: str | None) -> None:
    with pytest.raises(ArchiveUnavailable, match="token"):
        SimilarityIndex(milvus_server.uri, model_digest=MODEL, token=token, timeout_s=5)


def test_a_password_in_the_uri_works_and_is_in_no_message(milvus_server) -> None:
    uri = milvus_server.uri.replace("http://", "http://root:Milvus@")
    with SimilarityIndex(uri, model_digest=MODEL) as index:
        assert index.uri == milvus_server.uri
    with pytest.raises(ArchiveMismatch) as caught:
        SimilarityIndex(uri, model_digest="c" * 64)
    assert "Milvus@" not in str(caught.value)


def test_an_archive_goes_from_a_file_to_a_server_and_its_graph_is_in_the_stats(
    both, milvus_server, tmp_path, monkeypatch
) -> None:
    """The commands, with the token from the environment. The name of the archive is the usual."""
    monkeypatch.setenv("CXR_MILVUS_TOKEN", TOKEN)
    assert export_parquet(both[0], tmp_path / "cxr.parquet") == FILMS
    uri = f"{milvus_server.uri}/{DATABASE}"
    both[1]._store._open.create_database(DATABASE)
    monkeypatch.setattr(index_kinds, "HNSW_FROM", FILMS)

    def archive(*arguments: str) -> str:
        result = CliRunner().invoke(app, ["archive", *arguments, "--uri", uri])
        assert result.exit_code == 0, result.output
        return result.stdout

    assert f"{FILMS} added" in archive("import", str(tmp_path / "cxr.parquet"))
    stats = archive("stats")
    assert f"films: {FILMS} " in stats
    assert "index: HNSW M 16, efConstruction 200" in stats
    archive("export", str(tmp_path / "again.parquet"))
    before, after = (
        pq.read_table(tmp_path / f"{name}.parquet").sort_by("id") for name in ("cxr", "again")
    )
    assert after.equals(before)


def test_verify_finds_an_id_that_is_there_twice(index: SimilarityIndex) -> None:
    """Milvus itself lets a program insert an id again."""
    index.add(["1", "2"], vectors()[:2], [{}] * 2)
    (row,) = index._store.rows(index.collection, 'id == "1"')
    index._store._open.insert(index.collection, [row])
    assert [(p.code, p.count) for p in verify(index)] == [("DUPLICATE_ID", 1)]


# --- TLS --------------------------------------------------------------------------------------


class TlsEnd:
    """Takes TLS off in front of the server, as an ingress does."""

    def __init__(self, target: str, context: ssl.SSLContext) -> None:
        host, _, port = target.rpartition(":")
        self._target = (host, int(port))
        self._context = context
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.uri = f"https://localhost:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                plain, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(plain,), daemon=True).start()

    def _serve(self, plain: socket.socket) -> None:
        with suppress(OSError, ssl.SSLError):
            near = self._context.wrap_socket(plain, server_side=True)
            far = socket.create_connection(self._target)
            near.settimeout(0.02)
            far.settimeout(0.02)
            # One thread for both ways: an SSL socket must not be read and written at once.
            while True:
                for source, sink in ((near, far), (far, near)):
                    with suppress(TimeoutError, ssl.SSLWantReadError):
                        data = source.recv(1 << 16)
                        if not data:
                            return
                        sink.settimeout(600)
                        sink.sendall(data)
                        sink.settimeout(0.02)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory) -> Path:
    """An authority, a server's and a client's certificate, and an authority that nobody knows."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is missing: apt-get install openssl")
    folder = tmp_path_factory.mktemp("tls")

    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)

    new_key = ("-newkey", "rsa:2048", "-nodes", "-days", "2")
    for name in ("ca", "unknown"):
        openssl("req", "-x509", *new_key, "-keyout", f"{name}.key", "-out", f"{name}.pem",
                "-subj", f"/CN={name}")  # fmt: skip
    (folder / "names").write_text("subjectAltName=DNS:localhost")
    for name in ("server", "client"):
        openssl("req", *new_key, "-keyout", f"{name}.key", "-out", f"{name}.csr",
                "-subj", "/CN=localhost")  # fmt: skip
        openssl("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-days",
                "2", "-CAcreateserial", "-extfile", "names", "-out", f"{name}.pem")  # fmt: skip
    return folder


@pytest.fixture(params=[False, True], ids=["tls", "mutual"])
def tls_end(request, milvus_server, certificates) -> Iterator[tuple[str, Tls]]:
    """The address, and what it takes to get in."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates / "server.pem", certificates / "server.key")
    context.set_alpn_protocols(["h2"])
    tls = Tls(certificates / "ca.pem")
    if request.param:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(certificates / "ca.pem")
        tls = Tls(tls.ca, certificates / "client.pem", certificates / "client.key")
    end = TlsEnd(milvus_server.uri.removeprefix("http://"), context)
    yield end.uri, tls
    end.close()


def test_an_archive_is_reached_over_tls_and_not_with_another_authority(
    tls_end, certificates, both
) -> None:
    uri, tls = tls_end
    with SimilarityIndex(uri, model_digest=MODEL, token=TOKEN, tls=tls) as index:
        assert index.search(QUERY) == both[1].search(QUERY)
    for other in (Tls(certificates / "unknown.pem"), None):
        with pytest.raises(ArchiveUnavailable, match="certificates"):
            SimilarityIndex(uri, model_digest=MODEL, token=TOKEN, tls=other, timeout_s=3)


@pytest.mark.parametrize(
    ("tls", "message"),
    [
        (Tls("nowhere.pem"), "nowhere.pem is no file"),
        (Tls(None, __file__, __file__), "all three"),
        (Tls(__file__, __file__), "all three"),
    ],
)
def test_certificates_that_cannot_do_are_named(tls: Tls, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        SimilarityIndex("https://localhost:9", model_digest=MODEL, tls=tls)


# --- losing it --------------------------------------------------------------------------------


def test_a_lost_connection_says_how_many_films_are_safe_and_adding_again_mends_it(
    index: SimilarityIndex, milvus_server, wire_to
) -> None:
    wire = wire_to(milvus_server.uri.removeprefix("http://"))
    ids = [str(n) for n in range(FILMS)]
    with SimilarityIndex(
        f"http://{wire.address}",
        model_digest=MODEL,
        token=TOKEN,
        collection=index.archive,
        timeout_s=20,
    ) as far:
        write = far._store.upsert

        def write_and_lose(collection: str, rows: list[dict[str, Any]]) -> None:
            write(collection, rows)
            wire.cut()

        far._store.upsert = write_and_lose  # type: ignore[method-assign]
        with pytest.raises(ArchiveUnavailable, match="1000 of these 1200 films are stored"):
            far.add(ids, vectors(), [{}] * FILMS)
        far._store.upsert = write  # type: ignore[method-assign]
        assert index.known(ids) == set(ids[:1000])
        wire.mend()

        def added() -> Added | None:
            with suppress(ArchiveUnavailable):
                return far.add(ids, vectors(), [{}] * FILMS)
            return None

        # gRPC tries again by and by, and fails at once meanwhile.
        assert eventually(added) == Added(200, 1000)
    assert index.known(ids) == set(ids)


WRITER = """
import sys, numpy as np
from cxrclient.archive.index import SimilarityIndex
uri, token, name = sys.argv[1:]
index = SimilarityIndex(uri, model_digest="a" * 64, token=token, collection=name)
vectors = np.random.default_rng(0).normal(size=(50, 128)).astype(np.float32)
for n in range(10000):
    index.add([f"{n}.{m}" for m in range(50)], vectors, [{}] * 50)
    print(n, flush=True)
"""


def acknowledged_before(uri: str, collection: str, kill: Callable[[Any], None]) -> list[str]:
    """Write until `kill` ends the writer or its server; the ids that were acknowledged."""
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, uri, TOKEN, collection],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert writer.stdout is not None
    batches = [writer.stdout.readline() for _ in range(8)]
    kill(writer)
    writer.kill()  # else it would look for its server for a while
    batches += writer.stdout.readlines()
    writer.wait(timeout=600)
    assert int(batches[7]) == 7
    return [f"{int(n)}.{m}" for n in batches for m in range(50)]


def test_what_was_acknowledged_survives_the_kill_of_the_writer_in_a_file(tmp_path: Path) -> None:
    uri = tmp_path / "cxr.db"
    ids = acknowledged_before(str(uri), "cxr_films", lambda writer: writer.kill())
    with SimilarityIndex(uri, model_digest=MODEL) as index:
        assert index.known(ids) == set(ids)
        assert len(index) % 50 == 0
        assert len(index) - len(ids) in (0, 50)  # one batch may have come in unsaid


@pytest.mark.slow  # half a minute, most of it until the server is back
def test_what_was_acknowledged_survives_the_kill_of_the_server(milvus_server) -> None:
    """The last test of this file: the server is another one afterwards."""
    name = f"t{uuid.uuid4().hex}"
    ids = acknowledged_before(milvus_server.uri, name, lambda writer: milvus_server.kill())
    milvus_server.start()
    with SimilarityIndex(
        milvus_server.uri, model_digest=MODEL, token=TOKEN, collection=name
    ) as index:
        assert index.known(ids) == set(ids)
        assert {film.id for film in index.films()} >= set(ids)
        with pytest.raises(ArchiveInput, match="twice"):
            index.add(["1", "1"], vectors()[:2], [{}] * 2)
