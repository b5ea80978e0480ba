"""ASGI application of the server: the API's routes, the page and the answers to unknown addresses."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from fastapi import APIRouter, Depends, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.security import HTTPBearer
from starlette.exceptions import HTTPException
from typing_extensions import TypedDict

from elman._version import __version__
from elman.errors import ElmanError
from elman.inspect.predictor import Predictor
from elman.serve import page_files, routes_explain, routes_models, routes_openai, routes_streams
from elman.serve.http_errors import NotFoundError
from elman.serve.json_route import ErrorReply, JsonRoute, error_response
from elman.serve.middleware import SecurityMiddleware
from elman.serve.served_models import Served, ServedModels
from elman.serve.settings import Settings
from elman.serve.training_runs import runs_router

router = APIRouter(tags=["server"], route_class=JsonRoute)
OPENAI_ALTERNATIVES = {
    "/chat": "POST /v1/completions, which continues a text",
    "/responses": "POST /v1/completions, which continues a text",
    "/completions": "POST /v1/completions",
    "/embeddings": "POST /v1/trace, which returns hidden states",
    "/engines": "GET /v1/models",
    "/models": "GET /v1/models",
}
"""OpenAI's addresses that do not exist here, with or without /v1, and the route to use instead."""


class HealthReply(TypedDict):
    """Whether the server answers."""

    status: str


@router.get("/healthz")
async def healthz() -> HealthReply:
    """Say that the server answers."""
    return {"status": "ok"}


@router.get("/metrics", include_in_schema=False)
async def metrics(served: Served) -> Response:
    """Return the counters in the text format of Prometheus."""
    media_type = "text/plain; version=0.0.4; charset=utf-8"
    return Response(served.metrics.text(), media_type=media_type)


def create_app(
    models: Mapping[str, Predictor], settings: Settings | None = None, *routers: APIRouter
) -> SecurityMiddleware:
    """Return the ASGI application of a server.

    Args:
        models: Predictors, as `elman.load` returns them, by the names in requests.
        settings: The settings; the defaults if not given.
        *routers: Further routes.
    """
    settings = settings or Settings()
    served = ServedModels(models, settings)

    app = _api(served)
    if settings.runs is not None:
        routers = (*routers, runs_router(settings.runs))
    # The middleware checks the token; these dependencies only describe it in the OpenAPI description.
    bearer = HTTPBearer(scheme_name="token", auto_error=False)
    dependencies = [] if settings.token is None else [Depends(bearer)]
    modules = (routes_streams, routes_models, routes_explain, routes_openai)
    for routes in (*(module.router for module in modules), *routers):
        app.include_router(routes, dependencies=dependencies)
    # The page and /healthz need no token, so they get no dependency.
    page_files.add_routes(app)
    app.include_router(router)
    return SecurityMiddleware(app, served)


def _api(served: ServedModels) -> FastAPI:
    """Return an application that has no routes yet and answers every error in one line."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        sweeper = asyncio.create_task(served.sweep_forever())
        yield
        # The server has answered all accepted requests before it comes here.
        sweeper.cancel()
        served.close()

    app = FastAPI(
        title="Elman",
        version=__version__,
        description="Recurrent networks that answer, stream and explain.",
        lifespan=lifespan,
        # The pages of FastAPI that describe the API load scripts from another site, which our policy forbids.
        docs_url=None,
        redoc_url=None,
        responses={
            status: {"model": ErrorReply, "description": "An error, described in one line"}
            for status in ("4XX", "5XX")
        },
        separate_input_output_schemas=False,
    )
    app.router.route_class = JsonRoute
    # A redirect would send the client to another address, and its body with it.
    app.router.redirect_slashes = False
    app.state.served = served
    for kind in (ElmanError, HTTPException, RequestValidationError, Exception):
        app.add_exception_handler(kind, _answer_error)
    return app


async def _answer_error(request: Request, error: Exception) -> Response:
    if isinstance(error, HTTPException) and error.detail == "Not Found":
        path = request.url.path
        name = path.removeprefix("/v1")
        routes = (route for known, route in OPENAI_ALTERNATIVES.items() if name.startswith(known))
        route = next(routes, None)
        remedy = f"use {route}" if route else "GET /openapi.json lists the existing addresses"
        error = NotFoundError("no such address", got=path, remedy=remedy)
    return error_response(error)
