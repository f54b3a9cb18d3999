"""`make bench`: every speed figure of the README, measured in one run on the same images.

Prints a Markdown table. Run it on a quiet machine; it takes about twenty minutes on two cores.
Photos come from FASHION_TUNING_DATA, or else garments are drawn.
"""

import os
import tempfile
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from fashion_tuning.data.source import open_dataset, open_drawn
from fashion_tuning.model.weights import get_weights
from fashion_tuning.options import cache_folder, environment_folder
from fashion_tuning.quiet import silent_stderr

with silent_stderr():
    from fashion_tuning.model import engine
    from tests.benchmarks import answer, ask, extraction, loop, modes, resume, serving, trial

HEADER = "| what | measured | against | ratio |\n|---|---|---|---|"


def main() -> None:
    folder = environment_folder()
    cache = cache_folder()
    dataset = open_dataset(folder, cache_dir=cache) if folder else open_drawn(cache_dir=cache)
    weights = get_weights(cache_dir=cache)
    engine.prepare()
    counts = {split: sum(labels.values()) for split, labels in dataset.manifest.counts().items()}
    print(f"{os.cpu_count()} cores; {dataset.name}, {counts['train']} train and {counts['validation']} validation\n")
    print(HEADER, flush=True)
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        extracted = extraction.measure(dataset, weights, image_size=150)
        show(extracted.rows)
        show(extraction.measure(dataset, weights, image_size=299).rows)
        show(modes.measure(dataset, weights))
        show(answer.measure(dataset, weights, scratch))
        show(serving.measure(dataset, weights, scratch))
        looped = loop.measure(dataset, weights, scratch)
        show(looped.rows)
        trials = trial.measure(dataset, weights, cache, scratch)
        show(trials.rows)
        show(ask.measure())
        show(resume.measure(dataset, weights, cache, scratch))
        show(
            loop.project(
                counts,
                loop_seconds_per_image=looped.seconds_per_image,
                extraction_rate=extracted.images_per_second,
                one_seed_seconds=trials.one_seed_seconds,
            )
        )


def show(rows: list[tuple[str, str, str, str]]) -> None:
    for row in rows:
        print("| " + " | ".join(row) + " |", flush=True)


if __name__ == "__main__":
    main()
