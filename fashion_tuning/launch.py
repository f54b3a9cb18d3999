"""From a card's path to a finished study: everything it needs, found and made ready, then run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from fashion_tuning.card_file import read_card_text
from fashion_tuning.config import Card, load_card
from fashion_tuning.data.source import Dataset, open_dataset, open_drawn
from fashion_tuning.errors import NoTrialError, PhotosUnreachableError, UsageError, WeightsError
from fashion_tuning.launch_report import report_at_end
from fashion_tuning.model.weights import Weights, get_all_weights
from fashion_tuning.quiet import silent_stderr
from fashion_tuning.show import Terminal
from fashion_tuning.show_studies import StudyTerminal
from fashion_tuning.study.executors import Worker

if TYPE_CHECKING:
    from fashion_tuning.model.recheck import Recheck
    from fashion_tuning.study.inputs import StudyInputs
    from fashion_tuning.tracking.store import Store


def start_study(
    card_path: Path,
    *,
    cache_dir: Path,
    max_trials: int | None = None,
    num_workers: int = 1,
    data_dir: Path | None = None,
    joining: Sequence[Path] = (),
    environment_dir: Path | None = None,
    tracking_uri: str | None = None,
    store_timeout: float | None = None,
    fresh: bool = False,
    with_report: bool = True,
    as_json: bool = False,
) -> None:
    """Runs or resumes the study of a card and shows plan, progress and leaderboard.

    Args:
      data_dir: Folder of photos that the command names; environment_dir the one that the
        environment names, which a card of drawn garments leaves alone.
      joining: Labelled folders whose photos join train.
      store_timeout: Seconds to wait for a tracking store that is locked or away.

    Raises:
      FashionTuningError: Of the kind that says what a person has to do.
    """
    card = load_card(card_path)
    card_text = read_card_text(card_path)
    if card.photos == "drawn":
        refuse_photos(data_dir, f"{card_path}, a card")
    terminal = StudyTerminal(as_json=as_json)
    # Their slow import of Keras runs beside all that follows.
    workers = [Worker() for _ in range(num_workers)]
    try:
        dataset = find_photos(
            card, data_dir or environment_dir, joining=joining, cache_dir=cache_dir, terminal=terminal
        )
        with silent_stderr():
            from fashion_tuning.study.leaderboard import leaderboard
            from fashion_tuning.study.tune import tune
            from fashion_tuning.tracking.store import PATIENCE, Store
        patience = PATIENCE if store_timeout is None else store_timeout
        store = Store(tracking_uri, patience=patience, tell=terminal.line)
        inputs = find_inputs(card, card_text, dataset, store, cache_dir=cache_dir, terminal=terminal)
        terminal.banner(dataset)
        with terminal.progress() as report:
            study = tune(inputs, store, workers=workers, max_trials=max_trials, fresh=fresh, report=report)
    finally:
        for worker in workers:
            worker.close()
    try:
        with terminal.working("reading the trials"):
            board = leaderboard(store, study)
    except NoTrialError:
        terminal.line("no trial was completed")
        raise
    terminal.leaderboard(board)
    if with_report:
        report_at_end(store, study, terminal)
    terminal.banner(dataset)
    # A list of configurations has an end; only a search can go on.
    terminal.next_steps(
        study,
        tracking_uri=tracking_uri,
        card_path=card_path if card.search else None,
        data_dirs=[data_dir, *joining] if data_dir else [],
    )


def refuse_photos(data_dir: Path | None, whose: str) -> None:
    """Drawn garments come from no folder.

    Raises:
      UsageError: The command names one.
    """
    if data_dir is not None:
        raise UsageError(
            f"--data {data_dir} with {whose} of drawn garments",
            expected="no --data, or a card of photos",
            action="fashion-tuning tune experiments/xception_150.toml --data FOLDER",
        )


def find_photos(
    card: Card, data_dir: Path | None, *, cache_dir: Path, terminal: Terminal, joining: Sequence[Path] = ()
) -> Dataset:
    """The card's photos; drawn garments where the card asks for them or nobody named a folder."""
    with terminal.counting("getting the photos") as progress:
        if card.photos == "clothing":
            try:
                return open_dataset(
                    data_dir,
                    joining=joining,
                    cache_dir=cache_dir,
                    progress=progress,
                    download_progress=terminal.interactive,
                )
            except PhotosUnreachableError as error:
                terminal.line(f"{error.received}; going on with drawn garments")
    return draw_photos(cache_dir=cache_dir, terminal=terminal)


def draw_photos(*, cache_dir: Path, terminal: Terminal) -> Dataset:
    """The drawn garments, from the cache where they are there."""
    with terminal.counting("drawing garments") as progress:
        return open_drawn(cache_dir=cache_dir, progress=progress)


def find_inputs(
    card: Card,
    card_text: str,
    dataset: Dataset,
    store: Store,
    *,
    cache_dir: Path,
    terminal: Terminal,
    teacher: str = "",
) -> StudyInputs:
    """A card with its photos, the weights of all its networks, and its teacher.

    Args:
      teacher: The run of the trial that taught an earlier run of the card; "" for the one that it names now.

    Raises:
      WeightsError: Some can't be had, or the teacher was trained behind others.
      FashionTuningError: What `find_teacher` raises.
    """
    with silent_stderr():
        from fashion_tuning.study.inputs import StudyInputs
        from fashion_tuning.study.teacher import find_teacher
    found = find_teacher(store, card, dataset, run_id=teacher)
    backbones = dict.fromkeys([*card.backbones(), *([found.backbone] if found else [])])
    with terminal.working("getting the weights"):
        weights = get_all_weights(tuple(backbones), cache_dir=cache_dir, progress=terminal.line)
    if found and weights[found.backbone].digest != (recorded := found.study.keys[found.backbone].weights):
        raise WeightsError(
            f"the weights of {found.backbone} here have digest {weights[found.backbone].digest}",
            expected=f"the teacher's, {recorded}",
        )
    return StudyInputs(card, card_text, dataset, weights, cache_dir, found)


def recheck_features(data_dir: Path, *, cache_dir: Path, terminal: Terminal) -> Iterator[Recheck]:
    """Compares what the cache holds of a folder's photos with features that are computed here and now; read-only.

    Raises:
      DataError, WeightsError: Photos or weights can't be had.
      UsageError: The cache holds nothing of these photos that can be computed here.
    """
    with terminal.counting("verifying photos") as progress:
        dataset = open_dataset(data_dir, cache_dir=cache_dir, progress=progress)
    with silent_stderr():
        from fashion_tuning.model.recheck import recheck

    def weights_of(backbone: str) -> Weights:
        return get_all_weights((backbone,), cache_dir=cache_dir, progress=terminal.line)[backbone]

    rechecks = recheck(cache_dir, dataset.root, dataset.manifest, weights_of=weights_of)
    first = next(rechecks, None)
    if first is None:
        raise UsageError(
            f"no features in {cache_dir} of the photos in {data_dir} that Keras computes here in float32",
            expected=f"some of manifest {dataset.manifest.digest[:8]}",
            action="fashion-tuning cache list names the photos of each: data and the start of their manifest's digest",
        )
    yield first
    yield from rechecks
