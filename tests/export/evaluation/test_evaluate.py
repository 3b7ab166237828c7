"""`cxrexport evaluate` on the committed starter graphs and on drawn films, and what it refuses."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from cxrexport.cli.app import app
from cxrexport.evaluation.blanking import INTERVENTIONS
from cxrexport.evaluation.scoring import Networks, RawScores, score
from cxrexport.evaluation.subject import subject_of_repository
from cxrexport.manifest import read_manifest, write_manifest
from cxrexport.preprocessing import preprocess

SERVED = ("resnet34", "resnet50", "resnet152", "vgg16")


@pytest.fixture(scope="session")
def starter(pytestconfig):
    return pytestconfig.rootpath / "model_repository"


def evaluate(manifest, output, *more):
    return CliRunner().invoke(
        app, ["evaluate", "--manifest", str(manifest), "--output", str(output), *map(str, more)]
    )


@pytest.fixture(scope="module")
def evaluated(starter, phantom_manifest, tmp_path_factory):
    output = tmp_path_factory.mktemp("evaluated")
    drawn = read_manifest(phantom_manifest)
    rows = [
        row
        for label in ("covid", "non-covid")
        for row in [film for film in drawn if film.label == label][:4]
    ]
    few = output / "few.csv"
    write_manifest([replace(row, split=None) for row in rows], few)
    result = evaluate(few, output, "--repository", starter, "--bootstrap", 20)
    assert result.exit_code == 0, result.output
    return output, rows


@pytest.mark.slow
def test_a_repository_is_judged_as_it_is_served(evaluated, starter):
    """Graph by graph by hand: preprocess, segment, four members, their mean."""
    output, rows = evaluated
    metrics = json.loads((output / "metrics.json").read_text())
    subject = subject_of_repository(starter)
    right = 0
    for row in rows:
        image = preprocess(row.image.read_bytes(), subject.spec).image
        film = torch.from_numpy(np.rint(image * 255).astype(np.uint8)).float().div(255)[None]
        lungs = (subject.lungs(film) * 255).round().div(255)
        judges = subject.networks
        margins = [judges.margin(name, judges.run(name, film, lungs)).item() for name in SERVED]
        probability = np.mean([1 / (1 + np.exp(-margin)) for margin in margins])
        right += (probability > subject.threshold) == (row.label == subject.labels[1])
    ensemble = next(r for r in metrics["comparison"]["rows"] if r["name"] == "ensemble")
    counts = ensemble["over_trials"]["counts"]
    assert counts["true_positive"] + counts["true_negative"] == right
    assert ensemble["over_trials"]["n"] == len(rows)


@pytest.mark.slow
def test_what_the_evidence_lacks_is_said(evaluated):
    metrics = json.loads((evaluated[0] / "metrics.json").read_text())
    assert metrics["verdict"]["code"] == "CANNOT_BE_JUDGED"
    assert metrics["calibration"]["reason"] or metrics["calibration"]["trials"][0]["reason"]
    assert metrics["retrieval"]["reason"] or metrics["retrieval"]["trials"][0]["reason"]


def test_a_temperature_divides_the_margin(starter):
    plain = subject_of_repository(starter).networks
    warm = replace(plain, temperatures={"resnet34": 2.0})
    film = torch.rand(1, 1, 320, 320)
    lungs = plain.lungs(film)
    for name, divisor in (("resnet34", 2.0), ("vgg16", 1.0)):
        said = plain.run(name, film, lungs)
        np.testing.assert_allclose(warm.margin(name, said), plain.margin(name, said) / divisor)


def test_scores_come_back_from_their_file(tmp_path):
    raw = RawScores(
        margins={"resnet34": np.array([0.5, -1.0])},
        embedding=np.ones((2, 3), np.float32),
        blanked={"no_lungs": {"resnet34": np.array([np.nan, 2.0])}},
    )
    raw.save(tmp_path / "scores.npz")
    back = RawScores.load(tmp_path / "scores.npz")
    np.testing.assert_array_equal(back.margins["resnet34"], raw.margins["resnet34"])
    np.testing.assert_array_equal(back.embedding, raw.embedding)
    np.testing.assert_array_equal(
        back.blanked["no_lungs"]["resnet34"], raw.blanked["no_lungs"]["resnet34"]
    )
    assert back.heat_in_lungs is back.lung_share is None


def test_only_the_films_asked_for_are_looked_at_closely():
    class Mean:
        """Says the film's mean, and looks everywhere."""

        def run(self, graph, inputs):
            asked.append(len(inputs["CXR"]))
            mean = inputs["CXR"].mean(axis=(1, 2, 3))
            logits = np.stack([np.zeros_like(mean), mean], axis=1)
            cam = np.ones((len(mean), 2, 2), np.float32)
            return {"LOGITS": logits, "EMBEDDING": mean[:, None], "CAM": cam}

    asked: list[int] = []
    films = np.full((5, 1, 64, 64), 51, np.uint8)
    lungs = np.zeros_like(films)
    lungs[:, :, :, :32] = 255
    raw = score(Networks(Mean(), ("resnet34",)), films, lungs, closely=[1, 4])
    assert np.isnan(raw.heat_in_lungs).tolist() == [True, False, True, True, False]
    np.testing.assert_allclose(raw.heat_in_lungs[[1, 4]], 0.5)
    np.testing.assert_allclose(raw.lung_share, 0.5)
    np.testing.assert_allclose(raw.margins["resnet34"], 0.2, rtol=1e-6)
    assert set(raw.blanked) == set(INTERVENTIONS)
    # Five whole films, of which none is asked about twice, and two under each intervention.
    assert sum(asked) == 5 + 2 * len(INTERVENTIONS)


@pytest.mark.parametrize("both", [True, False])
def test_either_a_run_or_a_repository_is_evaluated(both, starter, phantom_manifest, tmp_path):
    more = ["--repository", starter, "--run", tmp_path] if both else []
    result = evaluate(phantom_manifest, tmp_path / "out", *more)
    assert result.exit_code == 2
    assert "Give either --run or --repository" in result.output


def test_one_class_of_test_films_is_refused_before_anything_is_scored(
    starter, phantom_manifest, tmp_path
):
    rows = [r for r in read_manifest(phantom_manifest) if r.label == "covid"]
    write_manifest([replace(row, split=None) for row in rows], tmp_path / "one.csv")
    result = evaluate(tmp_path / "one.csv", tmp_path / "out", "--repository", starter)
    assert result.exit_code == 2
    assert "No test film is non-covid" in result.output
    assert not (tmp_path / "out" / "after").exists()


def test_a_repository_whose_graph_is_another_is_refused(starter, phantom_manifest, tmp_path):
    copy = tmp_path / "repository"
    copy.mkdir()
    for part in starter.iterdir():
        (copy / part.name).symlink_to(part)
    (copy / "vgg16").unlink()
    (copy / "vgg16" / "1").mkdir(parents=True)
    (copy / "vgg16" / "1" / "model.onnx").write_bytes(b"another")
    result = evaluate(phantom_manifest, tmp_path / "out", "--repository", copy)
    assert result.exit_code == 1
    assert "vgg16: the graph is missing or not the recorded one" in " ".join(result.output.split())
