"""The commands of the web service; heavy imports stay inside them."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from fashion_tuning.options import JsonOption, StoreOption, ViewsOption, expand_paths

service = typer.Typer(rich_markup_mode=None)
feedback = typer.Typer(help="What users of the service have chosen.", no_args_is_help=True, rich_markup_mode=None)
service.add_typer(feedback, name="feedback")


@service.command()
def serve(
    model: Annotated[
        str,
        typer.Option(
            "--model",
            help="NAME, NAME@ALIAS or NAME/VERSION, or a model's folder or file; a name alone means its champion.",
        ),
    ] = "fashion-classifier",
    host: Annotated[str, typer.Option(help="Address to listen at; others than this machine's own need care.")] = (
        "127.0.0.1"
    ),
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen at; 0: any that is free.")] = 8000,
    engine: Annotated[
        str,
        typer.Option(
            help="keras, litert, onnx, openvino or saved_model; fastest tries all that are installed at start."
        ),
    ] = "keras",
    average_views: ViewsOption = None,
    token: Annotated[
        str | None,
        typer.Option(
            envvar="FASHION_TUNING_TOKEN",
            show_default=False,
            show_envvar=False,
            help="What callers have to bring, at least 16 characters; better by FASHION_TUNING_TOKEN than typed.",
        ),
    ] = None,
    feedback_file: Annotated[
        Path | None,
        typer.Option(
            "--feedback",
            callback=expand_paths,
            show_default=False,
            help="SQLite file to keep chosen categories in; pictures only where their owners consent.",
        ),
    ] = None,
    rate: Annotated[int, typer.Option(min=0, help="Requests a minute of one client; 0: any number.")] = 300,
    poll: Annotated[float, typer.Option(min=0, help="Seconds between looks for a newer model; 0: none.")] = 30.0,
    tracking_uri: StoreOption = None,
) -> None:
    """Serve the upload page and its API, with the champion unless another model is named."""
    from fashion_tuning.launch_serve import start_service

    start_service(
        model,
        host=host,
        port=port,
        engine=engine,
        average_views=average_views,
        token=token or None,
        feedback_file=feedback_file,
        requests_per_minute=rate,
        poll_seconds=poll,
        tracking_uri=tracking_uri,
    )


@feedback.command("export")
def export(
    file: Annotated[Path, typer.Argument(callback=expand_paths, help="What serve --feedback wrote.")],
    folder: Annotated[
        Path, typer.Argument(callback=expand_paths, help="Where to write one folder per category; may exist.")
    ],
    as_json: JsonOption = False,
) -> None:
    """Write the pictures that were given with consent as a folder per chosen category."""
    from fashion_tuning.launch_serve import exported_lines, start_export

    exported = start_export(file, folder)
    if as_json:
        print(json.dumps(asdict(exported)))
    else:
        print("\n".join(exported_lines(exported, folder)))
