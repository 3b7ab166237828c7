"""Opening an archive on real Milvus Lite, and who is kept out."""

from __future__ import annotations

import os
import re
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from cxrclient.archive.index import SimilarityIndex
from cxrclient.archive.milvus import lite
from cxrclient.errors import ArchiveInput, ArchiveMismatch, ArchiveUnavailable
from small_archives import MODEL, embeddings, filled

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Milvus Lite has no Windows build")
OTHER_MODEL = "b" * 64


def test_films_are_there_after_reopening(uri: Path) -> None:
    vectors = filled(uri)
    with SimilarityIndex(uri, model_digest=MODEL) as index:
        assert (len(index), index.search(vectors[7], k=1)[0].id) == (20, "1.2.7")


def test_another_models_archive_is_refused_also_after_reopening(uri: Path) -> None:
    filled(uri)
    with pytest.raises(ArchiveMismatch, match=r"aaaaaaaaaaaa.*bbbbbbbbbbbb.*NEW\.db"):
        SimilarityIndex(uri, model_digest=OTHER_MODEL)
    with SimilarityIndex(uri, model_digest=MODEL) as index:
        assert len(index) == 20


def test_a_collection_of_another_program_is_refused(uri: Path) -> None:
    filled(uri)
    from pymilvus import MilvusClient

    with SimilarityIndex(uri, model_digest=MODEL):
        client = MilvusClient(str(uri))  # served by the same Milvus Lite
        client.create_collection("theirs", dimension=8)
        client.close()
    with pytest.raises(ArchiveMismatch, match="not made by cxrclient"):
        SimilarityIndex(uri, model_digest=MODEL, collection="theirs")


def test_one_process_may_open_an_archive_twice_and_close_in_any_order(uri: Path) -> None:
    vectors = filled(uri)
    first = SimilarityIndex(uri, model_digest=MODEL)
    second = SimilarityIndex(uri, model_digest=MODEL)
    first.close()
    assert second.search(vectors[0], k=1)[0].id == "1.2.0"
    second.close()
    assert opened_elsewhere(uri) == "opened"


def test_a_closed_archive_says_so(uri: Path) -> None:
    index = SimilarityIndex(uri, model_digest=MODEL)
    index.close()
    index.close()
    with pytest.raises(ArchiveUnavailable, match="closed"):
        index.search(embeddings(1)[0])


OPEN = """
import sys
from cxrclient.errors import CxrClientError
from cxrclient.archive.index import SimilarityIndex
try:
    SimilarityIndex(sys.argv[1], model_digest=sys.argv[2]).close()
    print("opened")
except CxrClientError as error:
    print(error)
"""


def opened_elsewhere(uri: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-c", OPEN, str(uri), MODEL], capture_output=True, text=True, timeout=600
    )
    return done.stdout.strip() or done.stderr


def test_an_archive_in_use_by_another_process_is_refused_time_and_again(uri: Path) -> None:
    """The second refusal matters: Milvus Lite alone lets the third process in."""
    vectors = filled(uri)
    with SimilarityIndex(uri, model_digest=MODEL) as index:
        answers = [opened_elsewhere(uri) for _ in range(3)]
        assert index.search(vectors[0], k=1)[0].id == "1.2.0"
    assert all(answer.startswith("ARCHIVE_UNAVAILABLE") for answer in answers), answers
    assert "in use by another process" in answers[2]
    assert opened_elsewhere(uri) == "opened"


def test_an_archive_in_use_by_a_program_without_cxrclient_is_refused_too(uri: Path) -> None:
    filled(uri)
    holder = subprocess.Popen(
        [
            sys.executable,
            "-W",
            "ignore",
            "-c",
            "import sys; from pymilvus import MilvusClient; c = MilvusClient(sys.argv[1]);"
            "print('ready', flush=True); sys.stdin.read()",
            str(uri),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"ready\n"
        for _ in range(2):
            with pytest.raises(ArchiveUnavailable, match="in use by another process"):
                SimilarityIndex(uri, model_digest=MODEL)
    finally:
        holder.communicate(b"", timeout=600)
    assert opened_elsewhere(uri) == "opened"


def test_a_milvus_lite_that_listens_late_is_waited_for(uri: Path, monkeypatch) -> None:
    from milvus_lite.server import Server

    quick = Server.args.fget
    late = ["/bin/sh", "-c", 'sleep 1; exec "$@"', "sh"]  # it waits for half a second itself
    monkeypatch.setattr(Server, "args", property(lambda self: [*late, *map(str, quick(self))]))
    with SimilarityIndex(uri, model_digest=MODEL) as index:
        assert len(index) == 0


def test_each_milvus_lite_has_a_home_of_its_own(uri: Path, tmp_path, monkeypatch) -> None:
    """They fail by chance where they share one."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    filled(uri)
    with SimilarityIndex(uri, model_digest=MODEL) as index:
        assert index.search(embeddings(1)[0])
        process = lite.serving(uri.resolve())
        (home,) = re.findall(r"\0HOME=([^\0]+)", Path(f"/proc/{process.pid}/environ").read_text())
        assert Path(home, ".cache/milvus").is_dir()
    assert not Path(home).exists()
    assert not (tmp_path / "home").exists()


def test_what_was_acknowledged_survives_a_kill(uri: Path) -> None:
    script = (
        "import os, sys, numpy as np; from cxrclient.archive.index import SimilarityIndex;"
        "i = SimilarityIndex(sys.argv[1], model_digest=sys.argv[2]);"
        "i.add(['1', '2'], np.eye(2, 128, dtype=np.float32), [{}, {}]); os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", script, str(uri), MODEL], timeout=600)
    with SimilarityIndex(uri, model_digest=MODEL) as index:
        assert len(index) == 2


def refused(uri: Path | str, **options: object) -> str:
    with pytest.raises(ArchiveUnavailable) as caught:
        SimilarityIndex(uri, model_digest=MODEL, **options)  # type: ignore[arg-type]
    return caught.value.message


def test_a_file_that_is_no_database_is_refused_and_left_as_it_was(uri: Path) -> None:
    uri.write_bytes(b"patients,labels\n" * 100)
    assert "not a database" in refused(uri)
    assert uri.read_bytes() == b"patients,labels\n" * 100


def test_a_database_of_another_program_is_refused_and_left_as_it_was(uri: Path) -> None:
    connection = sqlite3.connect(uri)
    connection.execute("CREATE TABLE theirs (a)")
    connection.commit()
    connection.close()
    before = uri.read_bytes()
    assert "database of another program" in refused(uri)
    assert uri.read_bytes() == before


def test_a_truncated_archive_is_refused(uri: Path) -> None:
    filled(uri)
    uri.write_bytes(uri.read_bytes()[:5000])
    assert "damaged" in refused(uri)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("archive", "must end in .db"),
        ("with space.db", "must end in .db"),
        ("x" * 40 + ".db", "at most 36"),
        ("nowhere/cxr.db", "there is no folder"),
    ],
)
def test_a_path_that_cannot_be_an_archive_is_refused(
    tmp_path: Path, name: str, message: str
) -> None:
    assert message in refused(tmp_path / name)


def test_a_folder_is_refused(uri: Path) -> None:
    uri.mkdir()
    assert "is a folder" in refused(uri)


def test_a_place_that_cannot_be_written_is_refused(uri: Path, monkeypatch) -> None:
    """Root may write anywhere, so the answer of the system call is what is replaced here."""
    filled(uri)
    uri.chmod(0o400)
    if os.access(uri, os.W_OK):
        real = os.access
        monkeypatch.setattr(os, "access", lambda p, mode: not mode & os.W_OK and real(p, mode))
    assert "not writable" in refused(uri)


def test_searching_where_there_is_no_archive_makes_none(uri: Path) -> None:
    assert f"cxrclient index FILES --uri {uri}" in refused(uri, create=False)
    assert not uri.exists()


def test_a_folder_for_temporary_files_with_too_long_a_path_is_named(
    uri: Path, tmp_path, monkeypatch
):
    import tempfile

    long = tmp_path / ("x" * 90)
    long.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    assert "Set TMPDIR" in refused(uri)


def test_a_server_that_does_not_answer_is_refused_soon() -> None:
    assert "Is the Milvus server running" in refused("http://127.0.0.1:9", timeout_s=2)


def test_windows_is_told_to_use_a_server(monkeypatch) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    assert "does not run on Windows" in refused("cxr.db")


def test_an_empty_digest_is_refused(uri: Path) -> None:
    with pytest.raises(ArchiveInput, match="model_digest"):
        SimilarityIndex(uri, model_digest="")


def test_importing_the_index_does_not_load_pymilvus() -> None:
    code = "import sys, cxrclient.archive.index; print('pymilvus' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "False"


LAST_WRITE = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN EXCLUSIVE")
print("writes", flush=True)
sys.stdin.readline()
"""


def test_the_last_write_of_a_killed_process_is_waited_for(uri: Path) -> None:
    """Its Milvus Lite lives a moment longer; SQLite by itself waits for five seconds."""
    filled(uri)
    writer = subprocess.Popen(
        [sys.executable, "-c", LAST_WRITE, str(uri)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert writer.stdin is not None
    assert writer.stdout is not None
    assert writer.stdout.readline() == "writes\n"
    end = threading.Timer(6, writer.stdin.close)
    end.start()
    with SimilarityIndex(uri, model_digest=MODEL) as index:
        assert len(index) == 20
    assert writer.wait(timeout=60) == 0
    end.join()
