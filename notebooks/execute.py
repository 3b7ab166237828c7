"""Run the notebooks and keep what they show, so that they can be read where nothing runs.

    python notebooks/execute.py

Not kept: scripts (Bokeh's library alone is megabytes), the plain text of what is shown as a picture
or a table as well, and whatever tells of this machine. A server is taken from CXR_SERVER.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

FOLDER = Path(__file__).parent
SHOWN = ("text/html", "image/png")
KEPT = (*SHOWN, "text/plain")
HANG_S = 600


def execute(path: Path, folder: str) -> Any:
    """The notebook as it is after running in a folder; a cell that raises ends it.

    Args:
        path: of the notebook.
        folder: where it runs.
    """
    notebook = nbformat.read(path, as_version=4)
    where = {"metadata": {"path": folder}}
    # Only catches a hang: a busy machine may take a minute to start the kernel.
    patience = {"timeout": HANG_S, "startup_timeout": HANG_S}
    NotebookClient(notebook, kernel_name="python3", resources=where, **patience).execute()
    return notebook


def kept(notebook: Any) -> Any:
    """The same notebook with the outputs that are kept."""
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    for cell in notebook.cells:
        cell.metadata = {}
        if cell.cell_type == "code":
            cell.outputs = [output for output in map(_kept, _joined(cell.outputs)) if output]
    return notebook


def _joined(outputs: list[Any]) -> list[Any]:
    """Text that follows text of the same stream as one: the kernel cuts it where it pleases."""
    joined: list[Any] = []
    for output in outputs:
        before = joined[-1] if joined else {}
        if output.output_type == "stream" and output.name == before.get("name"):
            before["text"] += output.text
        else:
            joined.append(output)
    return joined


def _kept(output: Any) -> Any | None:
    if output.output_type == "stream":
        return output
    data = {kind: value for kind, value in output.data.items() if kind in KEPT}
    if any(kind in data for kind in SHOWN):
        data.pop("text/plain", None)
    scripts = any("javascript" in kind or "bokeh" in kind for kind in output.data)
    html = data.get("text/html", "")
    if not data or scripts or "<script" in html or "data-root-id" in html:
        return None
    output.data, output.metadata = data, {}
    return output


def main() -> None:
    """Run all notebooks, each in a folder of its own."""
    for path in sorted(FOLDER.glob("*.ipynb")):
        with tempfile.TemporaryDirectory() as folder:
            notebook = kept(execute(path, folder))
        nbformat.write(notebook, path)
        sys.stderr.write(f"{path}: {path.stat().st_size / 1e3:.0f} kB\n")


if __name__ == "__main__":
    main()
