"""The web service as an application: what it is made of, its routes, and how exceptions become problems."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, Response
from starlette.exceptions import HTTPException
from starlette.routing import Route
from starlette.types import ASGIApp

import fashion_tuning
from fashion_tuning.quiet import silent_stderr
from fashion_tuning.service.answering import Answering
from fashion_tuning.service.champion import Champion
from fashion_tuning.service.feedback import Feedback
from fashion_tuning.service.limits import Limits
from fashion_tuning.service.metrics import Metrics
from fashion_tuning.service.pages import Page, docs_page, upload_page
from fashion_tuning.service.problems import ProblemError, respond
from fashion_tuning.service.routes import Parts, add_routes
from fashion_tuning.service.shield import Shield
from fashion_tuning.service.sources import Source


def make_app(
    source: Source,
    *,
    limits: Limits,
    token: str | None,
    feedback_file: Path | None,
    poll_seconds: float,
    tell: Callable[[Champion], None] = lambda _: None,
) -> ASGIApp:
    """Loads the model and puts the service around it.

    Args:
      feedback_file: Where choices are stored; None: nowhere.
      poll_seconds: How often to look for a newer model; 0: only when asked to.
      tell: Given the model when it has passed its self-test.

    Raises:
      FashionTuningError: The model can't be had or fails its self-test, or the feedback file can't be used.
    """
    metrics = Metrics()
    with silent_stderr():  # Keras, TensorFlow and exporters talk
        champion = Champion(source, tell=lambda outcome: metrics.reloads.labels(outcome).inc())
    feedback = Feedback(feedback_file) if feedback_file else None
    # Not the loop's own threads: their end is waited for, and loading a model may take longer than an end may.
    loader = ThreadPoolExecutor(1, thread_name_prefix="loader")
    parts = Parts(champion, Answering(limits, metrics), metrics, limits, feedback, loader, may_reload=token is not None)
    tell(champion)

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        polling = asyncio.create_task(_poll(champion, loader, poll_seconds)) if poll_seconds else None
        yield
        parts.stopping = True
        if polling is not None:
            polling.cancel()
        loader.shutdown(wait=False, cancel_futures=True)
        parts.answering.close()
        if feedback is not None:
            feedback.close()

    app = FastAPI(
        title="fashion-tuning",
        version=fashion_tuning.__version__,
        description="Suggests the category of a garment from its photo.",
        docs_url=None,  # FastAPI's own loads scripts from elsewhere
        redoc_url=None,
        lifespan=lifespan,
    )
    add_routes(app, parts)
    _add_pages(app)
    _answer_head(app)
    _add_problems(app, metrics)
    return Shield(app, limits=limits, metrics=metrics, token=token)


async def _poll(champion: Champion, loader: ThreadPoolExecutor, seconds: float) -> None:
    while True:
        await asyncio.sleep(seconds)
        await asyncio.get_running_loop().run_in_executor(loader, champion.look)


def _add_pages(app: FastAPI) -> None:
    page, docs = upload_page(), docs_page(app.openapi())

    def shown(page: Page) -> HTMLResponse:
        return HTMLResponse(page.html, headers={"content-security-policy": page.policy})

    @app.get("/", include_in_schema=False)
    async def home() -> HTMLResponse:
        return shown(page)

    @app.get("/docs", include_in_schema=False)
    async def documentation() -> HTMLResponse:
        return shown(docs)


def _answer_head(app: FastAPI) -> None:
    """HEAD wherever there is GET, as RFC 9110 wants it; the description lists GET alone."""
    description = app.openapi()
    app.openapi = lambda: description  # type: ignore[method-assign]
    for route in app.routes:
        if isinstance(route, Route) and route.methods and "GET" in route.methods:
            route.methods.add("HEAD")  # uvicorn sends the headers alone


def _add_problems(app: FastAPI, metrics: Metrics) -> None:
    @app.exception_handler(ProblemError)
    async def problem(request: Request, error: ProblemError) -> Response:
        metrics.errors.labels(error.kind).inc()
        return respond(error, request.state.request_id)

    @app.exception_handler(HTTPException)
    async def http_problem(request: Request, error: HTTPException) -> Response:
        kind = "method" if error.status_code == 405 else "not-found"
        detail = f"{request.method} {request.url.path}; /docs says what there is"
        answer = await problem(request, ProblemError(kind, detail))
        answer.headers.update(error.headers or {})  # Allow, where the method is another
        return answer

    @app.exception_handler(Exception)
    async def bug(request: Request, error: Exception) -> Response:  # noqa: ARG001 - it is raised again, and logged then
        return await problem(request, ProblemError("internal", "this is a bug; the server's log has it by this id"))
