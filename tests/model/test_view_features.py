"""Features of views: of the photos to train on alone, cached like those of the photos themselves."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from small_features import draw_photos, make_key

from fashion_tuning.config import parse_card
from fashion_tuning.data.decode import Sizing, decode
from fashion_tuning.data.views import View
from fashion_tuning.model.features import FeatureRef, compute_features, load_features
from fashion_tuning.model.network import build_prefix
from fashion_tuning.model.weights import Weights
from fashion_tuning.study.inputs import Features

CARD = """
name = "views"
seed = 1
[images]
image_size = 71
[views]
number = 2
horizontal_flip = true
rotation = 20.0
[training]
epochs = 1
[[configurations]]
learning_rate = 0.001
dense_units = 0
dropout = 0.0
"""


@pytest.fixture(scope="module")
def refs(tmp_path_factory: pytest.TempPathFactory, weights: Weights) -> tuple[Path, dict[str, FeatureRef]]:
    """The photos' folder, and everything that the card needs, computed."""
    root, cache = tmp_path_factory.mktemp("photos"), tmp_path_factory.mktemp("cache")
    manifest = draw_photos(root, {"train": 6, "validation": 3})
    key = make_key(manifest=manifest.digest, weights=weights.digest)
    found = Features(parse_card(CARD, name="views"), {key.backbone: key}, manifest, cache).of({})
    for ref in found.values():
        for one in ref.every:
            for _ in compute_features(one, root=root, weights=weights):
                pass
    return root, found


def test_photos_to_train_on_have_views_and_the_others_have_none(refs: tuple[Path, dict[str, FeatureRef]]) -> None:
    _, found = refs
    assert [View.parse(one.key.view).number for one in found["train"].every] == [0, 1, 2]
    assert [View.parse(one.key.view).number for one in found["validation"].every] == [0]
    assert len({one.folder for one in found["train"].every}) == 3
    assert found["train"].folder == found["validation"].folder


@pytest.mark.parametrize("cut", ["avg_pool", "block14"])
def test_a_trial_averages_over_the_views_that_it_trains_on_where_the_card_asks_for_that(
    cut: str, weights: Weights, tmp_path: Path
) -> None:
    manifest = draw_photos(tmp_path, {"train": 3, "validation": 3})
    key = make_key(manifest=manifest.digest, weights=weights.digest)
    card = parse_card(CARD.replace("number = 2", "number = 2\naverage = true"), name="views")
    features = Features(card, {key.backbone: key}, manifest, tmp_path)
    for values, views in (({}, [0, 1, 2]), ({"views": 2}, [0, 1]), ({"views": 1}, [0])):
        found = features.of({"cut": cut, **values})
        for split in ("train", "validation"):
            assert [View.parse(one.key.view).number for one in found[split].every] == views
            assert {one.key.cut for one in found[split].every} == {cut}


def test_features_of_a_view_are_those_of_its_pixels(refs: tuple[Path, dict[str, FeatureRef]], weights: Weights) -> None:
    root, found = refs
    prefix = build_prefix(weights, image_size=71)
    for one in found["train"].every:
        view = View.parse(one.key.view)
        pixels = np.stack([view.apply(decode(root / path, Sizing(71)), sha256) for path, sha256, _ in one.photos])
        np.testing.assert_allclose(load_features(one), prefix.predict_on_batch(pixels), rtol=0, atol=1e-4)
    first, *others = (np.array(load_features(one)) for one in found["train"].every)
    assert all(not np.allclose(first, other, atol=1e-2) for other in others)


def test_two_passes_over_validation_are_the_same_bytes(
    refs: tuple[Path, dict[str, FeatureRef]], weights: Weights, tmp_path: Path
) -> None:
    root, found = refs
    again = replace(found["validation"], folder=tmp_path / found["validation"].folder.name)
    for _ in compute_features(again, root=root, weights=weights):
        pass
    assert again.array.path.read_bytes() == found["validation"].array.path.read_bytes()
