"""The security middleware refuses every hostile Host, Origin, type, size, path and token, and no other."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import random
from collections.abc import Callable, Iterator, MutableMapping, Sequence
from typing import Any

import pytest

from elman.errors import OptionError
from elman.serve.middleware import SecurityMiddleware
from elman.serve.page_files import FOLDER
from elman.serve.settings import Settings

COUNT = int(os.environ.get("ELMAN_HOSTILE_COUNT", "5000"))

OWN = Settings()

HOSTS = {
    "127.0.0.1:8765": True,
    "localhost:8765": True,
    "LOCALHOST:8765": True,
    "[::1]:8765": True,
    "127.0.0.1": False,
    "localhost": False,
    "127.0.0.1:80": False,
    "localhost:8766": False,
    "evil.example:8765": False,
    "evil.example": False,
    "127.0.0.1.evil.example:8765": False,
    "localhost.:8765": False,
    "localhost.evil.example:8765": False,
    "evil@127.0.0.1:8765": False,
    "127.0.0.1:8765@evil.example": False,
    "127.1:8765": False,
    "2130706433:8765": False,
    "0.0.0.0:8765": False,
    "[::]:8765": False,
    "[::ffff:127.0.0.1]:8765": False,
    "::1:8765": False,
    "localhost:08765": False,
    "localhost:8765 ": False,
    "localhost:8765, evil.example": False,
    "": False,
    "\u0131ocalhost:8765": False,
}
ORIGINS = {
    None: True,
    "own": True,
    "OWN": True,
    "null": False,
    "": False,
    "http://evil.example": False,
    "https://own": False,
    "http://127.0.0.1": False,
    "http://localhost:9": False,
    "file://": False,
    "http://own.evil.example": False,
    "own, http://evil.example": False,
    "own/": False,
}
TYPES = {
    "application/json": True,
    "Application/JSON; charset=utf-8": True,
    "text/plain": False,
    "text/plain; application/json": False,
    "application/x-www-form-urlencoded": False,
    "multipart/form-data; boundary=a": False,
    "application/jsonp": False,
    None: False,
}
BODY = b'{"model":"letters","input":"a"}'


async def request(
    app: SecurityMiddleware,
    method: str,
    path: str,
    headers: list[tuple[bytes, str]],
    chunks: Sequence[bytes] = (),
    more: tuple[Any, ...] = (),
) -> tuple[int, dict[bytes, bytes], bytes]:
    """Ask the application as a server would; return status, headers and body."""
    events: list[dict[str, Any]] = [
        {"type": "http.request", "body": chunk, "more_body": True} for chunk in chunks
    ]
    events.append({"type": "http.request", "body": b"", "more_body": False})
    sent: list[MutableMapping[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return events.pop(0) if events else {"type": "http.disconnect"}

    async def send(event: MutableMapping[str, Any]) -> None:
        sent.append(event)

    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode("utf-8", "surrogateescape"),
        "query_string": b"",
        "root_path": "",
        "headers": [(name, value.encode("latin-1", "replace")) for name, value in headers],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 8765),
        "state": {},
    }
    await app(scope, receive, send)
    body = b"".join(event.get("body", b"") for event in sent[1:])
    return sent[0]["status"], dict(sent[0]["headers"]), body


@pytest.fixture
def send(models: dict[str, Any]) -> Iterator[Callable[..., Any]]:
    """Function that sends a raw request to an application with these settings and returns the answer."""
    from elman.serve.app import create_app

    apps = {}

    def ask(
        *arguments: Any, settings: Settings = OWN, **options: Any
    ) -> tuple[int, dict[bytes, bytes], bytes]:
        if settings not in apps:
            apps[settings] = create_app({"letters": models["letters"]}, settings)
        return asyncio.run(request(apps[settings], *arguments, **options))

    yield ask
    for app in apps.values():
        app.served.close()


CASES = [
    (host, origin, kind)
    for host, origin, kind in itertools.product(HOSTS, ORIGINS, TYPES)
    # all hosts with all origins, and all types with honest hosts and origins
    if kind == "application/json" or (HOSTS[host] and ORIGINS[origin])
]


def test_host_origin_and_type(models: dict[str, Any]) -> None:
    from elman.serve.app import create_app

    app = create_app({"letters": models["letters"]})

    statuses = set()

    async def every() -> None:
        for host, origin, kind in CASES:
            headers = [(b"host", host), (b"content-length", str(len(BODY)))]
            if origin is not None:
                own = f"http://{host}"
                value = origin.replace("OWN", own.upper()).replace("https://own", f"https://{host}")
                headers.append((b"origin", value.replace("http://own", own).replace("own", own)))
            if kind is not None:
                headers.append((b"content-type", kind))
            status, fields, body = await request(app, "POST", "/v1/predict", headers, [BODY])
            expected = 200 if TYPES[kind] else 415
            if not (HOSTS[host] and ORIGINS[origin]):
                expected = 403
            assert status == expected, (host, origin, kind, body)
            statuses.add(status)
            assert b"content-security-policy" in fields
            assert (b"predictions" in body) == (status == 200)

    asyncio.run(every())
    app.served.close()
    assert statuses == {200, 403, 415}


def test_allow_host_adds_names(send: Callable[..., Any]) -> None:
    settings = Settings(allow_hosts=("Elman.example", "other.example:443"))
    for host, origin, expected in (
        ("elman.example:8765", "http://elman.example:8765", 200),
        ("elman.example", "https://elman.example", 200),
        ("other.example:443", "https://other.example:443", 200),
        ("other.example", None, 403),
        ("other.example:8765", None, 403),
        ("elman.example", "https://evil.example", 403),
        ("elman.example:99", None, 403),
    ):
        headers = [(b"host", host), *([(b"origin", origin)] if origin else [])]
        assert send("GET", "/v1/models", headers, settings=settings)[0] == expected


@pytest.mark.parametrize(
    "name", ["", " ", "*", "https://elman.example", "a/b", "elman.example:", "a:b", "[::1", "a b"]
)
def test_allow_host_refuses_invalid_names(name: str) -> None:
    with pytest.raises(OptionError, match=r"--allow-host: got .*expected a name or an address"):
        Settings(allow_hosts=("elman.example", name))


@pytest.mark.parametrize("name", ["elman", "elman.example:80", "10.0.0.7", "::7", "[::7]:80"])
def test_allow_host_accepts_names_and_addresses(send: Callable[..., Any], name: str) -> None:
    settings = Settings(allow_hosts=(name,))
    host = f"[{name}]" if name == "::7" else name
    assert send("GET", "/v1/models", [(b"host", host)], settings=settings)[0] == 200
    assert send("GET", "/v1/models", [], settings=settings)[0] == 403


def test_two_hosts_or_two_origins_are_refused(send: Callable[..., Any]) -> None:
    host = (b"host", "127.0.0.1:8765")
    own = (b"origin", "http://127.0.0.1:8765")
    assert send("GET", "/healthz", [host, host])[0] == 403
    assert send("GET", "/healthz", [host, own, own])[0] == 403
    assert send("GET", "/healthz", [])[0] == 403
    assert send("GET", "/healthz", [host, own])[0] == 200


HEAD = [(b"host", "127.0.0.1:8765"), (b"content-type", "application/json")]


@pytest.mark.parametrize("chunk", [1, 1000, 5000])
def test_a_body_over_the_limit_is_refused_whatever_its_length_says(
    send: Callable[..., Any], chunk: int
) -> None:
    settings = Settings(max_body=4096)
    small, large = b" " * (4096 - len(BODY)) + BODY, b" " * 4096 + BODY

    def cut(body: bytes) -> list[bytes]:
        return [body[at : at + chunk] for at in range(0, len(body), chunk)]

    def ask(body: bytes, length: int | None) -> tuple[int, dict[bytes, bytes], bytes]:
        more = [] if length is None else [(b"content-length", str(length))]
        more += [(b"transfer-encoding", "chunked")] if length is None else []
        return send("POST", "/v1/predict", HEAD + more, cut(body), settings=settings)

    for length in (len(small), None):
        assert ask(small, length)[0] == 200
    # with the true length, without a length, with a false length
    for length in (len(large), None, 10, 2**60):
        assert ask(large, length)[0] == 413


def test_content_encoding_other_than_identity_is_refused(send: Callable[..., Any]) -> None:
    headers = [*HEAD, (b"content-length", "9"), (b"content-encoding", "gzip")]
    assert send("POST", "/v1/predict", headers, [b"\x1f\x8b" + bytes(7)])[0] == 415
    headers = [*HEAD, (b"content-length", str(len(BODY))), (b"content-encoding", "Identity")]
    assert send("POST", "/v1/predict", headers, [BODY])[0] == 200
    assert send("POST", "/v1/predict", [*headers, (b"content-encoding", "gzip")], [BODY])[0] == 415


PAGE = "https://my.example"


@pytest.mark.parametrize("token", [None, "a secret"])
def test_pages_of_a_cors_origin_may_send_requests(
    send: Callable[..., Any], token: str | None
) -> None:
    settings = Settings(cors=(PAGE, "http://localhost:3000"), token=token)
    host = (b"host", "127.0.0.1:8765")
    asks = (b"access-control-request-method", "POST")
    given = [] if token is None else [(b"authorization", f"Bearer {token}")]
    sent = [*HEAD, (b"content-length", str(len(BODY))), *given]
    for origin in settings.cors:
        status, fields, body = send(
            "OPTIONS", "/v1/predict", [host, (b"origin", origin), asks], settings=settings
        )
        assert (status, body) == (204, b"")
        assert fields[b"access-control-allow-origin"] == origin.encode()
        assert fields[b"access-control-allow-methods"] == b"GET, POST, DELETE"
        assert fields[b"access-control-allow-headers"] == b"Authorization, Content-Type"
        assert fields[b"access-control-allow-private-network"] == b"true"
        assert b"access-control-allow-credentials" not in fields
        status, fields, _ = send(
            "POST", "/v1/predict", [*sent, (b"origin", origin)], [BODY], settings=settings
        )
        assert (status, fields[b"access-control-allow-origin"]) == (200, origin.encode())
        assert fields[b"vary"] == b"Origin"
    if token is not None:
        # the page can read the refusal, and so learns that it needs the token
        status, fields, _ = send("GET", "/v1/models", [host, (b"origin", PAGE)], settings=settings)
        assert (status, fields[b"access-control-allow-origin"]) == (401, PAGE.encode())
    for origin in ("https://evil.example", "http://my.example", "null", PAGE + ":8443", PAGE + "."):
        for method in ("OPTIONS", "POST"):
            headers = [*sent, (b"origin", origin), asks]
            status, fields, _ = send(method, "/v1/predict", headers, [BODY], settings=settings)
            assert status == 403
            assert b"access-control-allow-origin" not in fields
    # another host name stays refused: DNS rebinding
    headers = [(b"host", "evil.example:8765"), (b"origin", PAGE)]
    assert send("OPTIONS", "/v1/predict", headers, settings=settings)[0] == 403


def test_without_cors_no_preflight_succeeds(send: Callable[..., Any]) -> None:
    own = [(b"host", "127.0.0.1:8765"), (b"origin", "http://127.0.0.1:8765")]
    status, fields, _ = send("OPTIONS", "/v1/predict", own)
    assert status == 405
    assert not [name for name in fields if name.startswith(b"access-control")]


@pytest.mark.parametrize(
    "origin", ["*", "null", "", "my.example", "https://my.example/", "https://A.example", "ftp://a"]
)
def test_cors_refuses_invalid_origins(origin: str) -> None:
    with pytest.raises(OptionError, match=r"--cors: got .*expected http:// or https://"):
        Settings(cors=(origin,))


def test_head_is_answered_wherever_get_is(send: Callable[..., Any]) -> None:
    host = [(b"host", "127.0.0.1:8765")]
    for path, status in (
        *((path, 200) for path in ("/", "/healthz", "/metrics", "/openapi.json", "/v1/models")),
        *((path, 404) for path in ("/v1/models/none", "/none")),
        ("/v1/predict", 405),
    ):
        assert send("HEAD", path, host)[0] == status == send("GET", path, host)[0], path


@pytest.mark.slow
@pytest.mark.parametrize(
    ("path", "there"),
    [
        ("/v1/chat/completions", "use POST /v1/completions"),
        ("/v1/responses", "use POST /v1/completions"),
        ("/v1/embeddings", "use POST /v1/trace"),
        ("/v1/engines/words/completions", "use GET /v1/models"),
        ("/chat/completions", "use POST /v1/completions"),
        ("/completions", "use POST /v1/completions"),
        ("/embeddings", "use POST /v1/trace"),
        ("/models", "use GET /v1/models"),
        ("/models/words", "use GET /v1/models"),
        ("/v1/nothing", "GET /openapi.json"),
    ],
)
def test_an_unknown_address_names_the_one_to_use(
    send: Callable[..., Any], path: str, there: str
) -> None:
    headers = [*HEAD, (b"content-length", "2")]
    status, _, body = send("POST", path, headers, [b"{}"])
    assert status == 404
    assert there in json.loads(body)["error"]["message"]


def test_a_request_without_body_needs_no_content_type(send: Callable[..., Any]) -> None:
    host = [(b"host", "127.0.0.1:8765"), (b"content-length", "0")]
    assert send("POST", "/v1/streams/none/fork", host)[0] == 404
    plain = [*host, (b"content-type", "text/plain")]
    assert send("POST", "/v1/streams/none/fork", plain)[0] == 415
    assert send("GET", "/v1/models", plain)[0] == 200


def test_every_request_needs_the_token(send: Callable[..., Any]) -> None:
    settings = Settings(token="a secret")
    host = (b"host", "127.0.0.1:8765")
    wrong = [
        "Bearer",
        "Bearer ",
        "Bearer a secre",
        "Bearer a secret!",
        "Basic a secret",
        "a secret",
        "Bearer \u00e9",
    ]
    for path in (
        "/v1/models",
        "/metrics",
        "/openapi.json",
        "/v1/streams",
        "/page",
        "/healthz/",
        "/%70age/x",
    ):
        for given in [None, *wrong]:
            headers = [host] if given is None else [host, (b"authorization", given)]
            status, fields, _ = send("GET", path, headers, settings=settings)
            assert (status, fields[b"www-authenticate"]) == (401, b"Bearer")
    right = [host, (b"authorization", "Bearer a secret")]
    assert send("GET", "/v1/models", right, settings=settings)[0] == 200
    # RFC 9110, 11.1: the scheme's case does not matter
    small = [host, (b"authorization", "bearer a secret")]
    assert send("GET", "/v1/models", small, settings=settings)[0] == 200
    assert send("GET", "/v1/models", [*right, right[1]], settings=settings)[0] == 401
    for path in ("/", "/page/draw.css", "/healthz"):
        assert send("GET", path, [host], settings=settings)[0] == 200


def test_listening_beyond_this_machine_needs_a_token() -> None:
    for host in ("0.0.0.0", "::", "192.168.1.7", "example.org", "", "127.0.0.1.example.org"):
        with pytest.raises(OptionError, match=r"--host: got .*give --token-file FILE"):
            Settings(host=host)
        assert Settings(host=host, token="secret").host == host
    for host in ("127.0.0.1", "localhost", "LOCALHOST", "::1", "[::1]", "127.8.9.1"):
        assert Settings(host=host).token is None
    for host in ("::ffff:127.0.0.1", "[::ffff:127.0.0.1]"):
        assert Settings(host=host).token is None
    for token in ("", " a", "a\n", "\u00e9", "a\x00b"):
        with pytest.raises(OptionError, match="the token"):
            Settings(token=token)
    with pytest.raises(OptionError, match="the state key: got 3 bytes"):
        Settings(state_key=b"abc")


@pytest.mark.slow
def test_no_path_leaves_the_page_folder(models: dict[str, Any]) -> None:
    """The server sends no file but those of the page."""
    from elman.serve.app import create_app

    app = create_app({"letters": models["letters"]})
    known = {path.read_bytes() for path in FOLDER.iterdir() if path.is_file()}
    draw = random.Random(0)
    parts = ["..", ".", "%2e%2e", "..%2f", "..%5c", "..\\", "etc", "passwd", "page", "", "...", "~"]
    parts += [
        "%00",
        "\x00",
        "draw.css",
        "index.html",
        "C:",
        "%252e%252e",
        "\u2025",
        "..;",
        "\udcff",
        "serve",
    ]
    parts += ["settings.py", "app.py", "proc", "self", "environ", "file:", "\uff0e\uff0e", "*", "?"]

    async def every() -> None:
        found = 0
        for _ in range(COUNT):
            separator = draw.choice(["/", "//", "\\", "%2f", "/./"])
            path = "/page/" + separator.join(draw.choices(parts, k=draw.randrange(1, 9)))
            status, _, body = await request(app, "GET", path, HEAD[:1])
            assert status in (200, 404), path
            if status == 200:
                found += 1
                assert body in known or path == "/page/draw.css"
        assert found

    asyncio.run(every())
    app.served.close()
