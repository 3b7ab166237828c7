"""What users may import, and what importing costs them."""

from __future__ import annotations

import importlib
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest

import cxrclient

HEAVY = ("torch", "cv2", "pymilvus", "tritonclient", "grpc", "milvus_lite", "pydicom", "PIL",
         "pandas")  # fmt: skip

CLIENT = Path(cxrclient.__file__).parent
DOORS = [
    ".".join(stub.parent.relative_to(CLIENT.parent).parts)
    for stub in sorted(CLIENT.rglob("__init__.pyi"))
]


def python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout


def test_the_public_names_are_these():
    assert cxrclient.__all__ == [
        "AccessDenied",
        "ArchiveError",
        "ArchiveInput",
        "ArchiveMismatch",
        "ArchiveUnavailable",
        "AsyncCxrClient",
        "CxrClient",
        "CxrClientError",
        "EmbeddedServer",
        "Endpoint",
        "EnsembleInfo",
        "Film",
        "FilmError",
        "MetadataError",
        "ModelInfo",
        "Neighbour",
        "OperatingPoint",
        "Prediction",
        "ServeFailed",
        "ServerError",
        "ServerUnfit",
        "ServerUnreachable",
        "SimilarityIndex",
        "Tls",
        "TlsFailed",
        "UsageError",
        "read_film",
        "to_dataframe",
    ]


@pytest.mark.parametrize("name", cxrclient.__all__)
def test_every_public_name_can_be_had(name):
    assert getattr(cxrclient, name).__name__ == name


@pytest.mark.parametrize("door", DOORS)
def test_every_name_that_a_door_promises_can_be_had(door):
    room = importlib.import_module(door)
    assert room.__all__
    for name in room.__all__:
        assert hasattr(room, name), name


def test_the_version_is_that_of_what_is_installed(monkeypatch):
    assert cxrclient.__version__ == version("cxr-triton")

    def missing(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr("importlib.metadata.version", missing)
    assert not hasattr(cxrclient, "__version__")


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="Cxr"):
        _ = cxrclient.CxrCleint  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "module",
    [
        "cxrclient",
        "cxrclient.cli.app",
        "cxrclient.errors",
        "cxrclient.wire.client",
        "cxrclient.archive.index",
    ],
)
def test_importing_loads_nothing_heavy(module):
    loaded = python(f"import {module}, sys; print(*sys.modules)").split()
    assert [name for name in HEAVY if name in loaded] == []


def test_making_every_public_name_loads_neither_torch_nor_the_exporter():
    code = "import cxrclient, sys; [getattr(cxrclient, n) for n in cxrclient.__all__]"
    loaded = python(f"{code}; print(*sys.modules)").split()
    assert {"torch", "cv2", "cxrexport", "pymilvus", "tritonclient"} & set(loaded) == set()


def loaded_by_help(program: str, *command: str) -> set[str]:
    """Packages in memory after `COMMAND --help`, without the standard library's."""
    show = "print(*{name.partition('.')[0] for name in sys.modules})"
    lines = ["import atexit, sys", f"sys.argv[1:] = {[*command, '--help']}"]
    lines += [f"atexit.register(lambda: {show})", program]
    return set(python("\n".join(lines)).splitlines()[-1].split()) - sys.stdlib_module_names


CXRCLIENT = "from cxrclient.cli.app import main; main()"
ANY_TYPER_PROGRAM = """
import typer
app = typer.Typer()
@app.command()
def one(): "One."
@app.command()
def other(): "Other."
app()
"""


def test_help_loads_what_any_typer_program_loads_and_ourselves():
    loaded = loaded_by_help(CXRCLIENT)
    assert loaded - loaded_by_help(ANY_TYPER_PROGRAM) == {"cxrclient", "lazy_loader"}


@pytest.mark.parametrize("command", ["predict", "index", "similar", "report", "serve", "doctor"])
def test_a_commands_help_loads_nothing_heavy(command):
    loaded = loaded_by_help(CXRCLIENT, command)
    assert [name for name in (*HEAVY, "numpy") if name in loaded] == []
