"""From a request's body to pictures in memory; nothing is written to a disk on the way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass

from fastapi import Request
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect

from fashion_tuning.service.limits import Limits
from fashion_tuning.service.problems import ProblemError

FORM = "multipart/form-data"
MAX_FIELDS, MAX_FIELD_BYTES = 16, 4096


@dataclass(frozen=True)
class Upload:
    """A file as it came; its name is whatever the client says, and decides nothing."""

    name: str
    data: bytes


@dataclass(frozen=True)
class Form:
    """The parts of a form: fields by name, the last of each, and files in order."""

    fields: Mapping[str, str]
    files: tuple[Upload, ...]


class _InMemory(MultiPartParser):
    spool_max_size = 1 << 40  # the stock parser moves files above 1 MB to a temporary file


async def read_pictures(request: Request, limits: Limits) -> tuple[Upload, ...]:
    """The pictures of a request, at least one: all files of a form, or the body itself.

    Raises:
      ProblemError: There is none, or too much, or it comes too slowly, or as another type.
    """
    kind = media_type(request)
    if kind == FORM:
        form = await read_form(request, limits)
        if form.fields:
            raise ProblemError("malformed", f"a field {next(iter(form.fields))!r}; expected files, each with a name")
        files = tuple(one for one in form.files if one.name or one.data)  # what a form with nothing chosen sends
        if not files:
            raise ProblemError("malformed", "a form without a file; expected at least one picture")
        return files
    if kind and kind != "application/octet-stream" and not kind.startswith("image/"):
        raise ProblemError("unsupported", f"a body of {kind!r}; expected {FORM}, or a picture as image/jpeg or such")
    data = b"".join([chunk async for chunk in _body(request, limits)])
    if not data:
        raise ProblemError("malformed", "an empty body; expected a picture")
    return (Upload("", data),)


async def read_form(request: Request, limits: Limits) -> Form:
    """A form with files and short fields.

    Raises:
      ProblemError: It is no form, too large or too slow.
    """
    parser = _InMemory(
        request.headers,
        _body(request, limits),
        max_files=limits.files + 1,
        max_fields=MAX_FIELDS,
        max_part_size=MAX_FIELD_BYTES,
    )
    try:
        form = await parser.parse()
    except MultiPartException as error:
        if error.message.startswith("Too many files"):
            raise _too_many(limits) from error
        raise ProblemError("malformed", f"{error.message} Expected {FORM} with its boundary.") from error
    fields: dict[str, str] = {}
    files: list[Upload] = []
    for name, value in form.multi_items():
        if isinstance(value, UploadFile):
            files.append(Upload(value.filename or "", await value.read()))
            await value.close()
        else:
            fields[name] = value
    if len(files) > limits.files:
        raise _too_many(limits)
    return Form(fields, tuple(files))


def media_type(request: Request) -> str:
    """The type that a request's body is said to have, without parameters; "" where nothing is said."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


async def _body(request: Request, limits: Limits) -> AsyncGenerator[bytes, None]:
    if (declared := request.headers.get("content-length", "")).isdigit() and int(declared) > limits.body_bytes:
        raise _too_large(limits)
    received = 0
    stream = request.stream()
    until = asyncio.get_running_loop().time() + limits.body_seconds
    while True:
        seconds = min(limits.idle_seconds, until - asyncio.get_running_loop().time())
        try:
            chunk = await asyncio.wait_for(anext(stream), seconds)
        except StopAsyncIteration:
            return
        except TimeoutError as error:
            raise ProblemError(
                "slow-upload", f"{received:,} bytes, then nothing in time; send it again over a better line"
            ) from error
        except ClientDisconnect as error:
            raise ProblemError("malformed", f"the client went away after {received:,} bytes") from error
        received += len(chunk)
        if received > limits.body_bytes:
            raise _too_large(limits)
        yield chunk


def _too_large(limits: Limits) -> ProblemError:
    return ProblemError(
        "too-large", f"more than {limits.body_bytes / 1e6:.0f} MB; expected less in one request: send a smaller picture"
    )


def _too_many(limits: Limits) -> ProblemError:
    return ProblemError("too-many-files", f"more than {limits.files} files; send them in several requests")
