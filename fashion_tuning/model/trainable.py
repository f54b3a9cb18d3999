"""What a trial trains: a head on pooled features, or behind a cut a suffix of the network and a head together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from fashion_tuning.backbones import BACKBONES, POOLED
from fashion_tuning.hyperparameters import Value, setting
from fashion_tuning.model import head
from fashion_tuning.model.exact import exact_settings
from fashion_tuning.model.features import FeatureRef
from fashion_tuning.model.weights import Weights

if TYPE_CHECKING:
    import keras

SUFFIX = "suffix"


@exact_settings()
def build_trainable(
    values: Mapping[str, Value], features: FeatureRef, weights: Weights | None, *, study_seed: int, seed: int
) -> keras.Model:
    """A fresh model of a trial: features, (batch, *row_shape) float32, -> logits (batch, classes) float32.

    Behind a cut its layer "suffix" has ImageNet weights of its own; batch normalization in it is frozen, scales and
    offsets too, unless `batch_norm` says "trained".

    Args:
      values: See `hyperparameters`.
      seed: Which repetition, counted from 1; initial weights of the head and dropout follow from (study seed, seed).

    Raises:
      WeightsError: The backbone's weights can't be loaded.
    """
    num_classes = len(features.classes)
    if not is_long(features):
        return head.build_head(
            values, feature_size=features.row_shape[0], num_classes=num_classes, study_seed=study_seed, seed=seed
        )
    if weights is None:
        raise ValueError(f"a suffix from {features.key.cut} on needs the backbone's weights")
    import keras

    from fashion_tuning.model.network import build_suffix, pool

    suffix = build_suffix(weights, image_size=features.key.image_size, cut=features.key.cut)
    if setting("batch_norm", values) == "frozen":
        for layer in suffix.layers:
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.trainable = False
    top = head.build_head(
        values, feature_size=_pooled_size(values, features), num_classes=num_classes, study_seed=study_seed, seed=seed
    )
    inputs = keras.Input(features.row_shape, name="features")
    pooled = pool(suffix(inputs), both="pooling" in values)
    return keras.Model(inputs, top(pooled), name=f"{SUFFIX}_and_{top.name}")


def count_parameters(values: Mapping[str, Value], features: FeatureRef) -> int:
    """Trainable parameters of what `build_trainable` makes from the same arguments."""
    num_classes = len(features.classes)
    if not is_long(features):
        return head.count_parameters(values, feature_size=features.row_shape[0], num_classes=num_classes)
    cut = BACKBONES[features.key.backbone].cuts[features.key.cut]
    trained = cut.normalization if setting("batch_norm", values) == "trained" else 0
    size = _pooled_size(values, features)
    return cut.weights + trained + head.count_parameters(values, feature_size=size, num_classes=num_classes)


def multiplications(features: FeatureRef) -> int:
    """Of one image through the suffix behind these features, forward; 0 where there is none."""
    key = features.key
    return BACKBONES[key.backbone].multiplications(key.cut, key.image_size) if is_long(features) else 0


def is_long(features: FeatureRef) -> bool:
    """Whether a trial on these features trains a suffix, which takes minutes and is worth resuming."""
    return features.key.cut not in POOLED


def _pooled_size(values: Mapping[str, Value], features: FeatureRef) -> int:
    return BACKBONES[features.key.backbone].width * (2 if "pooling" in values else 1)
