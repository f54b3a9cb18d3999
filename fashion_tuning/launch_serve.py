"""From what a person types to a running web service, and to what its users have chosen."""

from __future__ import annotations

import faulthandler
import logging
import os
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from fashion_tuning.errors import UsageError
from fashion_tuning.options import READING
from fashion_tuning.ports import listen
from fashion_tuning.pulse import Pulse
from fashion_tuning.quiet import silent_stderr, tell
from fashion_tuning.stderr_gate import LINES_PER_MINUTE, gated_stderr, tell_held_back
from fashion_tuning.wording import count, drawn_banner

if TYPE_CHECKING:
    from fashion_tuning.service.champion import Champion
    from fashion_tuning.service.feedback import Exported

MIN_TOKEN = 16  # characters; shorter ones can be guessed


def start_service(
    model: str,
    *,
    host: str,
    port: int,
    engine: str,
    average_views: bool | None,
    token: str | None,
    feedback_file: Path | None,
    requests_per_minute: int,
    poll_seconds: float,
    tracking_uri: str | None = None,
) -> None:
    """Serves the page and the API until it is told to end.

    Raises:
      FashionTuningError: Of the kind that says what a person has to do.
    """
    if token is not None and len(token) < MIN_TOKEN:
        raise UsageError(f"a token of {len(token)} characters", expected=f"at least {MIN_TOKEN}")
    # Before anything slow: a port that is taken is told at once.
    with listen(host, port, command="fashion-tuning serve") as listening, ExitStack() as loading:
        loading.enter_context(Pulse(tell).beating("getting the model ready"))
        with silent_stderr():
            from fashion_tuning.service.app import make_app
            from fashion_tuning.service.limits import Limits
            from fashion_tuning.service.server import is_loopback, run_server
            from fashion_tuning.service.sources import find_source
        limits = Limits(requests_per_minute=requests_per_minute)
        source = find_source(
            model, engine=engine, average_views=average_views, tracking_uri=tracking_uri, patience=READING
        )
        app = make_app(
            source,
            limits=limits,
            token=token,
            feedback_file=feedback_file,
            poll_seconds=poll_seconds,
            tell=_tell_model,
        )
        if token is None and not is_loopback(host):
            _note(f"warning: {host} is reached from other machines, and anybody there may use it; --token limits that")
        address = f"http://{f'[{host}]' if ':' in host else host}:{listening.getsockname()[1]}"

        def started() -> None:
            loading.close()
            print(f"{address}  (Ctrl-C ends it)", flush=True)

        with gated_stderr(lines_per_minute=LINES_PER_MINUTE):  # the log is made inside, so that it goes past the gate
            logging.basicConfig(format="%(asctime)s %(message)s", level=logging.WARNING)
            faulthandler.enable()
            run_server(app, listening, limits=limits, started=started)
        tell_held_back()
    # Everything is answered and closed; TensorFlow's own end takes seconds more, and 10 s are promised for all of it.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def start_export(file: Path, folder: Path) -> Exported:
    """Writes the pictures of a feedback file as a labelled folder.

    Raises:
      FashionTuningError: Of the kind that says what a person has to do.
    """
    from fashion_tuning.service.feedback import export_feedback

    return export_feedback(file, folder)


def exported_lines(exported: Exported, folder: Path) -> list[str]:
    """What was exported, for a person."""
    lines = [f"{category}: {count(number, 'picture')}" for category, number in exported.pictures.items()]
    total = count(sum(exported.pictures.values()), "picture")
    without = (
        f"; {count(exported.without_picture, 'choice')} came without a picture" if exported.without_picture else ""
    )
    return [*lines, f"{total} in {folder}{without}"]


def _tell_model(champion: Champion) -> None:
    loaded = champion.current
    if loaded.drawn:
        _note(drawn_banner())
    if loaded.note:
        _note(loaded.note)
    if loaded.unsure_below is None:
        sure = "no threshold of doubt on record: no answer will be called unsure"
    else:
        sure = f"answers below {loaded.unsure_below:.3f} are called unsure"
    views = loaded.classifier.num_views
    mean = f", mean of {views} views each" if views > 1 else ""
    _note(f"{loaded}{mean}, computed by {loaded.engine}; {sure}")


def _note(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
