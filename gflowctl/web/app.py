"""The addresses of the page and what answers them; what pages show is in `pages`, who may see them in `guard`."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections import OrderedDict
from importlib import resources
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

from gflowctl.api import Queue
from gflowctl.web import log_pieces
from gflowctl.web.actions import ACTIONS, Actions
from gflowctl.web.gpu_samples import APART, GpuSamples
from gflowctl.web.guard import Door, Guard
from gflowctl.web.live import Streams
from gflowctl.web.pages import confirmation, frame, gpus, job, queue, reservations, statistics
from gflowd.core.errors import GflowError, Refused, TryAgain

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from starlette.requests import Request

    from gflowctl.view.views import View
    from gflowctl.web.actions import Done
    from gflowctl.web.pages.frame import Page, Query
    from gflowctl.web.reader import Source

    Build = Callable[[View, Query], Page]

LARGEST_FORM = 1 << 18  # bytes
KEPT_ANSWERS = 100
TYPES = {"css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
STATUS = {1: 404, 2: 400, 3: 500, 75: 503}  # of HTTP, by exit status


class Site:
    """All that answers share. Mutable: what was done is kept until it was told."""

    def __init__(self, source: Source, door: Door, queue: Queue) -> None:
        self.source = source
        self.door = door
        self.queue = queue
        self.actions = Actions(queue)
        self.samples = GpuSamples(time.time())
        self.streams = Streams(source)
        self._doing: OrderedDict[tuple[str, str, tuple[str, ...]], asyncio.Task[Done]] = OrderedDict()  # by form
        self._told: OrderedDict[str, list[str]] = OrderedDict()
        self._files = {
            each.name: each.read_bytes() for each in resources.files("gflowctl.web").joinpath("static").iterdir()
        }
        self._templates = Environment(
            loader=PackageLoader("gflowctl.web"), autoescape=True, undefined=StrictUndefined, finalize=_shown,
            trim_blocks=True, lstrip_blocks=True, auto_reload=False,
        )  # fmt: skip
        self._templates.globals |= {"host": source.host, "me": source.first.user}

    def page(self, request: Request, build: Build) -> Response:
        """A page as a whole."""
        query = _query(request)
        try:
            with self.source.look() as view:
                try:
                    made = build(view, query)
                except GflowError as error:
                    return self.failed(error)
                told = self._told.pop(frame.one(query, "told"), [])
                html = self._whole(made, frame.notices(view), told, frame.time_of(view))
        except GflowError as error:
            return self.failed(error, 500)
        headers = {"referrer-policy": "same-origin"} if made.links_back else None
        return HTMLResponse(html, made.status, headers)

    def _whole(self, made: Page, notices: list[str], told: list[str], as_of: str) -> str:
        return self._templates.get_template(f"{made.template}.html").render(
            {
                **made.values, "title": made.title, "tab": made.tab, "notices": notices, "told": told,
                "is_live": bool(made.fragments), "as_of": as_of, "form_token": self.door.derived("form"),
                "once": secrets.token_urlsafe(9),
            }
        )  # fmt: skip

    def fragments(self, build: Build, query: Query, log: job.Following | None) -> tuple[str, dict[str, str]]:
        """The time, and the parts of a page that are kept up to date, by name."""
        try:
            with self.source.look() as view:
                if log is not None:
                    log.look(view)
                made = build(view, query)
                values = {**made.values, "notices": frame.notices(view), "form_token": self.door.derived("form")}
        except GflowError as error:
            return "", {"notices": self._fragment("notices", {"notices": [str(error)]})}
        return frame.time_of(view), {name: self._fragment(name, values) for name in ("notices", *made.fragments)}

    def _fragment(self, name: str, values: dict[str, Any]) -> str:
        return self._templates.get_template(f"fragments/{name}.html").render(values)

    def failed(self, error: GflowError, status: int | None = None) -> Response:
        """A page that says what is wrong, in one sentence."""
        status = STATUS.get(error.status, 500) if status is None else status
        made = frame.Page("trouble", "Trouble", "", {"trouble": str(error)}, status=status)
        return HTMLResponse(self._whole(made, [], [], ""), status)

    def file(self, name: str) -> Response:
        """One of the files beside this module."""
        data = self._files.get(name)
        if data is None:
            return PlainTextResponse("there is no such file\n", 404)
        headers = {"cache-control": "private, max-age=60"}
        return Response(data, media_type=TYPES[name.rpartition(".")[2]], headers=headers)

    def tell(self, lines: list[str]) -> str:
        """Keeps what was done for the next page; by what it is asked for."""
        key = secrets.token_urlsafe(9)
        self._told[key] = lines
        while len(self._told) > KEPT_ANSWERS:
            self._told.popitem(last=False)
        return key

    async def do_once(self, key: str, what: str, labels: list[str]) -> Done:
        """Does it; a form that comes again, as by a double click, gets the answer of the first."""
        form = key, what, tuple(labels)
        task = self._doing.get(form) if key else None
        if task is None:
            task = self._doing[form] = asyncio.create_task(asyncio.to_thread(self.actions.act, what, labels))
            while len(self._doing) > KEPT_ANSWERS:
                self._doing.popitem(last=False)
        try:
            return await asyncio.shield(task)
        except GflowError:  # it may be tried again
            self._doing.pop(form, None)
            raise

    def sample(self) -> None:
        """Keeps what the daemon saw of the GPUs."""
        with contextlib.suppress(GflowError):
            seen = self.source.observed()
            if seen.at is not None and seen.at > time.time() - 6 * APART:
                self.samples.take(seen.at, seen.gpus)


def application(source: Source, door: Door) -> tuple[Starlette, Site]:
    """The ASGI application, and what it shares."""
    first = source.first
    zone = {} if first.timezone_given is None else {"GFLOW_TIMEZONE": first.timezone_given}  # of the days of statistics
    site = Site(
        source, door, Queue(first.state_given, first.config_given, {**first.environ, **zone}, daemon=first.daemon_given)
    )

    def statics(request: Request) -> Response:
        return site.file(request.path_params["name"])

    def pages(request: Request) -> Response:
        return site.page(request, _builder(site, request.path_params.get("path", "")))

    def ask_first(request: Request) -> Response:
        return site.page(request, lambda view, query: confirmation.build(view, query, site.actions))

    def raw(request: Request) -> Response:
        return _raw(site, request)

    def icon(_request: Request) -> Response:
        return RedirectResponse("/static/gflow.svg", 301)

    async def done(request: Request) -> Response:
        return await _done(site, request)

    async def live(request: Request) -> Response:
        return await _live(site, request)

    routes = [
        Route("/static/{name}", statics),
        Route("/favicon.ico", icon),
        Route("/ask", ask_first),
        Route("/do", done, methods=["POST"]),
        Route("/raw/{job}", raw),
        Route("/live/{path:path}", live),
        Route("/{path:path}", pages),
    ]

    @contextlib.asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        sampling = asyncio.create_task(_sampling(site))
        yield
        site.streams.close()
        sampling.cancel()

    app = Starlette(routes=routes, middleware=[Middleware(Guard, door=door)], lifespan=lifespan)
    return app, site


def _builder(site: Site, path: str) -> Build:
    """Who builds the page of an address."""
    if path.startswith("jobs/"):
        return lambda view, query: job.build(view, query, path.removeprefix("jobs/"))
    if path == "gpus":
        return lambda view, query: gpus.build(view, query, site.samples)
    if path == "statistics":
        return lambda view, query: statistics.build(view, query, site.queue)
    plain: dict[str, Build] = {"": queue.build, "reservations": reservations.build}
    return plain.get(path, _nowhere)


def _nowhere(_view: View, _query: Query) -> Page:
    raise Refused("there is no such page")


async def _live(site: Site, request: Request) -> Response:
    if site.streams.are_many:
        return PlainTextResponse("too many pages are open\n", 503)
    path, query = request.path_params["path"], _query(request)
    build, log = _builder(site, path), None
    if path.startswith("jobs/") and "log" in query:
        reached = {"log": [request.headers.get("last-event-id", "")]}
        begin = frame.number(reached if reached["log"][0] else query, "log")
        log = job.Following(path.removeprefix("jobs/"), query, begin)

    def fragments() -> tuple[str, dict[str, str]]:
        return site.fragments(build, query, log)

    return StreamingResponse(site.streams.events(fragments, log), media_type="text/event-stream")


def _raw(site: Site, request: Request) -> Response:
    """The output as it is, as a file to keep: no browser is to guess what it might be."""
    query = _query(request)
    try:
        with site.source.look() as view:
            one, _ = job.find(view, request.path_params["job"])
            found = job.output(view, one, frame.number(query, "attempt"), frame.one(query, "stream"))
            if found is None:
                raise Refused(f"job {one.id} has not started; it has no log")
        pieces = log_pieces.raw(found.path)
        first = next(pieces, b"")
    except GflowError as error:
        return site.failed(error)
    name = f"gflow-{one.id}-{found.attempt}.{'err' if found.stream == 'error' else 'log'}"
    headers = {"content-disposition": f'attachment; filename="{name}"'}

    def whole() -> Any:
        yield first
        yield from pieces

    return StreamingResponse(whole(), media_type="application/octet-stream", headers=headers)


async def _done(site: Site, request: Request) -> Response:
    """Carries out what was asked first, and leads on to a page that tells."""
    body = b""
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > LARGEST_FORM:
                raise ValueError  # noqa: TRY301 -- as for too many fields
        form = parse_qs(body.decode("latin-1"), keep_blank_values=True, max_num_fields=10000)
    except ValueError:
        return PlainTextResponse("this form is too large\n", 413)
    except ClientDisconnect:
        return Response(status_code=400)
    if not site.door.is_form(frame.one(form, "form_token")):
        return PlainTextResponse("refused: this form is not of a page of this gflowctl web; go back and reload\n", 403)
    what, labels = frame.one(form, "do"), form.get("job", [])
    if what not in ACTIONS or not labels:
        return PlainTextResponse("this form asks for nothing\n", 400)
    try:
        done = await site.do_once(frame.one(form, "once"), what, labels)
    except GflowError as error:
        return site.failed(error, 503 if isinstance(error, TryAgain) else 409 if error.status in (1, 2) else 500)
    where = f"/jobs/{done.label}" if done.label is not None else "/"
    return RedirectResponse(f"{where}?told={site.tell(done.lines)}", 303)


def _shown(value: object) -> object:
    """Whatever a template writes, without what could move or turn the text around it; what is HTML by now stays."""
    return log_pieces.printable(value) if type(value) is str else value


async def _sampling(site: Site) -> None:
    while True:
        await asyncio.to_thread(site.sample)
        await asyncio.sleep(APART)


def _query(request: Request) -> Query:
    try:
        return parse_qs(request.url.query, keep_blank_values=True, max_num_fields=1000)
    except ValueError:
        return {}
