"""A worker: brings pieces of a study up to date by the engine's own code.

It has a scratch store of its own, for images and for the verdicts it gave; what the study is to
keep goes back to the driver as rows, or into Parquet parts of the study's sink.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import os
import pickle
import shutil
import uuid
from collections import deque
from collections.abc import Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from opensafemlrm.cluster import quotas as shares
from opensafemlrm.cluster.image_transfer import ImageCache
from opensafemlrm.engine.evaluate import process_sample
from opensafemlrm.engine.judge import SampleJudge
from opensafemlrm.engine.missing import MissingWork
from opensafemlrm.engine.plan import Plan
from opensafemlrm.engine.prepare import prepare
from opensafemlrm.engine.prompt_images import PromptImages
from opensafemlrm.engine.run import first_error
from opensafemlrm.engine.tally import Tally
from opensafemlrm.errors import ClusterError, SafeMLRMError
from opensafemlrm.store import Store, Writer
from opensafemlrm.store.database import rows_with_keys
from opensafemlrm.store.sink import PartWriter, Sink
from opensafemlrm.store.tables import TABLES, Row, Rows, Values
from opensafemlrm.study import Study
from opensafemlrm.subset import Subset

MAX_DELAY: Final = 10.0
"""Seconds after which rows are written to the sink, however few they are."""
_MAX_KNOWN: Final = 100_000
"""Images that are known to be in the sink without looking."""


class WorkerLostError(Exception):
    """A worker, or the machine it ran on, is gone."""


@dataclass(frozen=True, slots=True)
class Setup:
    """What a worker is made from; it travels to another machine."""

    study: bytes
    """The study, pickled."""
    number: int
    workers: int
    folder: Path
    """A folder of the machine, which the workers on it share and the last one removes."""
    directory: Path
    """What relative paths in the study start from, if it is there."""
    run: float
    """When the run began, in seconds since 1970."""
    skip_invalid: bool = False
    sink: str | None = None


@dataclass(frozen=True, slots=True)
class Done:
    """What became of a piece."""

    worker: str
    """Which worker it was; one that is started again is another one."""
    rows: Rows
    """What is to be stored; empty where it goes to the sink."""
    tally: Tally
    part: int | None = None
    """The part that the rows will be in, where they go to the sink."""
    written: int = 0
    """How many parts of this worker are whole."""
    error: str | None = None
    """What ended the run here, if anything did."""
    log: list[str] = field(default_factory=list)


class Worker:
    """Does pieces of a study. Belongs to one event loop."""

    def __init__(self, setup: Setup) -> None:
        """Raise SafeMLRMError where the study cannot be read on this machine."""
        self.name = uuid.uuid4().hex
        self._setup = setup
        self._log = _Log()
        if setup.directory.is_dir():
            os.chdir(setup.directory)
        study = shares.split(_unpickled(setup.study), setup.number, setup.workers)
        # The items come with the pieces: nothing is counted here.
        subsets = [Subset(dataset, {}, 0, setup.skip_invalid) for dataset in study.datasets]
        self._plan = plan = Plan.over(study, subsets)
        self._own = setup.folder / f"worker-{self.name}"
        self._store = Store.open(self._own, "create")
        self._given = ImageCache(setup.folder / "given", self._store)
        self._pictures = PromptImages(self._store)
        self._writer = _Relay(self._store)
        self._judging = SampleJudge(study.judge, plan.judge_key, self._store, self._writer)
        self._preparing = asyncio.Lock()
        self._flushing = asyncio.Lock()
        self._open: dict[asyncio.Task[Any], Rows] = {}
        self._stopped = False
        self._sink = None if setup.sink is None else Sink(setup.sink)
        self._parts = None if self._sink is None else PartWriter(self._sink, setup.run)
        self._in_sink: set[str] = set()

    @property
    def versions(self) -> str:
        """What has to be the same on all machines."""
        return version("opensafemlrm")

    def lacks(self, hashes: Sequence[str]) -> list[str]:
        """Return those images that no worker of this machine was given yet."""
        return [sha256 for sha256 in hashes if not self._given.has(sha256)]

    def accept(self, sha256: str, data: bytes) -> None:
        """Take an image for the pieces to come."""
        self._given.put(sha256, data)

    async def do(self, number: int, wanted: MissingWork) -> Done:
        """Bring ``wanted`` of the cell ``number`` up to date.

        What came before an error is in the result beside the error.
        """
        cell = dataclasses.replace(self._plan.cells[number], tally=Tally())
        gathered: Rows = {}
        task = asyncio.current_task()
        if task is None or self._stopped:
            return self._done({}, Tally())
        self._open[task] = gathered
        _gathering.set(gathered)
        error = None
        try:
            async with self._preparing:
                arrived = self._given.arrived(wanted)
                jobs = await asyncio.to_thread(prepare, cell, self._pictures, arrived)
            async with asyncio.TaskGroup() as group:
                for job in jobs:
                    group.create_task(
                        process_sample(job, self._pictures, self._judging, self._writer)
                    )
        except SafeMLRMError as one:
            error = str(one)
        except BaseExceptionGroup as errors:
            first = first_error(errors)
            if not isinstance(first, SafeMLRMError):
                raise first from errors
            error = str(first)
        finally:
            self._open.pop(task, None)
        rows = self._complete(gathered)
        if self._parts is None:
            return self._done(rows, cell.tally, error=error)
        part = await self._keep(self._parts, rows)
        return self._done({}, cell.tally, part=part, error=error)

    def images(self, hashes: Sequence[tuple[str, str]]) -> list[bytes]:
        """Return the bytes of images, by hash and media type, that prompts made here hold.

        Nothing for one that is not here: the worker that had it is gone.
        """
        paths = [self._store.image_path(*one) for one in hashes]
        return [path.read_bytes() if path.exists() else b"" for path in paths]

    async def flush(self) -> int:
        """Write what is gathered to the sink; return how many parts are whole."""
        if self._parts is None:
            return 0
        async with self._flushing:
            await self._parts.flush()
        return self._parts.written

    async def release(self, number: int) -> None:
        """Free the memory of the model of the cell ``number``."""
        await self._plan.cells[number].model.aclose()

    async def stop(self) -> Done:
        """End the pieces under way and return what came of them, so that nothing is lost."""
        self._stopped = True
        tasks, rows = list(self._open), [*self._open.values()]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=5)
        together: Rows = {}
        for gathered in rows:
            for table, many in self._complete(gathered).items():
                together.setdefault(table, []).extend(many)
        if self._parts is not None:
            await self._keep(self._parts, together)
            await self.flush()
            together = {}
        return self._done(together, Tally())

    async def aclose(self) -> None:
        """Close models and judge, and remove what was only for this run."""
        await self._plan.aclose()
        self._writer.flush()
        self._store.close()
        self._log.close()
        shutil.rmtree(self._own, ignore_errors=True)
        if not any(self._setup.folder.glob("worker-*")):
            shutil.rmtree(self._setup.folder, ignore_errors=True)

    def _done(
        self, rows: Rows, tally: Tally, *, part: int | None = None, error: str | None = None
    ) -> Done:
        written = 0 if self._parts is None else self._parts.written
        return Done(self.name, rows, tally, part, written, error, self._log.take())

    def _complete(self, rows: Rows) -> Rows:
        """Add the verdicts that the rows name and another piece asked for: rows stand alone."""
        named = {key for row in rows.get("judgements", ()) for key in row[2:] if key is not None}
        named -= {row[0] for row in rows.get("verdicts", ())}
        if named:
            self._writer.flush()
            rows.setdefault("verdicts", []).extend(
                rows_with_keys(
                    self._store.connection,
                    f"{TABLES['verdicts'].select()} WHERE key IN (KEYS)",
                    list(named),
                )
            )
        return rows

    async def _keep(self, parts: PartWriter, rows: Rows) -> int:
        await asyncio.to_thread(self._put_images, rows.get("images", ()))
        part = parts.put(rows)
        if parts.is_full or parts.age > MAX_DELAY:
            await self.flush()
        return part

    def _put_images(self, rows: Sequence[Values]) -> None:
        if self._sink is None:
            return
        for values in rows:
            record = dict(zip(TABLES["images"].columns, values, strict=True))
            if record["sha256"] not in self._in_sink:
                self._sink.put_image(self._store.image(record))
                if len(self._in_sink) >= _MAX_KNOWN:
                    self._in_sink.clear()
                self._in_sink.add(record["sha256"])


def _unpickled(data: bytes) -> Study:
    try:
        study: Study = pickle.loads(data)  # noqa: S301 # the driver's, as all that a worker is told
    except (ImportError, AttributeError) as error:
        raise ClusterError(f"the study needs code that this machine lacks: {error}") from error
    return study


_gathering: ContextVar[Rows] = ContextVar("_gathering")
"""Where the rows of the piece go that the running task belongs to."""


class _Relay(Writer):
    """Gathers rows by piece; verdicts are kept in the scratch store too, for other pieces."""

    def __init__(self, store: Store) -> None:
        super().__init__(store.connection)

    def put(self, row: Row) -> None:
        """Add a row to the piece that the running task belongs to."""
        table, values = row
        _gathering.get().setdefault(table, []).append(values)
        if table == "verdicts":
            super().put(row)


class _Log(logging.Handler):
    """Keeps what a worker's libraries say until the driver fetches it."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self._lines: deque[str] = deque(maxlen=1000)
        self.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        logging.getLogger().addHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a line."""
        self._lines.append(self.format(record))

    def take(self) -> list[str]:
        """Return the lines since the last time."""
        lines = list(self._lines)
        self._lines.clear()
        return lines

    def close(self) -> None:
        """Keep no more."""
        logging.getLogger().removeHandler(self)
        super().close()
