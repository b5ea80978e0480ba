"""The application: models by name, the routes that ask them, and the page."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from typing_extensions import TypedDict

from elman._version import __version__
from elman.errors import ElmanError
from elman.serve import page_files, routes_explain, routes_models, routes_openai, routes_streams
from elman.serve.json_route import Route, failed
from elman.serve.middleware import Guard
from elman.serve.service import Desk
from elman.serve.settings import Settings
from elman.serve.stream_store import NotFoundError

__all__ = ["Error", "Health", "create_app"]

SWEEP_SECONDS = 30.0
ELSEWHERE = {
    "/chat": "POST /v1/completions, which goes on with a text",
    "/responses": "POST /v1/completions, which goes on with a text",
    "/completions": "POST /v1/completions",
    "/embeddings": "POST /v1/trace, which answers with hidden states",
    "/engines": "GET /v1/models",
    "/models": "GET /v1/models",
}
"""OpenAI's addresses that do not exist here, with or without /v1, and the route to ask instead."""


class _Fault(TypedDict):
    type: str
    message: str
    code: str | None


class Error(TypedDict):
    """What went wrong, in one line."""

    error: _Fault


class Health(TypedDict):
    """Whether the server answers."""

    status: str


ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"model": Error, "description": "What went wrong, in one line"}
    for status in ("4XX", "5XX")
}


class _WithToken(FastAPI):
    """An application whose description says that all but its health needs the token."""

    def openapi(self) -> dict[str, Any]:
        """Return the description."""
        told = super().openapi()
        told["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        told["security"] = [{"token": []}]
        told["paths"]["/healthz"]["get"]["security"] = []
        return told


def create_app(models: Mapping[str, Any], settings: Settings | None = None) -> Guard:
    """Return the ASGI application that serves predictors (what `elman.load` returns) by name."""
    settings = settings or Settings()
    desk = Desk(models, settings)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async def sweeps() -> None:
            while True:
                await asyncio.sleep(SWEEP_SECONDS)
                desk.sweep()

        sweeping = asyncio.create_task(sweeps())
        yield
        sweeping.cancel()
        desk.close()

    app = (FastAPI if settings.token is None else _WithToken)(
        title="Elman",
        version=__version__,
        description="Recurrent networks that answer, stream and explain.",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        responses=ERRORS,
        separate_input_output_schemas=False,
    )
    app.router.route_class = Route
    app.state.work = desk.work
    app.router.redirect_slashes = False
    routes_streams.add_routes(app, desk)
    routes_models.add_routes(app, desk)
    routes_explain.add_routes(app, desk)
    routes_openai.add_routes(app, desk)
    page_files.add_routes(app)

    @app.get("/healthz", tags=["server"], summary="Whether the server answers")
    async def healthz() -> Health:
        return {"status": "ok"}

    @app.get("/metrics", include_in_schema=False)
    async def metrics() -> Response:
        kind = "text/plain; version=0.0.4; charset=utf-8"
        return Response(desk.metrics.text(), media_type=kind)

    if settings.runs is not None:
        from elman.serve import training_runs

        app.include_router(training_runs.router(settings.runs))

    async def answer(request: Request, error: Exception) -> Response:
        if isinstance(error, HTTPException) and error.detail == "Not Found":
            path = request.url.path
            bare = path.removeprefix("/v1")
            there = next((to for name, to in ELSEWHERE.items() if bare.startswith(name)), None)
            remedy = f"ask {there}" if there else "GET /openapi.json describes those that exist"
            error = NotFoundError("no such address", got=path, remedy=remedy)
        return failed(error)

    for kind in (ElmanError, HTTPException, RequestValidationError, Exception):
        app.add_exception_handler(kind, answer)
    return Guard(app, desk)
