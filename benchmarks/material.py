"""What the benchmarks run on: films, and repositories of three sizes with random weights.

    python benchmarks/material.py [--scenario paper] [--precision int8]

Made once and kept under build/benchmarks; made again when a recipe or the code behind the graphs
changes. The benchmarks make what they need; this makes it beforehand, so that no benchmark waits.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import typer
import yaml
from inputs.films import real_film

from cxrclient.films import read_film
from cxrexport.manifest import read_manifest, write_manifest
from cxrexport.phantom import write_phantoms
from cxrexport.repository import check_repository, read_repository, write_repository
from cxrexport.repository.configs import parse
from cxrexport.training.recipe import load_recipe

ROOT = Path(__file__).resolve().parents[1]
BUILD = ROOT / "build" / "benchmarks"
FILM_SIZE_PX = 2048
DRAWN_FILMS = 3
PRECISIONS = ("f32", "bf16", "int8")


@dataclass(frozen=True)
class Scenario:
    """A size of the networks: a recipe, at the recipe's image size or another one.

    Attributes:
        name: also its folder under build/benchmarks.
        recipe: `starter` or `paper`.
        size_px: None for the recipe's own.
    """

    name: str
    recipe: str
    size_px: int | None = None


SCENARIOS = {
    one.name: one
    for one in (
        Scenario("starter", "starter"),
        Scenario("paper-512", "paper", 512),
        Scenario("paper", "paper"),
    )
}


@dataclass(frozen=True)
class Built:
    """A scenario's repository, and the recipe that PyTorch makes the same networks from."""

    scenario: Scenario
    repository: Path
    recipe: Path


def films() -> list[Path]:
    """Uncompressed DICOM: one real chest film of 1955×1841, and drawn ones of about 2048 px."""
    manifest = BUILD / "films" / f"{FILM_SIZE_PX}" / "manifest.csv"
    if not manifest.is_file() or len(read_manifest(manifest)) != DRAWN_FILMS:
        write_phantoms(DRAWN_FILMS, manifest.parent, seed=4, size_px=FILM_SIZE_PX)
    return [real_film(), *(row.image for row in read_manifest(manifest))]


def payloads() -> list[bytes]:
    """The same films as the client sends them: pixels, and what shows them rightly."""
    return [read_film(path).payload for path in films()]


def build(scenario: Scenario, precision: str = "f32") -> Built:
    """Build the scenario's repository with the commands that users have, unless it is there.

    Args:
        scenario: which.
        precision: `int8`: quantise it too.

    Raises:
        RuntimeError: `cxrexport build` or `quantise` failed; ends with its own words.
    """
    folder = BUILD / scenario.name
    built = Built(scenario, folder / "model_repository", folder / "recipe.yaml")
    wanted, stamp = _recipe(scenario), folder / "made-from.txt"
    if not (stamp.is_file() and stamp.read_text() == _made_from(wanted) and _is_whole(built)):
        folder.mkdir(parents=True, exist_ok=True)
        stamp.unlink(missing_ok=True)
        built.recipe.write_text(wanted, encoding="utf-8")
        command = ["cxrexport", "build", "--random-weights", "--films", "1"]
        run([*command, "--recipe", str(built.recipe), "--repository", str(built.repository)])
        stamp.write_text(_made_from(wanted))
    if precision == "int8":
        quantise(built)
    return built


def quantise(built: Built) -> None:
    """Give the repository int8 graphs, unless it has them; random weights have no accuracy.

    Raises:
        RuntimeError: `cxrexport quantise` failed; ends with its own words.
    """
    if (built.repository / "resnet34" / "configs" / config_name("int8")).is_file():
        return
    rows = read_manifest(BUILD / "films" / f"{FILM_SIZE_PX}" / "manifest.csv")
    *calibration, judged = [replace(row, label=rows[0].label, split="train") for row in rows]
    manifest = built.repository.with_name("quantise.csv")
    write_manifest([*calibration, replace(judged, split="test", patient_id="judged")], manifest)
    command = ["cxrexport", "quantise", "--repository", str(built.repository)]
    run([*command, "--manifest", str(manifest), "--accept-unjudged"])


def _is_whole(built: Built) -> bool:
    """Whether the repository is as it was built, its configuration brought up to date."""
    if not (built.repository / "repository.json").is_file():
        return False
    write_repository(read_repository(built.repository)[0], built.repository)
    return check_repository(built.repository, open_graphs=False) == []


def _made_from(recipe: str) -> str:
    """What the graphs follow from: the recipe, and the code of networks and export."""
    package = ROOT / "export" / "cxrexport"
    sources = [*sorted((package / "networks").glob("*.py")), package / "onnx.py"]
    digest = hashlib.sha256(recipe.encode())
    for path in [*sources, package / "build.py"]:
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _recipe(scenario: Scenario) -> str:
    facts = load_recipe(scenario.recipe).model_dump(mode="json", exclude_none=True)
    facts["name"] = scenario.name
    if scenario.size_px is not None:
        facts["preprocessing"] = {**facts["preprocessing"], "size_px": scenario.size_px}
    return yaml.safe_dump(facts, sort_keys=True, allow_unicode=True)


def run(command: list[str]) -> str:
    """Run one of the project's commands; its stdout.

    Raises:
        RuntimeError: it failed; the message ends with its last words.
    """
    program = Path(sys.executable).with_name(command[0])
    done = subprocess.run([program, *command[1:]], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        words = (done.stderr or done.stdout).strip().splitlines() or ["it said nothing"]
        raise RuntimeError(f"`{' '.join(command[:2])}` ended with {done.returncode}: {words[-1]}")
    return done.stdout


def config_name(precision: str) -> str:
    """The file under `configs/` that serves a precision."""
    return "cpu.pbtxt" if precision == "f32" else f"cpu-{precision}.pbtxt"


def served_graph(repository: Path, graph: str, precision: str) -> tuple[Path, str]:
    """The file of a graph that the CPU's configuration names, and its precision hint.

    Raises:
        FileNotFoundError: the repository does not serve that precision.
    """
    config = repository / graph / "configs" / config_name(precision)
    if not config.is_file():
        raise FileNotFoundError(f"{repository.name} has no {graph}/configs/{config.name}")
    facts = parse(config.read_text(encoding="utf-8"))
    hint = facts.parameters["INFERENCE_PRECISION_HINT"].string_value or "f32"
    return repository / graph / "1" / (facts.default_model_filename or "model.onnx"), hint


def computed_in(repository: Path, graph: str, precision: str) -> str:
    """The precision that a graph's products are computed in: int8 where the graph is quantised."""
    path, hint = served_graph(repository, graph, precision)
    return "int8" if "int8" in path.name else hint


def image_size_px(repository: Path) -> int:
    """Size of the networks' input."""
    return read_repository(repository)[0].preprocessing.size_px


def main(
    scenario: Annotated[list[str] | None, typer.Option(help=f"{', '.join(SCENARIOS)}.")] = None,
    precision: Annotated[list[str] | None, typer.Option(help="int8: quantise too.")] = None,
) -> None:
    """Make films and repositories."""
    films()
    for name in scenario or list(SCENARIOS):
        print(build(SCENARIOS[name], "int8" if "int8" in (precision or []) else "f32").repository)


if __name__ == "__main__":
    typer.run(main)
