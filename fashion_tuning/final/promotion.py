"""Whether a new version becomes the champion: decided on validation photos, never on test."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fashion_tuning.measures import PairedTest, mcnemar
from fashion_tuning.tracking import registry, tag_names
from fashion_tuning.tracking.predictions import read_predictions
from fashion_tuning.tracking.records import TrialRecord, read_trial
from fashion_tuning.tracking.registry import Version
from fashion_tuning.tracking.store import Store

DECISION = "fashion.champion_decision"


@dataclass(frozen=True)
class Promotion:
    """Where the champion stands now.

    Args:
      champion: The version that is champion now; None where there is none.
      moved: Whether the new version is it.
      reason: Why, as a clause.
    """

    champion: Version | None
    moved: bool
    reason: str


def promote(store: Store, version: Version, winner: TrialRecord, *, manifest: str, override: bool | None) -> Promotion:
    """Makes a version champion, unless it is worse than the one that is; records the decision with the version.

    Worse means: McNemar's exact test on the validation photos that both have been scored on, seed 1 of each,
    with p below 0.05.

    Args:
      winner: The trial that the version ships.
      manifest: Digest of the photos it was made of.
      override: True or False decide by themselves.
    """
    champion = registry.find_version(store, version.name, registry.CHAMPION)
    is_champion = champion is not None and champion.number == version.number
    if override is None and DECISION in version.tags:
        # Decided at an earlier start; what has happened to the alias since then is nobody's mistake.
        return Promotion(champion, is_champion, version.tags[DECISION])
    if is_champion and override is not False:
        moves, reason = True, "it was champion already" + (", and --promote was given" if override else "")
    else:
        moves, reason = _decide(store, champion, winner, manifest=manifest, override=override)
    if moves:
        registry.set_alias(store, version, registry.CHAMPION)
    registry.tag_version(store, version, {DECISION: reason})
    return Promotion(version if moves else champion, moves, reason)


def _decide(
    store: Store, champion: Version | None, winner: TrialRecord, *, manifest: str, override: bool | None
) -> tuple[bool, str]:
    if override is not None:
        option = "--promote" if override else "--no-promote"
        stays = "; a champion is replaced by another, not taken away" if champion and not override else ""
        return override, f"{option} was given, which overrides the comparison{stays}"
    if champion is None:
        return True, "there was no champion"
    if champion.tags.get(tag_names.MANIFEST) != manifest:
        return False, f"{champion} was made of other photos, so that nothing can be paired; --promote decides"
    found = read_trial(store, champion.tags.get(tag_names.TRIAL_RUN, ""))
    if found is None:
        return False, f"the trial of {champion} is not in the store, so that nothing can be paired; --promote decides"
    test = _compare(store, winner, found[0])
    words = (
        f"of the validation photos that one alone has right it has {test.only_first} and {champion}"
        f" {test.only_second} (McNemar p = {test.p_value:.3f})"
    )
    return (False, f"it is worse: {words}") if test.first_is_worse else (True, f"it is not worse: {words}")


def _compare(store: Store, first: TrialRecord, second: TrialRecord) -> PairedTest:
    return mcnemar(_hits(store, first), _hits(store, second))


def _hits(store: Store, record: TrialRecord) -> np.ndarray:
    """Which validation photos the shipped seed has right, (images,) bool."""
    probabilities, labels = read_predictions(store, record, seeds=1)
    return probabilities[0, int(record.metrics["best_epoch"]) - 1].argmax(-1) == labels
