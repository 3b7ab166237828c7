"""`--set KEY=VALUE` is as good as a file; of a wrong key is said what would be right."""

from __future__ import annotations

import re

import pytest
import yaml

from cxrexport.errors import RecipeError
from cxrexport.training.recipe import load_recipe, recipe_yaml, shipped_recipes


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        (["classify.epochs=2"], "classify: {epochs: 2}"),
        (["width=0.5", "seed=7", "width=1.0"], "seed: 7\nwidth: 1.0"),
        (["augmentation.gamma_range=[0.8, 1.2]"], "augmentation: {gamma_range: [0.8, 1.2]}"),
        (["overrides.vgg16.epochs=3"], "overrides: {vgg16: {epochs: 3}}"),
        (["members=[vgg16, resnet50]"], "members: [vgg16, resnet50]"),
        (["preprocessing.size_px=64"], "preprocessing: {size_px: 64}"),
        (["classify={epochs: 2, ema: 0.9}"], "classify: {epochs: 2, ema: 0.9}"),
        (["classify.learning_rate=1e-4"], "classify: {learning_rate: 1.0e-4}"),
        (["notice=a = b"], "notice: a = b"),
        (["classify.ema=null"], ""),
    ],
)
def test_a_setting_is_as_good_as_a_line_of_a_file(settings, text, tmp_path):
    written = tmp_path / "own.yaml"
    written.write_text(f"extends: starter\n{text}\n")
    of_file, of_settings = load_recipe(str(written)), load_recipe("starter", settings)
    assert of_settings == of_file
    assert of_settings.digest == of_file.digest
    assert (of_settings.digest == load_recipe("starter").digest) is (text == "")


@pytest.mark.parametrize("name", shipped_recipes())
def test_what_show_prints_is_a_recipe_of_the_same_digest(name, tmp_path):
    recipe = load_recipe(name)
    (tmp_path / "shown.yaml").write_text(recipe_yaml(recipe))
    shown = load_recipe(str(tmp_path / "shown.yaml"))
    assert (shown, shown.digest) == (recipe, recipe.digest)


def test_an_override_that_takes_an_option_back_is_shown(tiny, tmp_path):
    path = tmp_path / "own.yaml"
    fields = tiny({"ema": 0.9}, overrides={"vgg16": {"ema": None}})
    path.write_text(yaml.safe_dump(fields))
    recipe = load_recipe(str(path))
    path.write_text(recipe_yaml(recipe))
    assert load_recipe(str(path)).digest_of("vgg16") == recipe.digest_of("vgg16")


@pytest.mark.parametrize(
    ("setting", "sentence"),
    [
        ("classify.epoch=2", "classify.epoch: there is no such key; did you mean classify.epochs?"),
        ("epochs=2", "epochs: there is no such key; did you mean segment.epochs or classify.epoc"),
        ("nonsense=2", "nonsense: there is no such key; known are name, negative, positive, "),
        ("classify.epochs=0", "classify.epochs: 0 is not right; give a whole number, at least 1."),
        ("classify.epochs=few", 'classify.epochs: "few" is not right; give a whole number, at'),
        ("classify.ema=1", "classify.ema: 1 is not right; give a number, above 0 and below 1."),
        ("classify.optimizer=sgd", '"sgd" is not right; give `adam` or `adamw`.'),
        ("classify.cached=no", "classify.cached: false is not right; give `true`."),
        ("stages=3", "stages: 3 is not right; give `1` or `2`."),
        ("width=", "width: null is not right; give a number, above 0 and at most 1."),
        ("members=vgg16", 'members: "vgg16" is not right; give a list of texts.'),
        ("members=[vgg61]", "members: there is no backbone 'vgg61'; choose of resnet34, "),
        ("overrides.vgg61.epochs=2", "overrides: there is no backbone 'vgg61'; choose of "),
        ("overrides.vgg16.epochs=0", "overrides.vgg16.epochs: 0 is not right; give a whole number"),
        ("overrides.vgg16.epoch=2", "did you mean overrides.vgg16.epochs?"),
        ("preprocessing.sizepx=64", "did you mean preprocessing.size_px?"),
        ("preprocessing.size_px=5", "preprocessing.size_px must be 32, 64"),
        ("finding.value=1", "finding.value: 1 is not right; give a text, in quotation marks"),
        ("classify.rates.part1=0", "classify.rates.part1: 0 is not right; give a number, above 0."),
        ("name.first=2", 'name: {"first": 2} is not right; give a text.'),
        ("augmentation.gamma_range=[1]", "augmentation.gamma_range.1: is missing; give a number."),
        ("notice", "--set notice: write KEY=VALUE, for example classify.epochs=2."),
        ("=2", "--set =2: write KEY=VALUE"),
        ("classify..epochs=2", "write KEY=VALUE"),
        ("notice=[", "--set notice=[: the value is not YAML that can be read"),
    ],
)
def test_a_wrong_setting_is_refused_with_its_key_and_what_would_be_right(setting, sentence):
    with pytest.raises(RecipeError, match=re.escape(sentence)) as raised:
        load_recipe("starter", [setting])
    assert not raised.value.message.endswith("?.")


def test_every_wrong_key_is_named_at_once():
    with pytest.raises(RecipeError) as raised:
        load_recipe("starter", ["classify.epochs=0", "segment.epochs=0", "widht=1"])
    for key in ("classify.epochs", "segment.epochs", "widht"):
        assert f"{key}: " in raised.value.message


def test_a_recipe_whose_name_is_misspelt_is_found():
    with pytest.raises(RecipeError, match=r"There is no recipe 'startr'; did you mean starter\?"):
        load_recipe("startr")
