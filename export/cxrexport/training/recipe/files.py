"""YAML files and `--set KEY=VALUE` become recipes; those that ship, and a recipe as YAML again."""

from __future__ import annotations

import re
from collections.abc import Sequence
from difflib import get_close_matches
from importlib import resources
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from cxrclient.files import parse_yaml
from cxrexport.errors import RecipeError
from cxrexport.training.recipe.model import Recipe
from cxrexport.training.recipe.words import as_sentence, faults_in_words

_SHIPPED = Path(str(resources.files("cxrexport.training"))) / "recipes"


def load_recipe(name_or_path: str, settings: Sequence[str] = ()) -> Recipe:
    """Read a recipe that ships with the package (`starter`, `paper`), or a YAML file.

    `extends: other.yaml` takes over all that a recipe does not say itself: a file's path from the
    recipe's own folder, or the name of a recipe that ships. Mappings are joined key by key; all
    else is replaced. The recipe that is returned, and recorded in a run, is the whole one.

    Args:
        name_or_path: of the recipe.
        settings: `KEY=VALUE`, as if each stood in a YAML file that extends the recipe: the key
            from the top with dots (`classify.epochs=2`), the value as YAML writes it.

    Raises:
        RecipeError: no such recipe; one that extends itself; keys that are missing, unknown or out
            of range, each with what would be right.
    """
    fields = _read_fields(_find(name_or_path, Path()), ())
    for setting in settings:
        fields = _joined(fields, _fields_of(setting))
    try:
        recipe = Recipe.model_validate(fields)
        recipe.check_overrides()
    except ValidationError as error:
        text = as_sentence(faults_in_words(error, Recipe))
        raise RecipeError(f"{name_or_path}: {text}") from error
    except ValueError as error:
        raise RecipeError(f"{name_or_path}: {error}.") from error
    return recipe


def shipped_recipes() -> dict[str, str]:
    """Name → the first sentence of its file, for each recipe that comes with the package."""
    names = sorted(path.stem for path in _SHIPPED.glob("*.yaml"))
    return {name: _first_sentence(_SHIPPED / f"{name}.yaml") for name in names}


def recipe_yaml(recipe: Recipe) -> str:
    """Write a whole recipe, from which `load_recipe` reads one of the same digest."""
    import yaml

    facts = recipe.model_dump(mode="json", exclude_none=True)
    facts["overrides"] = recipe.overrides  # where None takes back what `classify` says
    text: str = yaml.safe_dump(facts, sort_keys=False, allow_unicode=True)
    return text


def _first_sentence(path: Path) -> str:
    lines = path.read_text(encoding="utf-8").splitlines()
    count = next(i for i, line in enumerate([*lines, ""]) if not line.startswith("#"))
    text = " ".join(line.removeprefix("#").strip() for line in lines[:count])
    return re.split(r"(?<=\.)\s", text, maxsplit=1)[0]


def _fields_of(setting: str) -> dict[str, Any]:
    """What one `KEY=VALUE` says, as a recipe would.

    Raises:
        RecipeError: it has no key, no value, or a value that is not YAML.
    """
    key, equals, text = setting.partition("=")
    parts = key.strip().split(".")
    if not equals or not all(parts):
        raise RecipeError(f"--set {setting}: write KEY=VALUE, for example classify.epochs=2.")
    try:
        value = parse_yaml(text)
    except ValueError as error:
        raise RecipeError(
            f"--set {setting}: the value is not YAML that can be read ({error})."
        ) from error
    for part in reversed(parts):
        value = {part: value}
    return value  # type: ignore[no-any-return]


def _find(name_or_path: str, folder: Path) -> Path:
    shipped = _SHIPPED / f"{name_or_path}.yaml"
    path = shipped if shipped.is_file() else folder / name_or_path
    if not path.is_file():
        names = list(shipped_recipes())
        near = get_close_matches(name_or_path, names, n=1)
        hint = f"did you mean {near[0]}?" if near else f"choose {', '.join(names)} or a YAML file."
        raise RecipeError(f"There is no recipe {str(folder / name_or_path)!r}; {hint}")
    return path.resolve()


def _read_fields(path: Path, extending: tuple[Path, ...]) -> Any:
    """What a recipe says, joined to what it extends.

    Args:
        path: of the recipe.
        extending: the recipes that led here, the first one first.
    """
    if path in extending:
        circle = " extends ".join(str(each) for each in (*extending, path))
        raise RecipeError(f"A recipe cannot extend itself: {circle}.")
    try:
        fields = parse_yaml(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RecipeError(f"{path} is not YAML that can be read: {error}.") from error
    if not isinstance(fields, dict) or "extends" not in fields:
        return fields
    other = fields.pop("extends")
    if not isinstance(other, str):
        raise RecipeError(f"{path}: extends: name one recipe, not {other!r}.")
    return _joined(_read_fields(_find(other, path.parent), (*extending, path)), fields)


def _joined(base: Any, own: Any) -> Any:
    if not (isinstance(base, dict) and isinstance(own, dict)):
        return own
    return {**base, **{key: _joined(base.get(key), value) for key, value in own.items()}}
