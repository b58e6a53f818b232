"""What is on its way between machines: images by content, and rows as parts of a sink.

Images come to each machine once. A run reads of its sink which samples are done.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from opensafemlrm.engine.missing import MissingWork
from opensafemlrm.engine.plan import Plan
from opensafemlrm.errors import ImageError
from opensafemlrm.files import make_folder, write_atomic
from opensafemlrm.images import read
from opensafemlrm.store import Store, records
from opensafemlrm.store.merge import load
from opensafemlrm.store.sink import Sink
from opensafemlrm.store.sink_reader import SinkReader
from opensafemlrm.store.tables import RUNS, STUDY_TABLES, TABLES, Rows, Values
from opensafemlrm.types import Image, Item

_MAX_KEPT: Final = 1024
"""Images that are held ready in Ray's object store."""


class ImageTransfer:
    """Puts images into Ray's object store, once each, from where every machine takes them once."""

    def __init__(self, ray: Any, store: Store, sink: Sink | None) -> None:
        self._ray, self._store, self._sink = ray, store, sink
        self._references: OrderedDict[str, Any] = OrderedDict()

    def pack(self, work: MissingWork) -> tuple[MissingWork, dict[str, Any]]:
        """Return ``work`` without images, and references to their bytes by hash."""
        light, images = without_images(work, self._stored_image)
        references = {}
        for sha256, image in images.items():
            # The worker misses an image that is gone, and says so as one process would.
            with contextlib.suppress(ImageError):
                references[sha256] = self._reference(image)
        return light, references

    def _reference(self, image: Image) -> Any:
        reference = self._references.get(image.sha256)
        if reference is None:
            reference = self._references[image.sha256] = self._ray.put(read(image))
            if len(self._references) > _MAX_KEPT:
                self._references.popitem(last=False)
        return reference

    def _stored_image(self, record: Mapping[str, Any]) -> Image:
        image = self._store.image(record)
        if (
            self._sink is not None
            and not self._store.image_path(image.sha256, image.media_type).exists()
        ):
            return Image(**record, source=self._sink.image(image.sha256, image.media_type))
        return image


class ImageCache:
    """The images that workers of one machine were given, in a folder that they share."""

    def __init__(self, folder: Path, store: Store) -> None:
        self._folder, self._store = folder, store
        make_folder(folder)

    def has(self, sha256: str) -> bool:
        """Whether an image is here."""
        return (self._folder / sha256).is_file()

    def put(self, sha256: str, data: bytes) -> None:
        """Keep an image; it is there whole or not at all."""
        write_atomic(self._folder / sha256, data)

    def restored(self, work: MissingWork) -> MissingWork:
        """Return ``work`` with its images; those of stored prompts are put into the store."""
        for _, _, content in work.to_generate:
            if content is not None:
                prompt = records.prompt_from_json(content, self._image)
                for image in prompt.images:
                    self._store.put_image(image)
        return _with_images(
            work, lambda image: dataclasses.replace(image, source=self._folder / image.sha256)
        )

    def _image(self, record: Mapping[str, Any]) -> Image:
        return Image(**record, source=self._folder / str(record["sha256"]))


def without_images(
    work: MissingWork, stored: Callable[[Mapping[str, Any]], Image]
) -> tuple[MissingWork, dict[str, Image]]:
    """Return ``work`` without the bytes of images, and the images that it needs, by hash.

    ``stored`` turns an image's record in a stored prompt into the image.
    """
    images: dict[str, Image] = {}
    for item, *_ in (*work.to_generate, *work.to_judge):
        for image in (*item.images, *item.released.values()):
            images[image.sha256] = image
    for _, _, content in work.to_generate:
        if content is not None:
            prompt = records.prompt_from_json(content, stored)
            images.update((image.sha256, image) for image in prompt.images)
    return _with_images(work, lambda image: dataclasses.replace(image, source=b"")), images


def _with_images(work: MissingWork, change: Callable[[Image], Image]) -> MissingWork:
    def changed(item: Item) -> Item:
        if not item.images and not item.released:
            return item
        return dataclasses.replace(
            item,
            images=tuple(change(image) for image in item.images),
            released={name: change(image) for name, image in item.released.items()},
        )

    return MissingWork(
        [(changed(item), key, content) for item, key, content in work.to_generate],
        [(changed(item), key, reply) for item, key, reply in work.to_judge],
        work.stored,
    )


MAX_ROWS: Final = 20_000
"""Rows that are made a part of, however short they have waited."""
MAX_DELAY: Final = 10.0
"""Seconds after which rows are written, however few they are."""
_MAX_KNOWN: Final = 100_000
"""Images that are known to be in the sink without looking."""


def fill_scratch(sink: Sink, store: Store, judge: bytes) -> None:
    """Bring into ``store`` what a run has to know of a sink: which samples are done."""
    if sink.exists:
        load(SinkReader(sink), store, judged_by=judge)


def write_study(sink: Sink, plan: Plan, store: Store, run: float) -> None:
    """Write what the study is made of as the run's first part; ``store`` is a scratch store."""
    plan.register(store, sink.address)
    tables = (*STUDY_TABLES, RUNS)
    rows = {table.name: store.connection.execute(table.select()).fetchall() for table in tables}
    sink.write(rows, run)


class PartWriter:
    """Gathers the rows of one worker and writes them, with their images, as parts of a sink.

    Belongs to one event loop. ``store`` has the images; ``run`` is when the run began.
    """

    def __init__(self, sink: Sink, store: Store, run: float) -> None:
        self._sink, self._store, self._run = sink, store, run
        self._rows: Rows = {}
        self._since: float | None = None
        self._begun = 0
        self._writing = asyncio.Lock()
        self._known_images: set[str] = set()
        self.written = 0
        """How many parts are whole."""

    async def put(self, rows: Rows) -> int:
        """Add rows, and write a part where they are many or have waited for long.

        Returns the number of the part that they are in: they are safe once more than that many
        parts are ``written``. Raises StoreError.
        """
        await asyncio.to_thread(self._put_images, rows.get("images", ()))
        for table, values in rows.items():
            self._rows.setdefault(table, []).extend(values)
        if self._since is None:
            self._since = time.monotonic()
        part = self._begun
        count = sum(map(len, self._rows.values()))
        if count >= MAX_ROWS or time.monotonic() - self._since > MAX_DELAY:
            await self.flush()
        return part

    async def flush(self) -> int:
        """Write what is gathered; return how many parts are whole. Raises StoreError."""
        async with self._writing:
            rows, self._rows, self._since = self._rows, {}, None
            self._begun += 1
            if rows:
                await asyncio.to_thread(self._sink.write, rows, self._run)
            self.written += 1
            return self.written

    def _put_images(self, rows: Sequence[Values]) -> None:
        for values in rows:
            record = dict(zip(TABLES["images"].columns, values, strict=True))
            sha256 = record["sha256"]
            if sha256 not in self._known_images:
                self._sink.put_image(self._store.image(record))
                if len(self._known_images) >= _MAX_KNOWN:
                    self._known_images.clear()
                self._known_images.add(sha256)
