"""A recipe: all that a training run depends on but the films.

model      the keys of a recipe, checked by pydantic, and its digests
files      YAML files and `--set KEY=VALUE` become recipes; those that ship
words      what a key may be, and what is wrong with one, in words
reference  docs/recipes.md, written from the model
"""

from __future__ import annotations

from cxrexport.training.recipe.files import (
    load_recipe as load_recipe,
    recipe_yaml as recipe_yaml,
    shipped_recipes as shipped_recipes,
)
from cxrexport.training.recipe.model import (
    PROBABILITIES as PROBABILITIES,
    Augmentation as Augmentation,
    Recipe as Recipe,
)
from cxrexport.training.schedule import Schedule as Schedule
