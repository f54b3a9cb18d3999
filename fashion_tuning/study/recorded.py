"""A study as its run alone has it: settings, photos and features, without the card's file; read-only."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from fashion_tuning.backbones import BACKBONES
from fashion_tuning.config import Card, parse_card
from fashion_tuning.data.manifest import Manifest
from fashion_tuning.errors import FashionTuningError, StoreError
from fashion_tuning.model.key import FeatureKey
from fashion_tuning.study.inputs import TEACHER, WEIGHTS_OF, Features
from fashion_tuning.tracking.artifacts import artifacts
from fashion_tuning.tracking.records import StudyRecord, read_source
from fashion_tuning.tracking.store import Store

CARD: Final = "card.toml"
MANIFEST: Final = "manifest.csv"


@dataclass(frozen=True)
class RecordedStudy:
    """What a study's trials depend on.

    Args:
      record: Its run.
      card: The card that is kept with it; of a final run as that trains, see `Card.at_final_size`.
      card_text: Its file.
      manifest: The photos.
      keys: What decides its features, of each backbone, by name.
      training_version: Of the code that trained it.
      teacher: The run of the trial that taught its trials; "" for none.
      source: Where the photos lay then; None where that is not recorded.
    """

    record: StudyRecord
    card: Card
    card_text: str
    manifest: Manifest
    keys: Mapping[str, FeatureKey]
    training_version: str
    teacher: str
    source: Path | None

    def features(self, cache_dir: Path) -> Features:
        return Features(self.card, self.keys, self.manifest, cache_dir)


def read_card(store: Store, record: StudyRecord) -> Card:
    """Reads back the card of a study, as it is kept with its run.

    Raises:
      StoreError: It is missing or damaged.
    """
    with artifacts(store, record.run_id, CARD) as folder, _usable(record, "card"):
        return parse_card((folder / CARD).read_text(encoding="utf-8"), name=CARD)


def read_recorded(store: Store, record: StudyRecord) -> RecordedStudy:
    """Reads a study back from its run.

    Raises:
      StoreError: Its card or its manifest is missing or damaged, or of another version.
    """
    source = read_source(store, record.run_id)
    with artifacts(store, record.run_id, CARD, MANIFEST) as folder, _usable(record, "card or manifest"):
        card_text = (folder / CARD).read_text(encoding="utf-8")
        card = parse_card(card_text, name=CARD)
        manifest = Manifest.from_csv((folder / MANIFEST).read_text(encoding="utf-8"))
    inputs = record.parts.get("inputs")
    try:
        parts: dict[str, Any] = dict(inputs)  # type: ignore[call-overload]
        training_version, teacher = parts.pop("training_version"), parts.pop(TEACHER, "")
        others = {name: parts.pop(name) for name in list(parts) if name.startswith(WEIGHTS_OF)}
        first = FeatureKey.of_parts(parts)
        keys = {first.backbone: first}
        for name, digest in others.items():
            backbone = name.removeprefix(WEIGHTS_OF)
            known = BACKBONES[backbone]
            keys[backbone] = replace(first, backbone=backbone, preprocessing=known.preprocessing, weights=digest)
    except (TypeError, ValueError, KeyError) as error:
        raise StoreError(f"study run {record.run_id} was written by another version: {error}") from error
    if record.kind == "final":
        card = card.at_final_size()
    return RecordedStudy(
        record, card, card_text, manifest, keys, training_version, teacher, Path(source) if source else None
    )


@contextmanager
def _usable(record: StudyRecord, what: str) -> Iterator[None]:
    try:
        yield
    except (OSError, UnicodeDecodeError, FashionTuningError) as error:
        reason = str(error).splitlines()[0]
        raise StoreError(f"study run {record.run_id} has no usable {what}: {reason}") from error
