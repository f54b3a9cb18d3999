"""What decides a feature's value: the key under which the cache keeps it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

from fashion_tuning.backbones import AVERAGE, AVERAGE_AND_MAXIMUM, BACKBONES, row_shape
from fashion_tuning.backend import choose_backend
from fashion_tuning.config import Card
from fashion_tuning.data.decode import DECODE_VERSION, Sizing
from fashion_tuning.data.manifest import Manifest
from fashion_tuning.model.exact import device_kind
from fashion_tuning.model.exporting import require_exporter
from fashion_tuning.model.weights import Weights

PROCESSOR: Final = "cpu"


@dataclass(frozen=True)
class FeatureKey:
    """All that decides a feature's value; two equal keys mean equal features."""

    manifest: str
    image_size: int
    interpolation: str
    preprocessing: str
    backbone: str
    weights: str
    cut: str
    engine: str
    precision: str = "float32"
    view: str = "identity"
    aspect: str = "squash"
    decode_version: int = DECODE_VERSION
    storage: str = "float32"
    device: str = PROCESSOR  # that Keras computes on; where another engine makes the features, trials still train there

    def parts(self) -> dict[str, str]:
        parts = {name: str(value) for name, value in asdict(self).items()}
        # What came later is left out where it says what was so before.
        if self.storage == "float32":
            del parts["storage"]
        if self.device == PROCESSOR:
            del parts["device"]
        return parts

    @classmethod
    def of_parts(cls, parts: Mapping[str, Any]) -> FeatureKey:
        """The key that `parts` were taken of.

        Raises:
          TypeError, ValueError, KeyError: They are of another version.
        """
        return cls(**{**parts, **{name: int(parts[name]) for name in ("image_size", "decode_version")}})

    @property
    def row_shape(self) -> tuple[int, ...]:
        """Shape of one image's features."""
        return row_shape(self.backbone, self.cut, self.image_size)

    @property
    def sizing(self) -> Sizing:
        return Sizing(self.image_size, self.interpolation, self.aspect)

    @property
    def digest(self) -> str:
        """First 24 hex digits of a SHA-256 over the parts."""
        return hashlib.sha256(json.dumps(self.parts(), sort_keys=True).encode()).hexdigest()[:24]

    @property
    def mode(self) -> str:
        """What computes and keeps them, in words."""
        where = "" if self.device == PROCESSOR else f" on {self.device}"
        storage = "" if self.storage == "float32" else f", kept in {self.storage}"
        return f"{self.engine}{where} in {self.precision}{storage}"

    @property
    def exact(self) -> FeatureKey:
        """The same features by Keras, on the backend and device it has here, in float32: of the model that ships."""
        return replace(self, engine=keras_engine(), precision="float32", storage="float32", device=device_kind())


def feature_key(card: Card, *, manifest: Manifest, weights: Weights) -> FeatureKey:
    """The key of the pooled features that a card needs of the backbone with these weights.

    Raises:
      UsageError: They are OpenVINO's, and Keras can't hand its network over on the backend it has here.
    """
    if card.model.engine == "openvino":
        require_exporter()
    return FeatureKey(
        manifest=manifest.digest,
        image_size=card.images.image_size,
        interpolation=card.images.interpolation,
        aspect=card.images.aspect,
        preprocessing=BACKBONES[weights.name].preprocessing,
        backbone=weights.name,
        weights=weights.digest,
        cut=AVERAGE_AND_MAXIMUM if card.names("pooling") else AVERAGE,
        engine=keras_engine() if card.model.engine == "keras" else card.model.engine,
        precision=card.model.precision,
        storage=card.model.storage,
        device=device_kind(),
    )


def keras_engine() -> str:
    """What a key calls Keras on the backend that it has here."""
    return f"keras-{choose_backend()}"
