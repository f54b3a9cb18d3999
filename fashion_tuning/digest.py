"""What of a card decides the outcome of a study, and the digest that names the study."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from fashion_tuning.config import Card
from fashion_tuning.hyperparameters import OPTIONAL
from fashion_tuning.table import Table


def outcome(card: Card) -> dict[str, Any]:
    """The settings that decide the outcome of a study, as plain JSON values."""
    settings = card.model_dump(mode="json", exclude={"name", "description", "photos", "final"})
    del settings["training"]["max_seconds"]
    # Settings that came later are left out where they say what was so before: studies on record keep their digest.
    if card.images.aspect == "squash":
        del settings["images"]["aspect"]
    for name in ("views", "pruning", "teacher"):
        if settings[name] is None:
            del settings[name]
    if card.views and not card.views.average:
        del settings["views"]["average"]
    if card.model.storage == "float32":
        del settings["model"]["storage"]
    if settings["search"]:
        del settings["search"]["max_trials"]
    for configuration in settings["configurations"]:
        del configuration["published_val_accuracy"], configuration["source"]
    for table in (settings["space"] or {}, *settings["configurations"]):
        for name in [name for name in OPTIONAL if table.get(name) is None]:
            table.pop(name, None)
    return settings


class Study(Table):
    """A card together with the data and weights it is run on; its digest names the study.

    Args:
      card: The validated card.
      inputs: Digests and versions that decide the outcome beside the card: manifest,
        weights, and the parts of the feature key.
    """

    card: Card
    inputs: Mapping[str, str]

    def parts(self) -> dict[str, Any]:
        """All that the digest covers, for telling two studies apart."""
        return {**outcome(self.card), "inputs": dict(sorted(self.inputs.items()))}

    @property
    def digest(self) -> str:
        """First 16 hex digits of a SHA-256 over `parts()`."""
        text = json.dumps(self.parts(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:16]
