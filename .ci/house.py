"""Prints how the house stands, and fails where it is beyond its bounds: `python .ci/house.py`.

A line of code holds a token that is neither comment nor docstring. A room is a folder of modules;
its `__init__` and the rooms within it are not counted. A place is a module that does by itself what
one module is for. How often a film is opened is counted as
`tests/client/test_film_read_once.py` does, which also has a server and an archive.
"""

from __future__ import annotations

import ast
import io
import re
import sys
import tempfile
import tokenize
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import grimp

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from film_opens import opens_in  # noqa: E402 - the tests' own measure

PACKAGES = {"client": ROOT / "client/cxrclient", "export": ROOT / "export/cxrexport"}
SERVED = [ROOT / "deploy", ROOT / "model_repository"]
"""Python that runs in servers and containers; as readable as the packages."""
LINES_MOST = 44_500
"""Of client and exporter together. Before they were rooms they had 28,274, and the goal was 26,774.

It was missed by some 1,100: what duplicates took away, new parts brought (the decoders' worker,
ensembles of any members, headers that travel with a Prediction, doors). Then came starting
weights, cached features, lung heads, leave-source-out and stored int8: some 2,600; recipes and
splits, films from memory and TLS to the server: some 1,450. Archive format 2 with its removal,
checks and migration, one pass with stored results, piles of files, codes and a configuration file,
a report for a paper: some 4,600; DICOM results (a room of the plan): 750; the PACS node with its
commands and `pull` (a room of the plan): some 6,600, a tenth of it for full and broken disks. A
room that the plan names may raise it, openly; nothing else.
"""

BENCHMARKS_MOST = 5_200
"""It was 5,000 until the node, a room of the plan, brought benchmarks/node.py and its senders."""

_IGNORED = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT}
_IGNORED |= {tokenize.ENCODING, tokenize.ENDMARKER}

PLACES = {
    "hash a file or bytes": r"(?m)^\s*(?:import|from) (?:hashlib|hmac)\b",
    "know a film by its first bytes": r"DICM|\\x89PNG",
    "wire the ensemble outside Triton": r"run\(AVERAGE|run\(\"average\"",
}


def code_lines(path: Path) -> int:
    """Lines with code: no blanks, no comments, no docstrings."""
    source = path.read_text(encoding="utf-8")
    lines = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in _IGNORED:
            lines.update(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0] if node.body else None
            if isinstance(first, ast.Expr) and isinstance(getattr(first.value, "value", 0), str):
                lines -= set(range(first.lineno, (first.end_lineno or first.lineno) + 1))
    return len(lines)


def modules(*folders: Path) -> list[Path]:
    """Every module below the folders."""
    return sorted(path for folder in folders for path in folder.rglob("*.py"))


def fullest_room(paths: list[Path]) -> tuple[str, int]:
    """The folder with the most modules, and how many they are."""
    rooms = Counter(path.parent for path in paths if path.name != "__init__.py")
    ((room, count),) = rooms.most_common(1)
    return str(room.relative_to(ROOT)), count


def longest(paths: list[Path]) -> tuple[str, int]:
    """The module with the most lines, of whatever kind, and how many they are."""
    lines = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in paths}
    path = max(lines, key=lines.__getitem__)
    return str(path.relative_to(ROOT)), lines[path]


def circles() -> int:
    """Imports to be taken out so that no room and no module imports itself in the end."""
    found = 0
    for package in ("cxrclient", "cxrexport"):
        graph = grimp.build_graph(package)
        for parent in sorted(graph.modules):
            if graph.find_children(parent):
                found += len(graph.nominate_cycle_breakers(parent))
    return found


def places(pattern: str) -> list[str]:
    """The modules of client and exporter whose code has it."""
    return [
        str(path.relative_to(ROOT))
        for path in modules(*PACKAGES.values())
        if re.search(pattern, path.read_text(encoding="utf-8"))
    ]


def writing_whole(root: Path) -> list[str]:
    """The modules that do by themselves what `files.whole` does.

    They give a file another file's name, or bring its content onto the disk before they have it
    take another's place, which does both.
    """
    found = []
    for path in sorted(root.glob("*/cxr*/**/*.py")):
        nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
        functions = [node for node in nodes if isinstance(node, ast.FunctionDef)]
        if any(map(_renames, nodes)) or any(map(_syncs_and_places, functions)):
            found.append(str(path.relative_to(root)))
    return found


def _syncs_and_places(function: ast.FunctionDef) -> bool:
    calls = [node.func for node in ast.walk(function) if isinstance(node, ast.Call)]
    names = {getattr(call, "id", getattr(call, "attr", "")) for call in calls}
    return {"fsync", "take_place"} <= names


def _renames(node: ast.AST) -> bool:
    """Whether it is `path.replace(other)`, `path.rename(other)`, or os's; not text's `replace`."""
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute) or node.keywords:
        return False
    of_os = isinstance(node.func.value, ast.Name) and node.func.value.id == "os"
    return node.func.attr in ("replace", "rename") and len(node.args) == 1 + of_os


def unseen_imports(root: Path) -> list[str]:
    """Imports that the contracts cannot see: names through a lazy door above the module.

    A door (`__init__.pyi`) leads to any room below it, and the contracts read the packages' own
    files only: they see who imports the door, and not whom it leads to. So nobody takes a name from
    `cxrclient` itself, and nobody in a room from that room's door.
    """
    found = []
    for path in sorted(root.glob("*/cxr*/**/*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            for door, name in _named_through(node):
                folder = root / "client" / Path(*door.split("."))
                is_module = any((folder / f"{name}{end}").exists() for end in ("", ".py"))
                above = door == "cxrclient" or folder in path.parents
                if (folder / "__init__.pyi").is_file() and above and not is_module:
                    found.append(f"{path.relative_to(root)}:{node.lineno} {door}.{name}")
    return found


def _named_through(node: ast.AST) -> list[tuple[str, str]]:
    """`from door import name`, and `door.name`, but for the one hook, which names no room."""
    if isinstance(node, ast.ImportFrom):
        return [(node.module or "", alias.name) for alias in node.names]
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
        return [(node.value.id, node.attr)] if node.attr != "IN_A_NOTEBOOK" else []
    return []


def most_opens() -> dict[str, int]:
    """How often a film's file is opened, by those that find films and read them; Linux tells."""
    from PIL import Image

    from cxrclient.films import FilmSearch, read_film
    from cxrclient.pages import FilmFolder
    from cxrclient.runs.read_ahead import batches, read_with_id

    def with_archive_first(folder: Path) -> None:
        for batch in batches(FilmSearch([str(folder)]), lambda path: read_with_id(path, None)):
            for film, _ in batch:
                read_film(film) if isinstance(film, str) else film

    def as_neighbours(folder: Path) -> None:
        for _, film in FilmFolder(folder).find(ids):
            read_film(film) if isinstance(film, str) else film

    ways = {
        "predict, index, report": lambda folder: [*map(read_film, FilmSearch([str(folder)]))],
        "index --resume, migrate": with_archive_first,
        "--archive-films": as_neighbours,
    }
    counted = {}
    with tempfile.TemporaryDirectory() as folder:
        names = [Path(folder, name) for name in ("1", "2.png", "3.jpg")]
        for number, path in enumerate(names):
            Image.new("L", (8, 8), number).save(path, "JPEG" if path.suffix == ".jpg" else "PNG")
        ids = [read_film(path).film_id for path in names]
        for way, go in ways.items():
            with opens_in(Path(folder)) as counts:
                go(Path(folder))
            if sorted(counts) != [path.name for path in names]:
                raise SystemExit(f"{way}: {counts} are not all the films")
            counted[way] = max(counts.values())
    return counted


def rows() -> Iterator[tuple[str, int, int | None, str]]:
    """What is measured: its name, the number, the bound, and where."""
    both = modules(*PACKAGES.values())
    benchmarks = modules(ROOT / "benchmarks")
    lines = {
        name: sum(map(code_lines, [*modules(folder), *folder.rglob("*.pyi")]))
        for name, folder in PACKAGES.items()
    }
    for name, number in lines.items():
        yield f"code lines of {name}, doors included", number, None, ""
    yield "code lines of both", sum(lines.values()), LINES_MOST, ""
    yield "code lines of benchmarks", sum(map(code_lines, benchmarks)), BENCHMARKS_MOST, ""
    where, count = longest(both + modules(*SERVED))
    yield "lines of the longest module", count, 350, where
    where, count = fullest_room(both)
    yield "modules in the fullest room", count, 15, where
    where, count = fullest_room(benchmarks)
    yield "modules in the fullest room of benchmarks", count, 20, where
    yield "circles of imports", circles(), 0, ""
    unseen = unseen_imports(ROOT)
    yield "imports that the contracts cannot see", len(unseen), 0, ", ".join(unseen)
    if sys.platform == "linux":
        for way, opens in most_opens().items():
            yield f"opens of a film by {way}", opens, 1, ""
    for name, found in {
        "write whole (sync and rename)": writing_whole(ROOT),
        **{name: places(pattern) for name, pattern in PLACES.items()},
    }.items():
        yield f"places that {name}", len(found), 1, ", ".join(found)


def main() -> int:
    """Print the table; 1 where a bound is broken."""
    broken = 0
    for name, number, bound, where in rows():
        beyond = bound is not None and number > bound
        broken += beyond
        limit = "" if bound is None else f"<= {bound:,}"
        print(f"{'BEYOND' if beyond else '':7}{name:44}{number:>8,}  {limit:11}{where}")
    return int(broken > 0)


if __name__ == "__main__":
    sys.exit(main())
