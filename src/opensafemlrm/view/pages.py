"""The pages: what each address answers."""

from __future__ import annotations

import asyncio
import datetime
import json
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import (
    FileResponse,
    HTMLResponse,
    PlainTextResponse,
    RedirectResponse,
    Response,
    StreamingResponse,
)
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from opensafemlrm import frame as frames
from opensafemlrm.analysis import MAX_UNSCORED
from opensafemlrm.errors import OptionError, SafeMLRMError
from opensafemlrm.export import csv_of
from opensafemlrm.interop.label_exchange import label_table, validation_table
from opensafemlrm.reading import Reading
from opensafemlrm.report.page.findings import Findings
from opensafemlrm.report.page.html import environment
from opensafemlrm.store import Store
from opensafemlrm.text import for_terminal
from opensafemlrm.view.browse import PAGE, Browser
from opensafemlrm.view.filters import Filters
from opensafemlrm.view.index import Index, Seen
from opensafemlrm.view.labelling import Labelling, Task
from opensafemlrm.view.overview import FirstScreen, first_screen
from opensafemlrm.view.sample import images_of, read_sample
from opensafemlrm.view.scales import GUIDELINE, TITLES

MAX_SHOWN: Final = 20_000
"""Characters of a text on a page; the whole of a longer one has an address of its own."""
_MAX_ANSWERED: Final = 30_000
"""Samples up to which the overview answers in words: more of them take seconds and memory."""
_NEWS_EVERY: Final = 1.0
"""Seconds between two looks for news."""


class Pages:
    """What one person sees of one store, and what they chose to see unmasked."""

    def __init__(self, store: Path) -> None:
        self._path = store
        self._index = Index(store)
        self._revealed = False
        self._noted = False
        self._answers: tuple[Seen, FirstScreen] | None = None
        self._answering = threading.Lock()
        self._labelling = Labelling(store)
        self._templates = environment("opensafemlrm.view")
        self._templates.filters["cut"] = lambda text: text[:MAX_SHOWN]
        self._templates.globals.update(
            max_shown=MAX_SHOWN, max_unscored=MAX_UNSCORED, guideline=GUIDELINE
        )

    def read(self) -> None:
        """Bring the copy of the store up to date, before anybody asks. Raises StoreError."""
        self._index.refresh()

    def close(self) -> None:
        """Let go of the copy of the store."""
        self._index.close()

    def routes(self) -> list[BaseRoute]:
        """Return every address."""
        return [
            Route("/", self._page(self._overview)),
            Route("/browse", self._page(self._browse)),
            Route("/sample/{key}", self._page(self._sample)),
            Route("/compare/{key}", self._page(self._compare)),
            Route("/matrix", self._page(self._matrix)),
            Route("/label", self._page(self._label)),
            Route("/label", self._give_label, methods=["POST"]),
            Route("/export/{name}", self._labels),
            Route("/session", self._set_session, methods=["POST"]),
            Route("/text/{key}/{part}", self._text),
            Route("/image/{sha256}", self._image),
            Route("/news", self._news),
            Mount("/static", StaticFiles(packages=[("opensafemlrm.view", "static")])),
            Route("/favicon.ico", lambda _: Response(status_code=204)),
        ]

    def errors(self) -> Mapping[Any, Any]:
        """Return how errors are shown."""

        def page(request: Request, error: Exception) -> Response:
            status = error.status_code if isinstance(error, HTTPException) else 400
            reason = error.detail if isinstance(error, HTTPException) else str(error)
            return self._fill("error.html", request, {"status": status, "reason": reason}, status)

        return {HTTPException: page, SafeMLRMError: page}

    def _page(self, make: Callable[[Request], Response]) -> Callable[[Request], Response]:
        def page(request: Request) -> Response:
            if not self._noted:
                return self._fill("note.html", request, {"next": str(request.url.path)})
            return make(request)

        return page

    def _fill(
        self, template: str, request: Request, values: Mapping[str, Any], status: int = 200
    ) -> HTMLResponse:
        common = {
            "store": self._path.resolve().name,
            "path": request.url.path,
            "query": request.url.query,
            "revealed": self._revealed,
            "noted": self._noted,
        }
        text = self._templates.get_template(template).render({**common, **values})
        return HTMLResponse(text, status)

    def _overview(self, request: Request) -> Response:
        seen = self._index.refresh()
        with self._index.reading() as connection:
            browser = Browser(connection)
            cells = browser.outcomes()
            total = _total(cells)
            first = self._first_screen(seen) if total["n"] <= _MAX_ANSWERED else None
            pairs = [
                (pair, browser.count(pair.worse), browser.count(pair.better))
                for pair in ([] if first is None else first.comparisons)
            ]
        same = {} if first is None else first.in_common()
        values = {"cells": cells, "total": total, "first": first, "pairs": pairs, "same": same}
        return self._fill("overview.html", request, values)

    def _first_screen(self, seen: Seen) -> FirstScreen:
        """Return the report's first screen, worked out once for each state of the store."""
        with self._answering:
            if self._answers is None or self._answers[0] != seen:
                results = Reading(self._path)
                with results.opened():
                    self._answers = (seen, first_screen(Findings(results)))
            return self._answers[1]

    def _browse(self, request: Request) -> Response:
        filters = Filters.of(request.query_params)
        self._index.refresh()
        share = self._index.words.begin() if filters.q else 1.0
        with self._index.reading() as connection:
            browser = Browser(connection)
            rows = browser.page(filters, _number(request, "after"))
            count, more = browser.count(filters)
            values = {
                "filters": filters,
                "rows": rows,
                "count": count,
                "more": more,
                "choices": browser.choices(filters),
                "judge": browser.judge_of(filters),
                "last": rows[-1]["id"] if len(rows) == PAGE else None,
                "words_done": share,
            }
        return self._fill("browse.html", request, values)

    def _sample(self, request: Request) -> Response:
        key = _key(request)
        filters = Filters.of(request.query_params)
        self._index.refresh()
        with self._index.reading() as connection, Store.open(self._path) as store:
            browser = Browser(connection)
            row, sample = browser.sample(key), read_sample(store, key)
            if row is None or sample is None:
                raise HTTPException(404, "there is no sample with this key in the store")
            before, after = browser.beside(filters, row["id"])
        made = datetime.datetime.fromtimestamp(sample.made_by["created"])
        values = {
            "row": row,
            "sample": sample,
            "key": key.hex().upper(),
            "images": images_of(sample.prompt, sample.item),
            "made_at": made.astimezone().isoformat(" ", "minutes"),
            "made_by": json.dumps(sample.made_by, indent=2, ensure_ascii=False),
            "filters": filters,
            "before": before,
            "after": after,
        }
        return self._fill("sample.html", request, values)

    def _compare(self, request: Request) -> Response:
        filters = Filters.of(request.query_params)
        self._index.refresh()
        with self._index.reading() as connection, Store.open(self._path) as store:
            rows = Browser(connection).of_item(_key(request), filters)
            samples = [
                (row, read_sample(store, row["key"]))
                for row in rows[: _number(request, "most") or 6]
            ]
        if not samples:
            raise HTTPException(404, "no sample of this item passes the filters")
        values = {"filters": filters, "rows": rows, "samples": samples, "key": _key(request).hex()}
        return self._fill("compare.html", request, values)

    def _matrix(self, request: Request) -> Response:
        filters = Filters.of(request.query_params)
        self._index.refresh()
        with self._index.reading() as connection, Store.open(self._path) as store:
            browser = Browser(connection)
            cells = {(c["scenario"], c["model"]): c for c in browser.matrix(filters)}
            values = {
                "filters": filters,
                "cells": cells,
                "models": sorted({model for _, model in cells}),
                "scenarios": sorted({scenario for scenario, _ in cells}),
                "choices": browser.choices(filters),
                "judge": browser.judge_of(filters),
                "pairs": frames.pairs(store).rows(),
            }
        return self._fill("matrix.html", request, values)

    def _label(self, request: Request) -> Response:
        given = request.query_params
        task = Task.of(given)
        if not task.annotator:
            return self._fill("label_start.html", request, {"task": task, "scales": TITLES})
        if given.get("break"):
            return self._fill("label_break.html", request, self._labelling.break_page(task))
        whole = given.get("whole") == "yes"
        page = self._labelling.page(task, _number(request, "at"), given.get("done", ""))
        unit = page["unit"]
        cut = unit is not None and len(unit.text) > MAX_SHOWN and not whole
        sample = page["sample"]
        images = [] if sample is None else images_of(sample.prompt, sample.item)
        return self._fill("label.html", request, {**page, "cut": cut, "images": images})

    async def _give_label(self, request: Request) -> Response:
        form = await _form(request)
        given = form.get("label") not in ("undo", "skip")
        if given and form.get("seen") != "yes":
            raise HTTPException(400, "look at the text before you label it")
        return RedirectResponse(await asyncio.to_thread(self._labelling.give, form), 303)

    def _labels(self, request: Request) -> Response:
        name = request.path_params["name"]
        with Store.open(self._path) as store:
            if name == "labels.csv":
                table = label_table(store)
            elif name == "validation.csv":
                table = validation_table(store, Task.of(request.query_params).part)
            else:
                raise HTTPException(404, "labels are exported as labels.csv or validation.csv")
        sent = {"Content-Disposition": f'attachment; filename="{name}"'}
        return Response(csv_of(table), media_type="text/csv", headers=sent)

    async def _set_session(self, request: Request) -> Response:
        form = await _form(request)
        self._noted = True
        if "reveal" in form:
            self._revealed = form["reveal"] == "yes"
        target = form.get("next", "/")
        # An address of this server alone: "//host" would be another.
        safe = target.startswith("/") and not target.startswith(("//", "/\\"))
        return RedirectResponse(target if safe else "/", 303)

    def _text(self, request: Request) -> Response:
        with Store.open(self._path) as store:
            sample = read_sample(store, _key(request))
        parts = {} if sample is None else dict(sample.texts)
        text = parts.get(request.path_params["part"])
        if text is None or not self._noted:
            raise HTTPException(404, "there is no such text in the store")
        return PlainTextResponse(for_terminal(text, newlines=True))

    def _image(self, request: Request) -> Response:
        sha256 = request.path_params["sha256"]
        with Store.open(self._path) as store:
            row = store.connection.execute(
                "SELECT media_type FROM images WHERE sha256 = ?", (sha256,)
            ).fetchone()
            path = None if row is None else store.image_path(sha256, row[0])
        if row is None or path is None or not path.is_file():
            raise HTTPException(404, "there is no such picture in the store")
        return FileResponse(path, media_type=row[0])

    async def _news(self, request: Request) -> Response:
        async def stream() -> AsyncIterator[str]:
            last: Seen | None = None
            while not await request.is_disconnected():
                seen = await asyncio.to_thread(self._index.refresh)
                if seen != last:
                    last = seen
                    yield f"data: {json.dumps(await asyncio.to_thread(self._progress))}\n\n"
                await asyncio.sleep(_NEWS_EVERY)

        return StreamingResponse(stream(), media_type="text/event-stream")

    def _progress(self) -> dict[str, Any]:
        with self._index.reading() as connection:
            cells = Browser(connection).outcomes()
        return {**_total(cells), "cells": {cell["id"]: _total([cell]) for cell in cells}}


def _total(cells: list[dict[str, Any]]) -> dict[str, int]:
    names = ("n", "ok", "truncated", "blocked", "failed", "unjudged")
    return {name: sum(cell[name] for cell in cells) for name in names}


async def _form(request: Request) -> dict[str, str]:
    """Return what a form sends: the last of each name, as a button comes last."""
    return {name: values[-1] for name, values in parse_qs((await request.body()).decode()).items()}


def _key(request: Request) -> bytes:
    try:
        return bytes.fromhex(request.path_params["key"])
    except ValueError:
        raise HTTPException(404, "the address holds no key of a sample") from None


def _number(request: Request, name: str) -> int:
    text = request.query_params.get(name, "0")
    if not text.isdecimal():
        raise OptionError(f"{name} is a whole number, not {text!r}")
    return int(text)
