"""Recipes say what they must, and their digests outlive new options."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
import torch
import yaml
from pydantic import ValidationError

from cxrexport.errors import RecipeError
from cxrexport.manifest import FilmRow
from cxrexport.preprocessing import preprocess
from cxrexport.training.films.in_memory import films_of_maps
from cxrexport.training.recipe import PROBABILITIES, Recipe, load_recipe
from cxrexport.training.run.folder import NETWORKS, Run

REPOSITORY = Path(__file__).parents[4] / "model_repository"


SKILL = ("tb-skill", "tb-skill-lung", "tb-skill-paper", "tb-skill-tuned")
CHOSEN = ("tb-skill-slow", "tb-skill-slow-lung", "tb-served")


@pytest.mark.parametrize("name", ["starter", "paper", "tb", "tb-imagenet", *SKILL, *CHOSEN])
def test_shipped_recipes_are_whole(name):
    recipe = load_recipe(name)
    assert recipe.name == name
    tuberculosis = name.startswith("tb")
    assert recipe.labels == (("normal", "tb") if tuberculosis else ("non-covid", "covid"))


def test_what_tb_imagenet_does_not_change_it_shares_with_tb():
    before, after = load_recipe("tb"), load_recipe("tb-imagenet")
    changed = {name for name in NETWORKS if before.digest_of(name) != after.digest_of(name)}
    assert changed == {"resnet50", "resnet152"}


def test_the_skill_recipes_differ_in_what_their_names_say():
    skill, lung, paper, tuned = (load_recipe(name) for name in SKILL)
    assert lung == skill.model_copy(update={"name": lung.name, "pooling": "lung"})
    assert paper.model_copy(update={"name": skill.name, "classify": skill.classify}) == skill
    ours, theirs = paper.schedule("vgg16"), load_recipe("paper").schedule("vgg16")
    optimiser = {"epochs", "optimizer", "learning_rate", "learning_rate_decay", "weight_decay"}
    assert ours.model_dump(include=optimiser) == theirs.model_dump(include=optimiser)
    assert tuned.classify.warm_up == skill.classify.epochs
    assert tuned.model_copy(update={"name": skill.name, "classify": skill.classify}) == skill
    assert len({each.digest_of("segment") for each in (skill, lung, paper, tuned)}) == 1


def test_the_recipes_that_inner_splits_chose_differ_in_what_their_names_say():
    skill, (slow, lung, served) = load_recipe("tb-skill"), map(load_recipe, CHOSEN)
    assert slow.classify.keep == "last"
    assert slow.classify.learning_rate == skill.classify.learning_rate / 10
    as_before = slow.classify.model_copy(
        update={"keep": None, "learning_rate": skill.classify.learning_rate}
    )
    assert slow.model_copy(update={"name": skill.name, "classify": as_before}) == skill
    assert lung == slow.model_copy(update={"name": lung.name, "pooling": "lung"})
    changed = {"name", "members", "finding", "notice"}
    assert served.model_dump(exclude=changed) == lung.model_dump(exclude=changed)
    assert set(served.served) < set(lung.served)


def test_the_lung_network_may_be_augmented_otherwise(tiny):
    """As cached features leave a flip only to the backbones."""
    none = dict.fromkeys(PROBABILITIES, 0.0)
    usual = Recipe(**tiny())
    other = Recipe(**tiny(augmentation=none, segment_augmentation={}))
    assert other.digest_of("segment") == usual.digest_of("segment")
    assert other.augmentation_of("vgg16").clahe == 0
    film = np.random.default_rng(1).integers(0, 255, (1, 1, 32, 32), dtype=np.uint8)
    rows = [FilmRow(image=Path("1.png"), patient_id="1", label="covid", split="train")]

    def shown(masks):
        films = films_of_maps(rows, np.arange(1), film, film, other, masks=masks).train
        films.reseed(1)
        return films[0]["film"]

    assert torch.equal(shown(False), torch.from_numpy(film[0]) / 255)
    assert not torch.equal(shown(True), torch.from_numpy(film[0]) / 255)


def test_the_paper_recipe_says_what_the_study_says():
    recipe = load_recipe("paper")
    assert (recipe.spec.size_px, recipe.width) == (1024, 1.0)
    schedule = recipe.schedule("resnet50")
    assert schedule.optimizer == "adam"
    assert (schedule.epochs, schedule.learning_rate, schedule.weight_decay) == (32, 1e-6, 1e-2)
    augmentation = recipe.augmentation
    assert (augmentation.brighten, augmentation.gamma, augmentation.clahe) == (0.4, 0.3, 0.4)
    assert (augmentation.rotate, augmentation.shear, augmentation.scale) == (0.4, 0.4, 0.4)
    assert (augmentation.rotate_degrees, augmentation.shear_degrees) == (7, 7)
    assert (augmentation.scale_by, augmentation.flip) == (0.2, 0.5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"widht": 1.0}, "widht"),
        ({"width": 2.0}, "width"),
        ({"positive": "non-covid"}, "must differ"),
        ({"preprocessing": {"size_px": 100}}, "size_px"),
        ({"overrides": {"vgg16": {"epochs": 0}}}, "epochs"),
        ({"classify": {"accumulate": 0}}, "accumulate"),
        ({"classify": {"ema": 1.0}}, "ema"),
        ({"classify": {"one_cycle": 1.0}}, "one_cycle"),
        ({"classify": {"patience": 0}}, "patience"),
        ({"classify": {"keep": "last", "patience": 2}}, "goes with no `patience`"),
        ({"classify": {"class_weights": "heavy"}}, "class_weights"),
        ({"classify": {"frozen": 6}}, "frozen"),
        ({"classify": {"warm_up": 3}}, "warm_up: must be less than the 3 epochs"),
        ({"classify": {"rates": {"layer4": 0.1}}}, "there is no layer4; name part1 to part5"),
        ({"classify": {"rates": {"head": 0.0}}}, "rates"),
        ({"classify": {"frozen": 2, "rates": {"part2": 0.1}}}, "part2 is frozen; leave it out"),
        ({"classify": {"cached": True}}, "nothing is frozen"),
        ({"classify": {"frozen": 5, "cached": True}}, "know a film and its flip only; set it to 0"),
        ({"overrides": {"vgg16": {"frozen": 5, "cached": True}}}, "augmentation.brighten"),
        ({"pooling": "max"}, "pooling"),
        ({"stages": 3}, "stages"),
        ({"input": "lungs"}, "input"),
        ({"input": "film", "pooling": "lung"}, "pooling: lung needs lung maps"),
        ({"input": "masked", "augmentation": {"mask_to_lungs": 0.5}}, "leave out one"),
        ({"input": "film", "augmentation": {"mask_to_lungs": 0.5}}, "leave out one"),
    ],
)
def test_a_recipe_with_a_mistake_is_refused_by_field(recipe_file, changes, message):
    with pytest.raises(RecipeError, match=message):
        load_recipe(str(recipe_file(**changes)))


@pytest.mark.parametrize("option", [{"frozen": 1}, {"standardise": True}, {"norms": "kept"}])
def test_what_only_a_backbone_has_is_refused_of_the_lung_network(tiny, option):
    fields = tiny()
    fields["segment"] |= option
    with pytest.raises(ValidationError, match="the lung network has no parts and no head"):
        Recipe(**fields)


def test_an_unknown_recipe_is_refused():
    with pytest.raises(RecipeError, match=r"choose paper, starter, tb, .* or a YAML file"):
        load_recipe("nobody")


def test_what_a_backbone_reads_is_in_its_digest_and_not_in_the_lung_networks(tiny):
    before = Recipe(**tiny())
    for changes in (
        {"pooling": "both"},
        {"stages": 2},
        {"input": "masked"},
        {"augmentation": {**before.augmentation.model_dump(), "mask_to_lungs": 0.5}},
    ):
        after = Recipe(**tiny(**changes))
        assert after.needs_lungs
        assert before.digest_of("segment") == after.digest_of("segment")
        assert before.digest_of("vgg16") != after.digest_of("vgg16")


def test_without_preprocessing_nothing_looks_at_lungs(tiny):
    augmentation = {"mask_to_lungs": 0.5}
    plain = Recipe(**tiny(pooling="both", stages=2, augmentation=augmentation))
    plain = Recipe.model_validate(plain.without_preprocessing().model_dump())
    assert not plain.needs_lungs
    assert (plain.pooling, plain.stages, plain.augmentation.mask_to_lungs) == (None, 2, None)


def test_the_lung_network_outlives_another_schedule_of_the_backbones(tiny):
    before, after = Recipe(**tiny()), Recipe(**tiny({"epochs": 9}))
    assert before.digest_of("segment") == after.digest_of("segment")
    assert before.digest_of("vgg16") != after.digest_of("vgg16")


# --- digests -----------------------------------------------------------------------------------


def test_weights_of_before_the_new_options_keep_their_digests():
    """The digests in the checkpoints of the first starter, trained before there was any option."""
    schedule = {"epochs": 8, "batch_size": 8, "optimizer": "adamw", "learning_rate": 4e-4}
    schedule |= {"learning_rate_decay": 0.7, "weight_decay": 1e-2}
    recipe = Recipe(
        name="starter",
        negative="non-covid",
        positive="covid",
        preprocessing={"size_px": 320},
        width=0.25,
        seed=2021,
        segment={
            "epochs": 14,
            "batch_size": 8,
            "learning_rate": 2e-3,
            "learning_rate_decay": 0.8,
            "weight_decay": 0.0,
        },
        classify=schedule,
        overrides={"vgg16": {"learning_rate": 1e-4}},
    )
    assert {name: recipe.digest_of(name) for name in ("segment", "resnet34", "vgg16")} == {
        "segment": "c2296f17554fbaf14b62cdd8c73b811814565867f58a31a3f3f2357d6fc12441",
        "resnet34": "583e3d75010f3c9169aeb66596effa7563362b7f99bddfa1fca175352aba799b",
        "vgg16": "a2471243734176f2a50ac7e555f672b7894fdebc143f4dcf034fe7d25c207f01",
    }


@pytest.mark.parametrize("name", ["segment", "vgg16", "average"])
def test_the_committed_graphs_are_of_the_recipe_that_ships(name):
    model = onnx.load(REPOSITORY / name / "1" / "model.onnx", load_external_data=False)
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    assert metadata["recipe_digest"] == load_recipe("starter").digest


@pytest.mark.parametrize(
    "option",
    [
        {"accumulate": 2},
        {"ema": 0.9},
        {"one_cycle": 0.3},
        {"patience": 3},
        {"class_weights": "balanced"},
        {"frozen": 2},
        {"rates": {"head": 2.0}},
        {"warm_up": 1},
        {"norms": "kept"},
        {"standardise": True},
    ],
    ids=lambda option: next(iter(option)),
)
def test_an_option_that_is_used_changes_the_digest(tiny, option):
    assert Recipe(**tiny(option)).digest_of("vgg16") != Recipe(**tiny()).digest_of("vgg16")


# --- without preprocessing ---------------------------------------------------------------------


def test_without_preprocessing_a_film_is_only_brought_to_its_range(tiny):
    """A film of network size with a black frame, some outliers and little contrast inside."""
    film = np.random.default_rng(1).integers(90, 110, (32, 32), dtype=np.uint8)
    film[:6], film[-6:], film[:, :6], film[:, -6:] = 10, 10, 10, 10
    film[15, 15] = 250
    encoded = cv2.imencode(".png", film)[1].tobytes()
    recipe = Recipe(**tiny())
    expected = (film.astype(np.float32) - 10) / 240
    ours = preprocess(encoded, recipe.without_preprocessing().spec).image[0]
    np.testing.assert_allclose(ours, expected, atol=1 / 255)
    preprocessed = preprocess(encoded, recipe.spec).image[0]
    assert np.abs(preprocessed - expected).max() > 0.3, "the film shows the difference"


def test_without_preprocessing_the_networks_see_film_zeros_zeros(tiny):
    recipe = Recipe(**tiny()).without_preprocessing()
    assert recipe.input == "film"


def test_without_preprocessing_nothing_is_augmented(tiny, phantom_rows):
    recipe = Recipe(**tiny()).without_preprocessing()
    count = len(phantom_rows)
    maps = np.random.default_rng(0).integers(0, 256, (count, 1, 32, 32), dtype=np.uint8)
    films = films_of_maps(phantom_rows, np.arange(count), maps, None, recipe)
    for item, row in zip(
        films.train, (i for i, r in enumerate(phantom_rows) if r.split == "train"), strict=True
    ):
        assert torch.equal(item["film"], torch.from_numpy(maps[row]).float().div(255))
        assert not item["lungs"].any()


def test_without_preprocessing_the_schedule_stays(tiny):
    recipe = Recipe(**tiny())
    assert recipe.without_preprocessing().schedule("resnet50") == recipe.schedule("resnet50")


# --- widths ------------------------------------------------------------------------------------


def test_one_backbone_may_be_wider_than_the_others(tiny, tmp_path):
    recipe = Recipe(**tiny(), widths={"resnet50": 0.25})
    run = Run(tmp_path, recipe)
    assert run.make("resnet34").conv1.out_channels == 8
    assert run.make("resnet50").conv1.out_channels == 16
    assert recipe.described_width == "0.125 (resnet50 0.25)"


def test_a_width_of_its_own_concerns_no_other_networks_weights(tiny):
    before = Recipe(**tiny())
    after = Recipe(**tiny(), widths={"resnet50": 0.25})
    same = {name for name in NETWORKS if before.digest_of(name) == after.digest_of(name)}
    assert set(NETWORKS) - same == {"resnet50"}


@pytest.mark.parametrize("widths", [{"resnet18": 0.5}, {"resnet50": 0.0}, {"resnet50": 1.5}])
def test_a_width_that_cannot_be_is_refused(tiny, widths):
    with pytest.raises(ValidationError, match="widths"):
        Recipe(**tiny(), widths=widths)


def test_a_recipe_takes_over_what_it_does_not_say(tiny, tmp_path):
    (tmp_path / "base").mkdir()
    base = tiny(overrides={"vgg16": {"epochs": 5, "batch_size": 2}})
    (tmp_path / "base" / "whole.yaml").write_text(yaml.safe_dump(base))
    (tmp_path / "base" / "middle.yaml").write_text("extends: whole.yaml\nwidth: 0.5\nseed: 7\n")
    own = tmp_path / "own.yaml"
    own.write_text(
        "extends: base/middle.yaml\nname: own\nseed: 8\n"
        "overrides: {vgg16: {epochs: 6}, resnet34: {epochs: 7}}\n"
    )
    overrides = {"vgg16": {"epochs": 6, "batch_size": 2}, "resnet34": {"epochs": 7}}
    expected = Recipe(**{**base, "name": "own", "width": 0.5, "seed": 8, "overrides": overrides})
    assert load_recipe(str(own)) == expected


def test_a_run_records_the_whole_recipe(tiny, tmp_path):
    (tmp_path / "base.yaml").write_text(yaml.safe_dump(tiny()))
    (tmp_path / "own.yaml").write_text("extends: base.yaml\nname: own\n")
    Run(tmp_path / "run", load_recipe(str(tmp_path / "own.yaml")))
    for path in tmp_path.glob("*.yaml"):
        path.unlink()
    assert Run.open(tmp_path / "run").recipe == Recipe(**{**tiny(), "name": "own"})


def test_a_recipe_may_extend_one_that_ships(tmp_path):
    own = tmp_path / "own.yaml"
    own.write_text("extends: paper\nname: own\nwidth: 0.5\n")
    paper = load_recipe("paper")
    assert load_recipe(str(own)) == paper.model_copy(update={"name": "own", "width": 0.5})


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ({"own": "extends: own.yaml"}, "cannot extend itself"),
        ({"own": "extends: other.yaml", "other": "extends: own.yaml"}, "cannot extend itself"),
        ({"own": "extends: none.yaml"}, "none.yaml"),
        ({"own": "extends: [paper, starter]"}, "name one recipe"),
        ({"own": "extends: paper\nwidht: 0.5"}, "widht"),
        ({"own": "extends: paper\nclassify: {epoch: 3}"}, "classify.epoch"),
        ({"own": "extends: other.yaml", "other": "- paper"}, "recipe"),
    ],
)
def test_a_recipe_that_cannot_be_made_whole_is_refused(texts, message, tmp_path):
    for name, text in texts.items():
        (tmp_path / f"{name}.yaml").write_text(text)
    with pytest.raises(RecipeError, match=message):
        load_recipe(str(tmp_path / "own.yaml"))


def test_a_finding_travels_with_a_run_and_disowns_no_checkpoint(tmp_path):
    path = tmp_path / "coded.yaml"
    path.write_text(
        "extends: tb\nfinding: {scheme: SCT, value: '56717001', meaning: Tuberculosis}\n"
    )
    plain, coded = load_recipe("tb"), load_recipe(str(path))
    assert plain.finding is None
    assert str(coded.finding) == "Tuberculosis (SCT 56717001)"
    assert {name: plain.digest_of(name) for name in NETWORKS} == {
        name: coded.digest_of(name) for name in NETWORKS
    }
    stored = Recipe.model_validate(yaml.safe_load(yaml.safe_dump(coded.model_dump(mode="json"))))
    assert stored == coded


@pytest.mark.parametrize(
    ("finding", "message"),
    [
        ("tuberculosis", "finding: "),
        ("{scheme: SCT, meaning: Tuberculosis}", "finding.value: is missing; give a text"),
        (
            "{scheme: SCT, value: 56717001, meaning: T}",
            "finding.value: 56717001 is not right; give a text, in quotation marks",
        ),
        ("{scheme: SCT, value: '1', meaning: T, version: 2}", "finding.version: "),
        ("{scheme: 'a\\b', value: '1', meaning: T}", "without a backslash"),
    ],
)
def test_a_finding_that_is_no_coded_concept_is_named(tmp_path, finding, message):
    path = tmp_path / "coded.yaml"
    path.write_text(f"extends: tb\nfinding: {finding}\n")
    with pytest.raises(RecipeError) as raised:
        load_recipe(str(path))
    assert message in raised.value.message
