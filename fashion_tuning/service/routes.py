"""What each address does."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI, Request, Response

from fashion_tuning.data.decode import UnreadableImageError
from fashion_tuning.data.encode import as_jpeg
from fashion_tuning.errors import DiskError, FashionTuningError
from fashion_tuning.service.answering import Answering, Found
from fashion_tuning.service.champion import Champion
from fashion_tuning.service.feedback import Feedback, Given
from fashion_tuning.service.limits import Limits
from fashion_tuning.service.loaded import Loaded, sample
from fashion_tuning.service.metrics import CONTENT_TYPE, Metrics
from fashion_tuning.service.problems import KINDS, MEDIA_TYPE, ProblemError
from fashion_tuning.service.schemas import (
    Answers,
    Categories,
    ModelName,
    Problem,
    Reloaded,
    Result,
    State,
    Stored,
    Suggestion,
)
from fashion_tuning.service.uploads import FORM, Upload, media_type, read_form, read_pictures

FRESH_SECONDS = 10.0  # a self-test that passed so lately need not be done again
SELF_TEST_SECONDS = 5.0
_PICTURES = {
    "required": True,
    "content": {
        FORM: {
            "schema": {
                "type": "object",
                "required": ["file"],
                "additionalProperties": False,
                "properties": {"file": {"type": "array", "items": {"type": "string", "format": "binary"}}},
            }
        },
        **{
            kind: {"schema": {"type": "string", "format": "binary"}}
            for kind in ("image/jpeg", "image/png", "image/webp", "application/octet-stream")
        },
    },
}
_CHOICE = {
    "required": True,
    "content": {
        FORM: {
            "schema": {
                "type": "object",
                "required": ["id", "category"],
                "properties": {
                    "id": {"type": "string", "description": "Of the result that the choice is about."},
                    "category": {"type": "string", "description": "The chosen one, suggested or not."},
                    "consent": {"type": "string", "enum": ["true", "false"], "description": "To store the picture."},
                    "image": {"type": "string", "format": "binary", "description": "The picture, only with consent."},
                },
            }
        }
    },
}


@dataclass
class Parts:
    """What the routes work with; `loader` makes new models ready, `may_reload` says whether a token protects that."""

    champion: Champion
    answering: Answering
    metrics: Metrics
    limits: Limits
    feedback: Feedback | None
    loader: ThreadPoolExecutor
    may_reload: bool
    stopping: bool = False
    uploads: int = 0
    tested_at: float = float("-inf")
    tested: Loaded | None = None

    @contextlib.contextmanager
    def uploading(self) -> Iterator[None]:
        """A place for one body.

        Raises:
          ProblemError: All are taken.
        """
        if self.uploads >= self.limits.uploads:
            raise ProblemError("busy", f"{self.uploads} uploads at a time; try again a little later", retry_seconds=2)
        self.uploads += 1
        try:
            yield
        finally:
            self.uploads -= 1


def add_routes(app: FastAPI, parts: Parts) -> None:
    """Adds the API's addresses to an application."""

    @app.post(
        "/v1/predict",
        openapi_extra={"requestBody": _PICTURES},
        responses=_problems(400, 401, 408, 413, 415, 422, 429, 503),
        summary="Suggest categories for pictures",
    )
    async def predict(request: Request) -> Answers:
        """Takes one picture as the body, or one or many as a form. The content decides, not names or types.

        In a request of many files one that can't be read has a problem in its result; where none can, or there is
        one file only, the answer is that problem.
        """
        with parts.uploading():
            uploads = await read_pictures(request, parts.limits)
            loaded = parts.champion.current
            found = await parts.answering.answer(loaded, uploads)
        refused = all(one.problem for one in found)
        for one in found[refused:]:  # the answer to a request that is refused counts its first problem
            if one.problem is not None:
                parts.metrics.errors.labels(one.problem.kind).inc()
            elif parts.feedback is not None:
                parts.feedback.remember(one.id, _given(loaded, one))
        results = [_result(one, request.state.request_id) for one in found]
        first = found[0].problem
        if first is not None and refused:
            members = {"results": [one.model_dump() for one in results]} if len(found) > 1 else {}
            raise ProblemError(first.kind, first.detail, members=members)
        return Answers(request_id=request.state.request_id, model=_name(loaded), results=results)

    @app.get("/v1/categories", responses=_problems(401, 429), summary="What the model knows and the server takes")
    async def categories(request: Request) -> Categories:
        loaded, limits = parts.champion.current, parts.limits
        return Categories(
            request_id=request.state.request_id,
            model=_name(loaded),
            categories=list(loaded.classifier.class_names),
            views=loaded.classifier.num_views,
            unsure_below=loaded.unsure_below,
            feedback=parts.feedback is not None,
            max_body_bytes=limits.body_bytes,
            max_pixels=limits.pixels,
            max_files=limits.files,
        )

    @app.post(
        "/v1/feedback",
        openapi_extra={"requestBody": _CHOICE},
        responses=_problems(400, 401, 404, 408, 413, 415, 422, 429, 503),
        summary="Store the category that a person chose",
    )
    async def feedback(request: Request) -> Stored:
        """The picture itself is stored only where the form holds it and says consent=true, and without its metadata."""
        if parts.feedback is None:
            raise ProblemError("not-found", "no choices are stored here; start the server with --feedback FILE")
        if (kind := media_type(request)) != FORM:
            raise ProblemError("unsupported", f"a body of {kind!r}; expected {FORM}")
        with parts.uploading():
            form = await read_form(request, parts.limits)
            return await _store(parts, parts.feedback, form.fields, form.files, request.state.request_id)

    @app.post("/v1/reload", responses=_problems(401, 403, 409, 429), summary="Take a newer model now")
    async def reload(request: Request) -> Reloaded:
        """Takes the version that the alias names now; where that fails its self-test the old one goes on."""
        if not parts.may_reload:
            raise ProblemError("forbidden", "start the server with --token to allow this; it looks by itself as well")
        try:
            changed = await asyncio.get_running_loop().run_in_executor(parts.loader, parts.champion.reload)
        except FashionTuningError as error:
            raise ProblemError("reload-failed", f"{error.received}; {parts.champion.current} goes on") from error
        except Exception as error:
            detail = f"{type(error).__name__}: {error}; {parts.champion.current} goes on"
            raise ProblemError("reload-failed", detail) from error
        model = _name(parts.champion.current)
        return Reloaded(request_id=request.state.request_id, model=model, changed=changed)

    @app.get("/healthz", summary="Whether the process lives")
    async def healthz(request: Request) -> State:
        return State(request_id=request.state.request_id, status="ok")

    @app.get("/readyz", responses=_problems(503), summary="Whether the model answers a picture")
    async def readyz(request: Request) -> State:
        if parts.stopping or not parts.answering.batcher.alive:
            raise ProblemError("stopping", "no new requests, please", retry_seconds=5)
        await _self_test(parts)
        return State(request_id=request.state.request_id, status="ready")

    @app.get("/metrics", response_class=Response, responses=_problems(401), summary="Figures for Prometheus")
    async def metrics() -> Response:
        loaded = parts.champion.current
        parts.metrics.serves(loaded.name, loaded.version)
        return Response(parts.metrics.text(), media_type=CONTENT_TYPE)


async def _self_test(parts: Parts) -> None:
    """Answers the drawn picture as any other, through the same queue, unless it has just done so."""
    loaded, now = parts.champion.current, time.monotonic()
    if parts.tested is loaded and now - parts.tested_at < FRESH_SECONDS:
        return
    try:
        async with asyncio.timeout(SELF_TEST_SECONDS):
            await parts.answering.probabilities(loaded, sample())
    except Exception as error:
        raise ProblemError(
            "not-ready", f"{type(error).__name__} on the picture of the self-test", retry_seconds=5
        ) from error
    parts.tested, parts.tested_at = loaded, now


async def _store(
    parts: Parts, feedback: Feedback, fields: Mapping[str, str], files: tuple[Upload, ...], request_id: str
) -> Stored:
    known = {"id", "category", "consent"}
    if unknown := fields.keys() - known:
        raise ProblemError("malformed", f"a field {min(unknown)!r}; expected id, category, consent and the file image")
    if len(files) > 1:
        raise ProblemError("malformed", f"{len(files)} files; expected the picture of this answer, or none")
    id, category = fields.get("id", ""), fields.get("category", "")
    given = feedback.given(id)
    if given is None:
        raise ProblemError("not-found", "no answer of this id, or one of too long ago; ask for it again")
    names = parts.champion.current.classifier.class_names
    if category not in names:
        raise ProblemError("invalid", f"category {category[:40]!r}; expected one of {', '.join(names)}")
    consents = fields.get("consent", "false") == "true"
    if files and not consents:
        raise ProblemError("invalid", "a picture without consent=true; it was not stored")
    if files and hashlib.sha256(files[0].data).hexdigest() != given.sha256:
        raise ProblemError("invalid", "another picture than the one that was answered; it was not stored")
    try:
        image = await asyncio.to_thread(as_jpeg, files[0].data, max_pixels=parts.limits.pixels) if files else None
        await asyncio.to_thread(feedback.store, id, given, category, image)
    except UnreadableImageError as error:
        raise ProblemError("unreadable", error.reason) from error
    except DiskError as error:
        raise ProblemError("storage", error.received, retry_seconds=30) from error
    parts.metrics.feedback.labels("accepted" if category == given.suggested else "corrected").inc()
    return Stored(request_id=request_id, category=category, image=image is not None)


def _given(loaded: Loaded, found: Found) -> Given:
    category, probability = found.ranked[0]
    return Given(loaded.name, loaded.version, category, probability, hashlib.sha256(found.upload.data).hexdigest())


def _name(loaded: Loaded) -> ModelName:
    return ModelName(name=loaded.name, version=loaded.version)


def _result(found: Found, request_id: str) -> Result:
    if found.problem is not None:
        problem = Problem(**found.problem.body(request_id))
        return Result(id=found.id, file=found.upload.name, problem=problem)
    return Result(
        id=found.id,
        file=found.upload.name,
        category=found.ranked[0][0],
        probability=found.ranked[0][1],
        unsure=found.unsure,
        categories=[Suggestion(category=name, probability=probability) for name, probability in found.ranked],
    )


def _problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """These statuses as OpenAPI has them."""
    return {
        status: {
            "description": "; ".join(dict.fromkeys(one.title for one in KINDS.values() if one.status == status)),
            "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
        }
        for status in statuses
    }
