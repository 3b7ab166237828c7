"""The model repositories that come with this package, each by its name: `starter`, and others.

The names are what lies there: `model_repository` is `starter`, and each folder of
`deploy/repositories` (in a wheel both below `cxrclient/data`) is called as it is.
"""

from __future__ import annotations

from pathlib import Path

from cxrclient.errors import UsageError
from cxrclient.serving.tritonserver import data_path

_STARTER = "starter"
_CONFIGURATION = Path("cxr", "config.pbtxt")
"""Below a folder that is a model repository of ours."""


def shipped_repositories() -> dict[str, Path]:
    """Return name → where it lies, the starter first."""
    folder = data_path("repositories", "deploy/repositories")
    others = sorted(path.parents[1] for path in folder.glob(f"*/{_CONFIGURATION}"))
    return {_STARTER: own_repository(), **{path.name: path for path in others}}


def own_repository() -> Path:
    """Return the model repository that is served where nobody names one: the starter."""
    return data_path("model_repository", "model_repository")


def no_repository(path: Path) -> str:
    """Say that nothing is there, and which names there are."""
    return (
        f"there is no folder {path}; the repositories that come with cxr-triton are called "
        f"{', '.join(shipped_repositories())}"
    )


def find_repository(name_or_path: str | Path | None) -> Path:
    """Return where a repository lies that is given by a shipped one's name, or by its path.

    Args:
        name_or_path: text without a slash is a name where a shipped repository has it, and a path
            in all other cases; a `Path` is always a path; None is the starter.

    Raises:
        UsageError: the name is also a folder here, so that either could be meant.
    """
    if name_or_path is None:
        return own_repository()
    shipped = None
    if isinstance(name_or_path, str):
        shipped = shipped_repositories().get(name_or_path)
    if shipped is None:
        return Path(name_or_path)
    here = Path(name_or_path)
    if here.is_dir() and not here.samefile(shipped):
        raise UsageError(
            f"{name_or_path} is a repository that comes with cxr-triton, and also a folder here: "
            f"write ./{name_or_path} for the folder, or {shipped} for the one that comes with it."
        )
    return shipped
