"""A lung network from elsewhere: read back from a graph, from a run, at another size, and noted."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper

from cxrclient.errors import UsageError
from cxrclient.files import sha256_of
from cxrclient.serving import own_repository
from cxrexport.ensemble import OnnxGraphs
from cxrexport.errors import CheckpointError, RecipeError
from cxrexport.preprocessing import preprocess
from cxrexport.training.run import given_lungs, note_of_run, origin_of, weights_digest
from cxrexport.training.run.folder import Run
from cxrexport.training.run.lungs import _KNOWN, lungs_of_graph

GRAPH = own_repository() / "segment" / "1" / "model.onnx"


@pytest.fixture(scope="module")
def starter():
    return given_lungs("starter")


@pytest.fixture
def behind(still):
    """A recipe behind the starter's preprocessing, at 32 px unless said otherwise."""

    def make(**changes):
        return still(preprocessing={"size_px": 32, **changes})

    return make


def same(a, b):
    a, b = a.state_dict(), b.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


# --- the weights of a graph --------------------------------------------------------------------


def test_the_shipped_graph_and_the_network_read_from_it_give_equal_maps(
    starter, phantom_rows
) -> None:
    film = np.stack(
        [preprocess(r.image.read_bytes(), starter.spec).image for r in phantom_rows[:2]]
    )
    film = film.reshape(2, 1, 320, 320).astype(np.float32)
    served = OnnxGraphs({"segment": GRAPH}).run("segment", {"CXR": film})["LUNGS"]
    with torch.inference_mode():
        ours = starter.module(torch.from_numpy(film)).numpy()
    np.testing.assert_allclose(ours, served, atol=1e-4)
    assert 0.05 < (served > 0.5).mean() < 0.6, "the films show lungs"


def test_weights_that_the_graph_dequantises_are_read_too(starter, tmp_path) -> None:
    model = onnx.load(GRAPH)
    cast = next(node for node in model.graph.node if node.op_type == "Cast")
    weight = next(each for each in model.graph.initializer if each.name == cast.input[0])
    values = numpy_helper.to_array(weight).astype(np.float32)
    scale = np.abs(values).max(axis=(1, 2, 3)) / 127
    steps = np.rint(values / scale[:, None, None, None]).astype(np.int8)
    weight.CopyFrom(numpy_helper.from_array(steps, weight.name))
    model.graph.initializer.append(numpy_helper.from_array(scale, "scale"))
    node = onnx.helper.make_node(
        "DequantizeLinear", [weight.name, "scale"], list(cast.output), axis=0
    )
    cast.CopyFrom(node)
    onnx.save(model, tmp_path / "model.onnx")
    read = lungs_of_graph(tmp_path / "model.onnx").state_dict()
    whole = starter.module.state_dict()
    name = weight.name.removesuffix(".fp16")
    for key in whole:
        step = float(scale.max()) / 2 if key == name else 0.0
        assert (read[key] - whole[key]).abs().max() <= step * 1.001
    assert not torch.equal(read[name], whole[name])


@pytest.mark.parametrize("content", ["another network", "no graph"])
def test_what_is_no_graph_of_the_lung_network_is_refused(content, tmp_path) -> None:
    path = tmp_path / "model.onnx"
    if content == "no graph":
        path.write_bytes(b"\x08\xff not a graph")
    else:
        shutil.copy(own_repository() / "average" / "1" / "model.onnx", path)
    with pytest.raises(CheckpointError, match=r"model\.onnx (is no graph of|cannot be read)"):
        lungs_of_graph(path)


# --- taking it over ----------------------------------------------------------------------------


def test_a_run_takes_the_shipped_network_at_its_own_size_and_says_so(
    starter, behind, new_run, phantom_rows
) -> None:
    run = new_run("here", behind())
    starter.check(run.recipe)
    starter.take(run)
    taken = Run.open(run.path)
    assert same(taken.load("segment"), starter.module)
    assert weights_digest(taken.folder("segment").checkpoint) == starter.digest
    assert str(origin_of(taken, "segment")).startswith("repository starter (75c6c5a6d41d")
    notice = origin_of(taken, "segment").notice
    assert "That of repository starter, as it is" in notice
    again = given_lungs(str(run.path)).origin.notice
    assert notice.count("CC BY-NC-SA 4.0") == again.count("CC BY-NC-SA 4.0") > 0
    said = note_of_run(taken, phantom_rows)
    assert "that of repository starter, not trained here" in said
    assert "it learnt at 320 px and is used at 32 px" in said
    assert "422 films" in said
    film = torch.rand(1, 1, 32, 32)
    assert torch.equal(taken.load("segment")(film), starter.module(film))


def test_films_of_the_collections_that_the_shipped_network_saw_are_counted(
    starter, phantom_rows
) -> None:
    rows = [replace(row, source="nlm-shenzhen") for row in phantom_rows[:5]]
    rows += phantom_rows[5:9]
    assert "5 of these 9 films are of those collections" in starter.note(rows, 320)
    assert "of those collections" not in starter.note(phantom_rows, 320)
    assert set(_KNOWN) == {starter.digest}


def test_a_run_gives_its_network_and_which_of_the_films_it_learnt_from(
    behind, new_run, phantom_rows
) -> None:
    other = new_run("there", behind())
    other.save("segment", other.make("segment"), {})
    other.folder("segment").metrics.write_text("{}")
    given = given_lungs(str(other.path))
    assert given.name == "run there"
    assert "which films it learnt from is not known" in given.note(phantom_rows, 32)
    digests = [sha256_of(row.image) for row in phantom_rows[:3]]
    (other.folder("segment").path / "films.json").write_text(json.dumps(digests))
    given = given_lungs(str(other.path))
    assert "it learnt from 3 of these 24 films" in given.note(phantom_rows, 32)
    run = new_run("here", behind())
    given.take(run)
    given.take(run)
    assert same(run.load("segment"), other.load("segment"))
    assert note_of_run(other, phantom_rows) is None


def test_without_masks_nothing_says_how_good_the_maps_are(starter, phantom_rows) -> None:
    bare = [replace(row, mask=None) for row in phantom_rows]
    assert "no lung masks" in starter.note(bare, 320)
    assert "no lung masks" not in starter.note(phantom_rows, 320)


# --- what does not fit -------------------------------------------------------------------------


def test_another_preprocessing_than_the_size_is_refused_with_the_difference(
    starter, behind
) -> None:
    with pytest.raises(CheckpointError, match=r"clahe_clip_limit 2\.0 there, 0\.0 here\)"):
        starter.check(behind(clahe_clip_limit=0.0))


def test_a_run_that_has_another_lung_network_keeps_it(starter, behind, new_run) -> None:
    run = new_run("here", behind())
    run.save("segment", run.make("segment"), {})
    with pytest.raises(RecipeError, match="holds another lung network than that of repository"):
        starter.take(run)


def test_neither_run_nor_repository_is_refused_with_what_to_give(tmp_path) -> None:
    with pytest.raises(CheckpointError, match="give starter, the folder of a run"):
        given_lungs(str(tmp_path))


def test_a_repository_whose_lung_graph_is_another_is_refused(tmp_path) -> None:
    copy = tmp_path / "repository"
    (copy / "segment" / "1").mkdir(parents=True)
    shutil.copy(own_repository() / "repository.json", copy)
    (copy / "segment" / "1" / "model.onnx").write_bytes(GRAPH.read_bytes() + b" ")
    with pytest.raises(CheckpointError, match="missing or not the recorded one"):
        given_lungs(str(copy))


def test_a_shipped_name_that_is_also_a_folder_here_is_refused(tmp_path, monkeypatch) -> None:
    (tmp_path / "starter").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=r"write \./starter for the folder"):
        given_lungs("starter")
