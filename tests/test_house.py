"""The checks of .ci/house.py find what they are for."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

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
