"""The checks of .ci/house.py find what they are for."""

from __future__ import annotations

import ast
import importlib.util
import re
import tomllib
from collections import Counter
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def house() -> ModuleType:
    spec = importlib.util.spec_from_file_location("house", ROOT / ".ci" / "house.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("module", "line", "seen"),
    [
        ("client/cxrclient/films/a.py", "from cxrclient import CxrClient", False),
        ("client/cxrclient/films/a.py", "def f():\n    from cxrclient import CxrClient", False),
        ("client/cxrclient/films/a.py", "import cxrclient\ncxrclient.CxrClient", False),
        ("client/cxrclient/films/a.py", "from cxrclient.films import Film", False),
        ("export/cxrexport/preprocessing/a.py", "from cxrclient import CxrClient", False),
        ("export/cxrexport/preprocessing/a.py", "from cxrclient.films import Film", True),
        ("client/cxrclient/wire/a.py", "from cxrclient.films import Film", True),
        ("client/cxrclient/wire/a.py", "from cxrclient import films", True),
        ("client/cxrclient/films/a.py", "from cxrclient.films import film", True),
    ],
)
def test_a_name_through_a_door_above_is_found(
    module: str, line: str, seen: bool, house: ModuleType, tmp_path: Path
) -> None:
    for door in ("client/cxrclient", "client/cxrclient/films"):
        (tmp_path / door).mkdir(parents=True)
        (tmp_path / door / "__init__.pyi").touch()
    (tmp_path / "client/cxrclient/films/film.py").touch()
    path = tmp_path / module
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(line)
    assert (house.unseen_imports(tmp_path) == []) == seen


@pytest.mark.parametrize(
    ("lines", "alone"),
    [
        ("part.replace(path)", True),
        ("os.rename(part, path)", True),
        ("os.fsync(file.fileno())\n    take_place(part, path)", True),
        ("take_place(part, path)", False),
        ("os.fsync(file.fileno())", False),
        ("text.replace('a', 'b')", False),
    ],
)
def test_a_module_that_writes_a_file_whole_by_itself_is_found(
    lines: str, alone: bool, house: ModuleType, tmp_path: Path
) -> None:
    path = tmp_path / "client/cxrclient/runs/journal.py"
    path.parent.mkdir(parents=True)
    path.write_text(f"def f():\n    {lines}\n")
    assert house.writing_whole(tmp_path) == [str(path.relative_to(tmp_path))] * alone


def test_a_module_that_servers_run_is_as_short_as_the_packages(house: ModuleType) -> None:
    served = house.modules(*house.SERVED)
    assert ROOT / "deploy/openvino/model.py" in served
    where, lines = house.longest(served)
    assert lines <= 350, where


def test_each_bound_of_size_has_its_reason_beside_it() -> None:
    text = (ROOT / ".ci" / "house.py").read_text()
    for bound in ("LINES_MOST", "BENCHMARKS_MOST"):
        assert re.search(rf'^{bound} = [\d_]+\n""".+', text, re.MULTILINE), bound
    assert not re.search(r"yield .*\d{4,}", text)


SAID_TWICE = {"Access", "Answer", "Counts", "Facts", "Finding", "Layout", "Mended", "Neighbour"}
SAID_TWICE |= {"OperatingPoint", "Reference", "Rows", "Spool", "Store", "Subject"}
SAID_TWICE |= {"TritonPythonModel"}  # Triton's own name of a step
"""Words that two public classes have. None comes in; those that are mended go."""


def test_a_word_names_one_class(house: ModuleType) -> None:
    words = Counter(
        node.name
        for path in house.modules(*house.PACKAGES.values())
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
    )
    assert {word for word, classes in words.items() if classes > 1} <= SAID_TWICE


FOR_USERS = {"data_uri", "film_heatmap", "overlay", "page_html", "prediction_html"}  # of `pages`
FOR_USERS |= {"cpu", "shipped_repositories"}  # of `serving`
"""What a door gives to who writes a notebook or a program of his own, and to tests."""


def test_what_a_door_gives_is_taken() -> None:
    """Also by `cxrclient` itself, whose names are public; tests alone do not count."""
    taken: set[tuple[str, str]] = set()
    for base in ("client", "export", "benchmarks", "deploy", "notebooks"):
        for path in [*(ROOT / base).rglob("*.py"), ROOT / "client/cxrclient/__init__.pyi"]:
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.ImportFrom):
                    room = (node.module or "").removeprefix("cxrclient.")
                    room = room.partition(".")[0] if node.level else room
                    taken |= {(room, alias.name) for alias in node.names}
                elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                    taken.add((node.value.id, node.attr))
    given = {
        (door.parent.name, alias.name)
        for door in (ROOT / "client/cxrclient").glob("*/__init__.pyi")
        for node in ast.parse(door.read_text()).body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert {(room, name) for room, name in given - taken if name not in FOR_USERS} == set()


# --- the contracts in pyproject.toml ----------------------------------------------------------

ROOMS = {
    f"cxrclient.{door.parent.name}" for door in (ROOT / "client/cxrclient").glob("*/__init__.pyi")
}
"""Of the client. A room that is left out of a list here could do what the contract forbids."""


def contracts(kind: str) -> list[dict[str, Any]]:
    lint = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    return [contract for contract in lint["contracts"] if contract["type"] == kind]


def test_of_each_room_of_the_client_others_import_what_its_door_gives() -> None:
    found = [
        (rule["protected_modules"], rule["allowed_importers"]) for rule in contracts("protected")
    ]
    assert len(ROOMS) > 10
    assert [room for room in sorted(ROOMS) if ([f"{room}.*"], [room]) not in found] == []


def test_the_steps_may_import_three_rooms_of_the_client_and_no_other() -> None:
    (steps,) = (
        rule for rule in contracts("forbidden") if "cxrexport.admission" in rule["source_modules"]
    )
    allowed = {"cxrclient.files", "cxrclient.films", "cxrclient.pixels"}
    assert ROOMS - set(steps["forbidden_modules"]) == allowed


def test_a_codec_is_kept_from_every_room_that_is_not_named() -> None:
    (codecs,) = (rule for rule in contracts("protected") if "cv2" in rule["protected_modules"])
    assert set(codecs["allowed_importers"]) == {"cxrclient.pixels", "cxrexport"}
