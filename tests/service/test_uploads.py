"""Bodies become pictures in memory: what stays within its limits of size and time, and never a file."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Sequence

import pytest
from fastapi import Request

from fashion_tuning.service.limits import Limits
from fashion_tuning.service.problems import ProblemError
from fashion_tuning.service.uploads import Upload, read_form, read_pictures

FORM = "multipart/form-data; boundary=x"


def part(content: bytes, *, name: str = "file", file: str | None = "a.jpg") -> bytes:
    shown = f'; filename="{file}"' if file is not None else ""
    return f'--x\r\nContent-Disposition: form-data; name="{name}"{shown}\r\n\r\n'.encode() + content + b"\r\n"


def request(*chunks: bytes, kind: str = FORM, pause: float = 0) -> Request:
    """A request whose body comes in chunks, each after a pause."""

    async def messages() -> AsyncIterator[dict[str, object]]:
        for place, chunk in enumerate(chunks):
            await asyncio.sleep(pause)
            yield {"type": "http.request", "body": chunk, "more_body": place + 1 < len(chunks)}

    waiting = messages()

    async def receive() -> dict[str, object]:
        return await anext(waiting)

    scope = {"type": "http", "method": "POST", "path": "/", "headers": [(b"content-type", kind.encode())]}
    return Request(scope, receive)


def pictures(asked: Request, limits: Limits | None = None) -> Sequence[Upload]:
    return asyncio.run(read_pictures(asked, limits or Limits()))


def kind_of(asked: Request, limits: Limits | None = None) -> str:
    with pytest.raises(ProblemError) as caught:
        pictures(asked, limits)
    return caught.value.kind


def test_files_of_a_form_in_any_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a file was made")

    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    large = bytes(range(256)) * 12_000  # three times what the stock parser keeps in memory
    body = part(large) + part(b"two", file="b.png") + b"--x--\r\n"
    for size in (len(body), 65_536, 1_000_003):
        chunks = [body[start : start + size] for start in range(0, len(body), size)]
        assert list(pictures(request(*chunks))) == [Upload("a.jpg", large), Upload("b.png", b"two")]


def test_a_body_that_is_a_picture() -> None:
    for kind in ("image/jpeg", "application/octet-stream", "IMAGE/PNG; x=y", ""):
        assert list(pictures(request(b"one", b"two", kind=kind))) == [Upload("", b"onetwo")]


def test_a_form_with_nothing_chosen_has_no_picture() -> None:
    assert kind_of(request(part(b"", file="") + b"--x--\r\n")) == "malformed"


def test_limits_of_size() -> None:
    small = Limits(body_bytes=1000, files=2)
    assert kind_of(request(bytes(600), bytes(600), kind="image/png"), small) == "too-large"
    assert kind_of(request(part(bytes(600)) + part(bytes(600)) + b"--x--\r\n"), small) == "too-large"
    assert kind_of(request(part(b"1") * 3 + b"--x--\r\n"), small) == "too-many-files"
    assert kind_of(request(part(b"1") * 9 + b"--x--\r\n"), small) == "too-many-files"
    assert kind_of(request(part(bytes(5000), file=None) + b"--x--\r\n")) == "malformed"
    assert kind_of(request(part(b"1", file=None) * 20 + b"--x--\r\n")) == "malformed"


def test_limits_of_time() -> None:
    slow = [b"a"] * 10
    assert kind_of(request(*slow, kind="image/png", pause=0.2), Limits(idle_seconds=0.1)) == "slow-upload"
    assert kind_of(request(*slow, kind="image/png", pause=0.05), Limits(body_seconds=0.2)) == "slow-upload"
    assert len(pictures(request(*slow, kind="image/png", pause=0.01))) == 1


def test_fields_and_files() -> None:
    body = part(b"7", name="id", file=None) + part(b"8", name="id", file=None) + part(b"x") + b"--x--\r\n"
    form = asyncio.run(read_form(request(body), Limits()))
    assert (dict(form.fields), form.files) == ({"id": "8"}, (Upload("a.jpg", b"x"),))
