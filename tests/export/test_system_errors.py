"""What the operating system refuses `cxrexport` is one sentence, and what was there stays."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from cxrexport.cli.app import main

COMMAND = str(Path(sys.executable).with_name("cxrexport"))
SCHEDULE = {
    "epochs": 2,
    "batch_size": 4,
    "learning_rate": 1e-3,
    "learning_rate_decay": 1.0,
    "weight_decay": 0.0,
}
RECIPE = {
    "name": "tiny",
    "negative": "non-covid",
    "positive": "covid",
    "preprocessing": {"size_px": 32},
    "width": 0.125,
    "precision": "fp32",
    "input": "film",
    "segment": SCHEDULE,
    "classify": SCHEDULE,
}


@pytest.fixture
def recipe(tmp_path):
    path = tmp_path / "tiny.yaml"
    path.write_text(yaml.safe_dump(RECIPE))
    return path


def export(*arguments, redirect="", room=None):
    # As a full disk, with another number: Python ignores SIGXFSZ. Not by preexec_fn: gRPC may end
    # a fork of the test's own process.
    limit = [] if room is None else ["prlimit", f"--fsize={room}"]
    return subprocess.run(
        [*limit, "bash", "-c", f'"$@" {redirect}', "bash", COMMAND, *map(str, arguments)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.fixture
def export_here(monkeypatch, capfd):
    """As `export`, in this process: a program of its own loads torch for five seconds first."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)

    def run(*arguments, room=None):
        monkeypatch.setattr(sys, "argv", [COMMAND, *map(str, arguments)])
        monkeypatch.setattr(sys, "stdout", sys.stdout)  # the program puts another in its place
        capfd.readouterr()
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (room or before[0], before[1]))
            with pytest.raises(SystemExit) as end:
                main()
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        return SimpleNamespace(returncode=end.value.code, stderr=capfd.readouterr().err)

    return run


def one_sentence(done, says, code=1):
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr
    words = " ".join(done.stderr.split())
    assert says in words, done.stderr


def test_a_training_without_room_says_so_and_goes_on_when_there_is_some(
    phantom_manifest, recipe, export_here, tmp_path
):
    run = tmp_path / "run"
    train = ["train", "resnet34", "--manifest", phantom_manifest, "--output", run]
    train += ["--recipe", recipe]
    done = export_here(*train, room=200_000)
    one_sentence(done, f"EXPORTER: Cannot use {run}/resnet34/checkpoint.safetensors: File too")
    assert not list(run.rglob("*.part"))
    assert export_here(*train).returncode == 0
    assert json.loads((run / "resnet34" / "metrics.json").read_text())["epochs"] == 2


def test_a_training_whose_state_finds_no_room_keeps_the_best_epoch(
    phantom_manifest, recipe, export_here, tmp_path
):
    run = tmp_path / "run"
    train = ["train", "resnet34", "--manifest", phantom_manifest, "--output", run]
    assert export_here(*train, "--recipe", recipe).returncode == 0
    weights = (run / "resnet34" / "checkpoint.safetensors").stat().st_size
    other = tmp_path / "other"
    train[-1] = other
    done = export_here(*train, "--recipe", recipe, room=weights + 50_000)
    one_sentence(done, f"EXPORTER: Cannot use {other}/resnet34/state.pt: File too large")
    assert [path.name for path in (other / "resnet34").glob("*.safetensors")] == [
        "checkpoint.safetensors"
    ]


def test_a_repository_without_room_is_left_as_it_was(recipe, export_here, tmp_path):
    repository = tmp_path / "repository"
    (repository / "segment" / "1").mkdir(parents=True)
    (repository / "segment" / "1" / "model.onnx").write_bytes(b"of before")
    done = export_here(
        "build", "--random-weights", "--recipe", recipe, "--films", 1, "--repository", repository,
        room=4_000_000,
    )  # fmt: skip
    one_sentence(done, "segment/1/model.onnx: File too large")
    assert "\nEXPORTER: Cannot use " in f"\n{done.stderr}"
    assert (repository / "segment" / "1" / "model.onnx").read_bytes() == b"of before"
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_a_manifest_without_room_is_left_as_it_was(phantom_manifest, tmp_path):
    output = tmp_path / "clean.csv"
    output.write_text("of before")
    done = export("manifest", "check", phantom_manifest, "--output", output, room=300)
    one_sentence(done, "File too large", code=2)
    assert output.read_text() == "of before"


@pytest.mark.parametrize("redirect", [">&-", ">/dev/full"])
def test_findings_that_stdout_does_not_take_fail_the_check(phantom_manifest, redirect):
    done = export("manifest", "check", phantom_manifest, redirect=redirect)
    one_sentence(done, "EXPORTER: Cannot write to standard output: ")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[" * 100_000, "nested deeper than 100 levels"),
        ("name: " + "[" * 300 + "]" * 300, "nested deeper than 100 levels"),
        (
            "a0: &a0 [x, x, x, x, x, x, x, x, x]\n"
            + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12))
            + "name: *a11\n",
            "more than 100000 values",
        ),
        ("name: [", "is not YAML that can be read"),
    ],
)
def test_a_recipe_that_would_take_all_memory_is_refused(export_here, tmp_path, text, says):
    recipe = tmp_path / "deep.yaml"
    recipe.write_text(text)
    done = export_here(
        "build", "--random-weights", "--recipe", recipe, "--repository", tmp_path / "r"
    )
    one_sentence(done, f"RECIPE: {recipe} is not YAML that can be read", code=2)
    assert says in " ".join(done.stderr.split())


def test_a_run_whose_recipe_is_nested_too_deeply_is_damaged(
    phantom_manifest, recipe, export_here, tmp_path
):
    run = tmp_path / "run"
    run.mkdir()
    (run / "recipe.json").write_text("[" * 100_000)
    done = export_here(
        "train", "resnet34", "--manifest", phantom_manifest, "--output", run, "--recipe", recipe
    )
    one_sentence(done, "CHECKPOINT: ")
    assert done.stderr.startswith("CHECKPOINT: ")


@pytest.mark.parametrize("name", ["history.jsonl", "films.json"])
def test_what_a_run_noted_is_read_with_care(name, recipe, tmp_path):
    from cxrexport.errors import CheckpointError
    from cxrexport.training.recipe import load_recipe
    from cxrexport.training.run.folder import Run
    from cxrexport.training.run.learnt import films_learnt_from

    run = Run(tmp_path / "run", load_recipe(str(recipe)))
    folder = run.folder("vgg16")
    folder.path.mkdir()
    (folder.path / name).write_text("[" * 100_000)
    with pytest.raises(CheckpointError, match="damaged"):
        _ = folder.epochs(), films_learnt_from(run, ["vgg16"])


def test_a_state_that_was_cut_off_is_damaged(phantom_manifest, recipe, export_here, tmp_path):
    run = tmp_path / "run"
    (run / "resnet34").mkdir(parents=True)
    (run / "resnet34" / "state.pt").touch()
    done = export_here(
        "train", "resnet34", "--manifest", phantom_manifest, "--output", run, "--recipe", recipe
    )
    one_sentence(done, f"CHECKPOINT: {run}/resnet34/state.pt is damaged")


@pytest.mark.parametrize("command", [["cxrexport", "check"], ["cxrclient", "doctor"]])
def test_a_repository_json_nested_too_deeply_is_no_traceback(command, tmp_path):
    repository = tmp_path / "repository"
    repository.mkdir()
    (repository / "repository.json").write_text('{"spec": ' + "[" * 100_000)
    program = Path(COMMAND).with_name(command[0])
    option = "--repository" if command[0] == "cxrexport" else "--model-repository"
    done = subprocess.run(
        [program, command[1], option, repository], capture_output=True, text=True, check=False
    )
    assert "Traceback" not in done.stderr + done.stdout
    assert done.returncode == 1


def test_a_gate_reference_nested_too_deeply_is_a_value_error():
    from cxrexport.admission import Reference

    with pytest.raises(ValueError, match="no admission reference"):
        Reference.from_json(b"[" * 100_000)


def test_a_command_says_what_ends_it_where_interrupts_are_ignored():
    """As in the background of a script: `cxrexport train … &`, nohup, some CI runners."""
    done = subprocess.run(
        ["bash", "-c", 'trap "" INT; exec "$@"', "bash", COMMAND, "manifest", "check", "none.csv"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stderr.startswith(
        "SIGINT is ignored here, as in a background job: SIGTERM ends this command.\n"
    )
