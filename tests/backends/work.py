"""What a process of one backend does for another's tests: python work.py WORK FOLDER, by KERAS_BACKEND.

FOLDER has photos/ and cache/ with the weights, and takes what is made.
"""

import sys
from pathlib import Path

import numpy as np

from fashion_tuning.data.decode import Sizing
from fashion_tuning.data.source import Dataset, open_dataset
from fashion_tuning.model import engine
from fashion_tuning.model.checkpoint import predict
from fashion_tuning.model.classifier import Classifier
from fashion_tuning.model.features import FeatureRef, compute_features, feature_ref, load_features
from fashion_tuning.model.key import FeatureKey, keras_engine
from fashion_tuning.model.shipped import ModelCard
from fashion_tuning.model.training import TrialSettings, train_trial
from fashion_tuning.model.weights import Weights, get_weights
from fashion_tuning.model.whole import compose, save

CUTS = ("avg_pool", "block14")
SIZING = Sizing(71, "bilinear")
VALUES = {"learning_rate": 0.001, "dense_units": 10, "dropout": 0.2}
# The trial whose scores are compared.
SCORED = TrialSettings(
    values={"learning_rate": 0.003, "dense_units": 0, "dropout": 0.2},
    epochs=30,
    num_seeds=16,
    study_seed=1,
    batch_size=16,
)


def features_at(cut: str, dataset: Dataset, weights: Weights, cache: Path) -> dict[str, FeatureRef]:
    """Features of this process's backend, by split; computed where they are missing."""
    key = FeatureKey(
        manifest=dataset.manifest.digest,
        image_size=SIZING.image_size,
        interpolation=SIZING.interpolation,
        preprocessing="tf",
        backbone="xception",
        weights=weights.digest,
        cut=cut,
        engine=keras_engine(),
    )
    refs = {}
    for split in ("train", "validation"):
        refs[split] = feature_ref(key, split, manifest=dataset.manifest, cache_dir=cache)
        for _ in compute_features(refs[split], root=dataset.root, weights=weights):
            pass
    return refs


def make(folder: Path, backend: str) -> None:
    """Features at each cut, and of a trial on each the checkpoint and what that said; a whole model, seeds' scores."""
    cache = folder / "cache"
    dataset, weights = open_dataset(folder / "photos", cache_dir=cache), get_weights(cache_dir=cache)
    made: dict[str, np.ndarray] = {}
    for cut in CUTS:
        refs = features_at(cut, dataset, weights, cache)
        made |= {f"{cut}/{split}": np.array(load_features(ref)) for split, ref in refs.items()}
        values = {**VALUES, **({} if cut == CUTS[0] else {"cut": cut})}
        settings = TrialSettings(values=values, epochs=1, num_seeds=1, study_seed=1, batch_size=16)
        (result,) = train_trial(settings, refs["train"], refs["validation"], folder / backend / cut, weights)
        result.checkpoints[1].rename(folder / f"{backend}-{cut}.keras")
        made[f"{cut}/probabilities"] = result.probabilities[0]
    card = ModelCard(dataset.manifest.classes, SIZING.image_size, SIZING.interpolation)
    whole = folder / f"{backend}-whole.keras"
    save(compose(weights, folder / f"{backend}-{CUTS[0]}.keras", card), card, whole)
    made["whole"] = answers(whole, dataset)
    made["scores"] = scores(features_at(CUTS[0], dataset, weights, cache), folder / backend / "scores")
    np.savez(folder / f"{backend}.npz", **made)


def scores(refs: dict[str, FeatureRef], scratch: Path) -> np.ndarray:
    """Validation accuracy of each seed of a trial at the epoch where their mean is highest, (seeds,)."""
    results = list(train_trial(SCORED, refs["train"], refs["validation"], scratch))
    return max((result.val_accuracy for result in results), key=np.mean)


def read(folder: Path, backend: str) -> None:
    """What the other backend's checkpoints and whole model say here, of the very features that they were made with."""
    (other,) = {"tensorflow", "torch"} - {backend}
    dataset = open_dataset(folder / "photos", cache_dir=folder / "cache")
    with np.load(folder / f"{other}.npz") as made:
        said = {cut: predict(folder / f"{other}-{cut}.keras", made[f"{cut}/validation"]) for cut in CUTS}
    said["whole"] = answers(folder / f"{other}-whole.keras", dataset)
    np.savez(folder / f"{other}-by-{backend}.npz", **said)


def answers(whole: Path, dataset: Dataset) -> np.ndarray:
    """What a whole model says of the validation photos, (images, classes) float32."""
    photos = [dataset.root / photo.path for photo in dataset.manifest.select("validation")]
    return np.stack([answer.probabilities for answer in Classifier(whole).answers(photos)])


if __name__ == "__main__":
    engine.prepare()
    {"make": make, "read": read}[sys.argv[1]](Path(sys.argv[2]), keras_engine().removeprefix("keras-"))
