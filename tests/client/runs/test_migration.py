"""An archive of format 1, taken over to format 2 with its embeddings."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from archive_formats import FILMS, RAW, STRUCTURED, about
from cxrclient.archive import SimilarityIndex
from cxrclient.cli.app import app
from cxrclient.errors import UsageError
from cxrclient.runs import beside, same_embeddings, take_over
from small_archives import MODEL, embeddings, make_format_1

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Milvus Lite has no Windows build")


@pytest.fixture
def run() -> Callable[..., Result]:
    return lambda *asked: CliRunner().invoke(app, ["archive", *map(str, asked)])


def format_1(uri: Path, films: int = FILMS) -> None:
    make_format_1(uri)
    with SimilarityIndex(uri, model_digest=MODEL) as index:
        assert index.format == 1
        ids = [f"1.2.{n}" for n in range(films)]
        rows = [about(n) | {"patient_key": f"p{n // 2}"} for n in range(films)]
        index.add(ids, embeddings(films), rows)


def answers(uri: Path) -> list[Any]:
    """All films, and their neighbours with all kinds of filters."""
    query = embeddings(1, seed=1)[0]
    with SimilarityIndex(uri, model_digest=MODEL) as index:
        asked = [{}, *STRUCTURED, *({"where": where} for where in RAW if "+" not in where)]
        found: list[Any] = [index.search(query, 30, **some) for some in asked]
        found.append([(f.id, f.embedding.tobytes(), f.about()) for f in index.films()])
        return [*found, index.search_id("1.2.7", 9)]


def test_an_archive_of_format_1_gets_format_2_and_answers_as_before(tmp_path, run) -> None:
    uri = tmp_path / "cxr.db"
    format_1(uri)
    before = answers(uri)
    assert "format: 1 (run: cxrclient archive migrate" in run("stats", "--uri", uri).stdout
    done = run("migrate", "--uri", uri)
    assert (done.exit_code, f"{FILMS} films copied, 0 before." in done.stdout) == (0, True)
    assert answers(uri) == before
    assert "format: 2\n" in run("stats", "--uri", uri).stdout
    with SimilarityIndex(uri, model_digest=MODEL) as index:
        assert index.collections() == {"cxr_films": MODEL, f"cxr_films_{MODEL[:12]}": MODEL}
    assert "of the newest format" in run("migrate", "--uri", uri).stdout


def test_an_archive_that_was_migrated_before_is_taken_over_beside_itself(tmp_path, run) -> None:
    """Its collection has the model's name already; the old films go if asked."""
    uri = tmp_path / "cxr.db"
    format_1(uri)
    assert run("migrate", "--uri", uri, "--drop-old").exit_code == 0
    with SimilarityIndex(uri, model_digest=MODEL) as index:
        assert index.collections() == {index.collection: MODEL}
        assert beside(index, MODEL) == f"{index.collection}_2"
    with SimilarityIndex(uri, model_digest=MODEL, collection=f"cxr_films_{MODEL[:12]}_2") as other:
        assert set(other.collections()) == {other.collection}
    with SimilarityIndex(uri, model_digest=MODEL) as index:
        assert f"{index.collection}_2" in index.collections()


def test_films_without_a_site_get_the_one_that_is_given(tmp_path, run) -> None:
    uri = tmp_path / "cxr.db"
    format_1(uri)
    assert run("migrate", "--uri", uri, "--site", "Hannover").exit_code == 0
    with SimilarityIndex(uri, model_digest=MODEL) as index:
        sites = {film.id: film.metadata["site"] for film in index.films()}
    assert sites == {f"1.2.{n}": about(n).get("site", "Hannover") for n in range(FILMS)}


TAKER = """
import sys
from cxrclient.archive import SimilarityIndex
from cxrclient.runs import beside, take_over
with SimilarityIndex(sys.argv[1], model_digest=None) as old:
    digest = old.model_digest
    with SimilarityIndex(sys.argv[1], model_digest=digest, collection=beside(old, digest)) as new:
        for done in take_over(old, new):
            print(done.taken_over, flush=True)
"""


def test_a_kill_in_the_middle_costs_nothing_and_the_next_run_goes_on(tmp_path, run) -> None:
    uri, films = tmp_path / "cxr.db", 6000
    make_format_1(uri)
    rows = [{"view": ("AP", "PA")[n % 2], "age": float(n % 90)} for n in range(films)]
    with SimilarityIndex(uri, model_digest=MODEL) as index:
        index.add([f"1.2.{n}" for n in range(films)], embeddings(films), rows)
        query = embeddings(1, seed=1)[0]
        before = index.search(query, 50, view="AP", age=(None, 40))
    taker = subprocess.Popen(
        [sys.executable, "-c", TAKER, str(uri)], stdout=subprocess.PIPE, text=True
    )
    assert taker.stdout is not None
    copied = [int(taker.stdout.readline()) for _ in range(2)]
    taker.kill()
    taker.wait()
    with SimilarityIndex(uri, model_digest=MODEL) as index:
        assert (index.format, len(index)) == (1, films)  # the old one serves as before
        assert index.search(query, 50, view="AP", age=(None, 40)) == before
    done = run("migrate", "--uri", uri)
    assert done.exit_code == 0, done.output
    left, there = map(int, re.findall(r"(\d+) (?:films copied|before)", done.stdout))
    assert (left + there, there >= copied[-1]) == (films, True)
    with SimilarityIndex(uri, model_digest=MODEL) as index:
        assert (index.format, len(index)) == (2, films)
        assert index.search(query, 50, view="AP", age=(None, 40)) == before


def test_films_that_came_in_meanwhile_are_taken_over_by_the_next_run(tmp_path) -> None:
    uri = tmp_path / "cxr.db"
    format_1(uri)
    with (
        SimilarityIndex(uri, model_digest=MODEL) as old,
        SimilarityIndex(uri, model_digest=MODEL, collection=beside(old, MODEL)) as new,
    ):
        (done,) = take_over(old, new)
        assert (done.taken_over, done.before) == (FILMS, 0)
        old.add(["0.late"], embeddings(1, seed=3), [{}])
        (done,) = take_over(old, new)
        assert (done.taken_over, done.before, len(new)) == (1, FILMS, FILMS + 1)


# --- another model that makes the same embeddings ---------------------------------------------


@pytest.fixture
def repository(tmp_path, request) -> Callable[..., tuple[str, Path]]:
    """Makes the record of a model repository by what is changed in the shipped one's."""
    root = Path(__file__).parents[3] / "model_repository" / "repository.json"
    write = pytest.importorskip("cxrexport.repository.write")
    from cxrexport.repository.spec import RepositorySpec

    def make(
        name: str,
        graphs: dict[str, str] | None = None,
        left_out: Sequence[str] = (),
        **spec: Any,
    ) -> tuple[str, Path]:
        record = json.loads(root.read_text())
        record["spec"] |= spec
        record["graphs"] |= graphs or {}
        changed = RepositorySpec.from_dict(record["spec"])
        digest = write.model_digest(record["graphs"], changed)
        record |= {"model_digest": digest, "embedder": changed.embedder}
        for key in left_out:
            del record[key]
        (tmp_path / name).mkdir()
        (tmp_path / name / "repository.json").write_text(json.dumps(record))
        return digest, tmp_path / name

    return make


def test_models_with_the_same_way_to_the_embedding_are_known_by_their_records(repository) -> None:
    old = repository("old")
    assert same_embeddings(*old, *repository("votes", {"vgg16": "0" * 64, "average": "1" * 64}))
    assert same_embeddings(*old, *repository("labels", labels=["no", "yes"], threshold=0.3))
    members = ["resnet50", "vgg16"]
    assert same_embeddings(*old, *repository("members", members=members))
    # Before, the embedder was not recorded.
    before = repository("before", left_out=("embedder", "files"))
    assert same_embeddings(
        *before, *repository("before, two", left_out=("embedder",), members=members)
    )
    for graph in ("segment", "resnet50"):
        assert not same_embeddings(*old, *repository(graph, {graph: "0" * 64}))
    crop = json.loads((old[1] / "repository.json").read_text())["spec"]["preprocessing"]
    crop |= {"crop_black": 0.06}
    assert not same_embeddings(*old, *repository("crop", preprocessing=crop))
    first = repository("another first", members=["vgg16", "resnet34"])
    assert not same_embeddings(*old, *first)


def test_a_record_that_was_changed_or_is_another_models_proves_nothing(repository) -> None:
    digest, folder = repository("old")
    other, elsewhere = repository("other", {"vgg16": "0" * 64})
    with pytest.raises(UsageError, match=f"the model {other[:12]}, not of {digest[:12]}"):
        same_embeddings(digest, elsewhere, digest, folder)
    with pytest.raises(UsageError, match="cannot be read as the record"):
        same_embeddings(digest, folder / "nowhere", digest, folder)
    changed = repository("resnet50", {"resnet50": "0" * 64})
    for claims in (folder, changed[1]):  # which is in no digest of the default members
        record = json.loads((claims / "repository.json").read_text()) | {"embedder": "vgg16"}
        (claims / "repository.json").write_text(json.dumps(record))
    assert not same_embeddings(digest, folder, *changed)
    (folder / "repository.json").write_text('{"spec": {}, "graphs": []}')
    with pytest.raises(UsageError, match="cannot be read as the record"):
        same_embeddings(digest, folder, other, elsewhere)


def test_such_a_model_takes_the_archive_over_without_a_film(
    tmp_path, run, repository, triton_server
) -> None:
    old, folder = repository("old", {"vgg16": "0" * 64})
    uri = tmp_path / "cxr.db"
    with SimilarityIndex(uri, model_digest=old) as index:
        index.add(["1.2.3"], embeddings(1), [{"label": "a", "probability": 0.25, "ward": 3}])
        before = list(index.films())
    asked = ("migrate", "--uri", uri, "--server", triton_server.grpc_address, "--same-embeddings")
    wrong = run(*asked, triton_server.repository, triton_server.repository)
    assert (wrong.exit_code, "is the record of the model" in wrong.stderr) == (2, True)
    _, other = repository("other", {"segment": "0" * 64})
    assert run(*asked, folder, other).exit_code == 2
    done = run(*asked, folder, triton_server.repository)
    assert (done.exit_code, "1 films copied" in done.stdout) == (0, True), done.output
    with SimilarityIndex(uri, model_digest=None) as index:
        assert index.model_digest != old
        assert list(index.films()) == before
