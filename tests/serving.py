"""The service as a real process, and pictures for it."""

from __future__ import annotations

import io
import re
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
from command_line import PROGRAM, clean_environment
from PIL import Image

from fashion_tuning.data.drawn import draw_garment

TOKEN = "a-token-for-the-tests-0123456789"


class Server:
    """A running `fashion-tuning serve`; `url` is where, `said` what it wrote to standard error."""

    def __init__(self, process: subprocess.Popen[str], url: str, said: list[str]) -> None:
        self.process = process
        self.url = url
        self.said = said

    def client(self, **settings: object) -> httpx.Client:
        """An HTTP client for it, without the proxies of the person who tests."""
        return httpx.Client(base_url=self.url, trust_env=False, timeout=60, **settings)  # type: ignore[arg-type]


@contextmanager
def serve(folder: Path, *options: str, **environment: str) -> Iterator[Server]:
    """Starts a server on a free port and waits until it listens; ends it at the end."""
    process = subprocess.Popen(
        [*PROGRAM, "serve", "--port", "0", *options],
        cwd=folder,
        env=clean_environment(folder, **environment),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    said: list[str] = []
    assert process.stdout is not None
    assert process.stderr is not None
    errors = process.stderr
    listening = threading.Thread(target=lambda: said.extend(errors), daemon=True)
    listening.start()
    try:
        found = re.search(r"http://\S+", process.stdout.readline())
        assert found is not None, said or process.wait(10)
        yield Server(process, found[0], said)
    finally:
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
        finally:
            process.stdout.close()
            listening.join(5)
            process.stderr.close()


def wait_for(done: object, *, seconds: float = 120) -> None:
    """Until a function of no arguments says yes."""
    until = time.monotonic() + seconds
    while not done():  # type: ignore[operator]
        assert time.monotonic() < until, "it did not happen in time"
        time.sleep(0.05)


def garment(label: str = "dress", index: int = 0, format: str = "JPEG", **settings: object) -> bytes:
    """A drawn garment as an image file."""
    content = io.BytesIO()
    draw_garment(label, seed=5, index=index).save(content, format, **settings)
    return content.getvalue()


def encoded(image: Image.Image, format: str, **settings: object) -> bytes:
    """An image as a file."""
    content = io.BytesIO()
    image.save(content, format, **settings)
    return content.getvalue()
