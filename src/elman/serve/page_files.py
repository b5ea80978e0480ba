"""Files of the page, read into memory at start-up: a requested name is looked up and never becomes a path."""

from __future__ import annotations

import hashlib
from pathlib import Path

from fastapi import FastAPI, Request, Response
from starlette.exceptions import HTTPException

from elman.draw.style import STYLE

FOLDER = Path(__file__).parent / "page"
MEDIA_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
}


def add_routes(app: FastAPI) -> None:
    """Add the page's routes: ``/``, ``/page/FILE``, and the styles of drawings as ``/page/draw.css``."""
    files = {
        path.name: (path.read_bytes(), MEDIA_TYPES[path.suffix])
        for path in FOLDER.iterdir()
        if path.suffix in MEDIA_TYPES
    }
    files["draw.css"] = (STYLE.encode(), MEDIA_TYPES[".css"])
    # The tag changes with the content, so a browser keeps a file exactly as long as it is the same.
    tags = {
        name: f'"{hashlib.sha256(content).hexdigest()[:32]}"'
        for name, (content, _) in files.items()
    }

    @app.get("/page/{name:path}", include_in_schema=False)
    async def file(name: str, request: Request) -> Response:
        if name not in files:
            raise HTTPException(404, "no such file")
        content, media_type = files[name]
        headers = {"ETag": tags[name], "Cache-Control": "no-cache"}
        if request.headers.get("if-none-match") == tags[name]:
            return Response(status_code=304, headers=headers)
        return Response(content, headers=headers, media_type=media_type)

    @app.get("/", include_in_schema=False)
    async def index(request: Request) -> Response:
        return await file("index.html", request)
