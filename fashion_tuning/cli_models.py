"""The commands that make, measure and use models; heavy imports stay inside them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from fashion_tuning.errors import DataError
from fashion_tuning.options import (
    DataOption,
    DataOptions,
    JsonOption,
    ModelOption,
    ReportOption,
    StoreOption,
    TimeoutOption,
    ViewsOption,
    cache_folder,
    environment_folder,
    expand_paths,
)

models = typer.Typer(rich_markup_mode=None)


@models.command("final-train")
def final_train(
    study: Annotated[
        str, typer.Argument(help="Name or run id of a study, or a card.")
    ] = "experiments/xception_150.toml",
    top: Annotated[int, typer.Option(min=1, help="How many of the study's best trials may be chosen.")] = 3,
    promote: Annotated[
        bool | None,
        typer.Option(
            "--promote/--no-promote",
            help="Make it champion, or don't, whatever the comparison says.",
            show_default=False,
        ),
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="Trials that run at a time.")] = 1,
    data_dirs: DataOptions = None,
    tracking_uri: StoreOption = None,
    store_timeout: TimeoutOption = None,
    with_report: ReportOption = True,
    as_json: JsonOption = False,
) -> None:
    """Retrain a study's configurations at the final size, choose, register a model and measure it on test."""
    from fashion_tuning.launch_models import start_final

    start_final(
        study,
        top=top,
        override=promote,
        with_report=with_report,
        num_workers=workers,
        data_dir=data_dirs[0] if data_dirs else None,
        joining=(data_dirs or [])[1:],
        environment_dir=environment_folder(),
        tracking_uri=tracking_uri,
        store_timeout=store_timeout,
        as_json=as_json,
        cache_dir=cache_folder(),
    )


@models.command()
def evaluate(
    model: Annotated[
        str, typer.Argument(help="NAME, NAME@ALIAS or NAME/VERSION; a name alone means its champion.")
    ] = "fashion-classifier",
    split: Annotated[str, typer.Option(help="test, validation or train; every look at test is counted.")] = "test",
    average_views: ViewsOption = None,
    data_dir: DataOption = None,
    tracking_uri: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Measure a registered model on a split; the look is recorded and counted."""
    from fashion_tuning.launch_models import start_evaluation

    start_evaluation(
        model,
        split=split,
        average_views=average_views,
        data_dir=data_dir,
        environment_dir=environment_folder(),
        tracking_uri=tracking_uri,
        as_json=as_json,
        cache_dir=cache_folder(),
    )


@models.command()
def predict(
    files: Annotated[
        list[Path],
        typer.Argument(callback=expand_paths, help="Photos, folders of them, or - for one on standard input."),
    ],
    top: Annotated[int, typer.Option(min=1, help="How many categories to name.")] = 3,
    model: ModelOption = "fashion-classifier",
    average_views: ViewsOption = None,
    tracking_uri: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Name the category of photos; exit 1 where one can't be read, the others are answered all the same."""
    from fashion_tuning.launch_models import predictions
    from fashion_tuning.show_models import ModelTerminal

    terminal = ModelTerminal(as_json=as_json)

    def note(text: str) -> None:
        print(text, file=sys.stderr)

    answers = predictions(
        files, top=top, model=model, average_views=average_views, tracking_uri=tracking_uri, tell=note
    )
    found = terminal.predictions(answers)
    if any(one.problem for one in found):
        raise typer.Exit(1)


@models.command()
def export(
    format: Annotated[str, typer.Option("--format", help="litert, onnx, openvino or saved_model.")],
    output: Annotated[
        Path | None,
        typer.Option(
            callback=expand_paths,
            help="Where to write it; default: the model's name here.",
            show_default=False,
        ),
    ] = None,
    model: ModelOption = "fashion-classifier",
    data_dir: DataOption = None,
    tracking_uri: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write a registered model in another format, compared with Keras on validation photos."""
    from fashion_tuning.launch_models import start_export

    start_export(
        model,
        format,
        output,
        data_dir=data_dir,
        environment_dir=environment_folder(),
        tracking_uri=tracking_uri,
        as_json=as_json,
        cache_dir=cache_folder(),
    )


@models.command()
def imagenet(
    file: Annotated[Path, typer.Argument(callback=expand_paths, help="A photo.")],
    as_json: JsonOption = False,
) -> None:
    """Show the untouched Xception's five likeliest ImageNet classes of a photo."""
    from fashion_tuning.data.decode import UnreadableImageError
    from fashion_tuning.quiet import silent_stderr
    from fashion_tuning.show_models import ModelTerminal

    with silent_stderr():
        from fashion_tuning.model.imagenet import imagenet_classes
    terminal = ModelTerminal(as_json=as_json)
    try:
        with terminal.working("getting the weights"):
            classes = imagenet_classes(file, cache_dir=cache_folder())
    except UnreadableImageError as error:
        raise DataError(f"{file}: {error.reason}", expected="a photo") from error
    terminal.imagenet(file, classes)
