"""A worker: brings batches of a study up to date by the engine's own code.

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
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from opensafemlrm.cluster.batches import with_quotas
from opensafemlrm.cluster.transfer import ImageCache, PartWriter
from opensafemlrm.engine.evaluate import process_sample
from opensafemlrm.engine.judge import RowWriter, SampleJudge
from opensafemlrm.engine.missing import MissingWork
from opensafemlrm.engine.plan import Plan
from opensafemlrm.engine.prepare import Sample, prepare
from opensafemlrm.engine.prompt_images import PromptImages
from opensafemlrm.engine.run import first_error
from opensafemlrm.engine.score_watch import ScoreWatch
from opensafemlrm.engine.stops import Stops
from opensafemlrm.engine.tally import Tally
from opensafemlrm.errors import ClusterError, SafeMLRMError
from opensafemlrm.files import make_folder
from opensafemlrm.redaction import without_secrets
from opensafemlrm.store import Store
from opensafemlrm.store.database import rows_with_keys
from opensafemlrm.store.sink import Sink
from opensafemlrm.store.tables import TABLES, Row, Rows
from opensafemlrm.store.writer import Writer
from opensafemlrm.study import Study
from opensafemlrm.subset import Subset


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
    cells: tuple[str, ...] = ()
    """The ids of the plan's cells; all of the study's if empty."""
    turn: int = 0
    """Which of the study's judges gives verdicts."""


@dataclass(frozen=True, slots=True)
class BatchResult:
    """What became of a batch."""

    worker: str
    """The worker's name; one that is started again has another."""
    rows: Rows
    """What is to be stored; empty where it goes to the sink."""
    tally: Tally
    part: int | None = None
    """The part that the rows will be in, where they go to the sink."""
    written: int = 0
    """How many parts of this worker are whole."""
    error: str | None = None
    """What ended the run here, if anything did."""
    model_stopped: str | None = None
    """Why the batch's model cannot be used."""
    judge_stopped: tuple[str, str] | None = None
    """Which judge is of no use, and why."""
    watch: ScoreWatch | None = None
    """What the judge has given here so far."""
    log: list[str] = field(default_factory=list)


class Worker:
    """Brings batches of a study up to date. Belongs to one event loop."""

    def __init__(self, setup: Setup) -> None:
        """Raise SafeMLRMError where the study cannot be used on this machine."""
        self.name = uuid.uuid4().hex
        self.version = version("opensafemlrm")
        self._setup = setup
        self._log = _Log()
        if setup.directory.is_dir():
            os.chdir(setup.directory)
        study = with_quotas(_unpickled(setup.study), setup.number, setup.workers)
        # The items come with the batches: nothing is counted here.
        subsets = [Subset(dataset, {}, 0, setup.skip_invalid) for dataset in study.datasets]
        plan = Plan.over(study, subsets).turns()[setup.turn]
        self._plan = plan = plan.only(setup.cells) if setup.cells else plan
        make_folder(setup.folder)
        self._own = setup.folder / f"worker-{self.name}"
        self._store = Store.open(self._own, "create")
        self._images = ImageCache(setup.folder / "images", self._store)
        self._prompt_images = PromptImages(self._store)
        self._verdicts = Writer(self._store.connection)
        self._judge = SampleJudge(
            plan.judge, plan.judge_key, self._store, self._verdicts, cells=plan.cells
        )
        self._preparing = asyncio.Lock()
        self._open: dict[asyncio.Task[Any], _BatchRows] = {}
        self._stopped = False
        self._parts: PartWriter | None = None
        if setup.sink is not None:
            self._parts = PartWriter(Sink(setup.sink), self._store, setup.run)

    def lacks(self, hashes: Sequence[str]) -> list[str]:
        """Return those images that no worker of this machine was given yet."""
        return [sha256 for sha256 in hashes if not self._images.has(sha256)]

    def accept(self, sha256: str, data: bytes) -> None:
        """Take an image for the batches to come."""
        self._images.put(sha256, data)

    async def run(self, cell_number: int, work: MissingWork) -> BatchResult:
        """Bring a batch of the plan's cell ``cell_number`` up to date.

        What came before an error is in the result beside the error.
        """
        cell = dataclasses.replace(self._plan.cells[cell_number], tally=Tally())
        writer = _BatchRows(self._verdicts)
        task = asyncio.current_task()
        if task is None or self._stopped:
            return self._result({}, Tally())
        self._open[task] = writer
        error, stops = None, Stops()
        try:
            async with self._preparing:
                work = self._images.restored(work)
                samples = await asyncio.to_thread(prepare, cell, self._prompt_images, work)
            async with asyncio.TaskGroup() as group:
                for sample in samples:
                    group.create_task(self._process(sample, writer, stops))
        except SafeMLRMError as raised:
            error = without_secrets(str(raised))
        except BaseExceptionGroup as group_error:
            first = first_error(group_error)
            if not isinstance(first, SafeMLRMError):
                raise first from group_error
            error = without_secrets(str(first))
        finally:
            self._open.pop(task, None)
        rows = self._with_verdicts(writer.rows)
        part = None
        if self._parts is not None:
            part, rows = await self._parts.put(rows), {}
        why = stops.models.get(cell.model.label)
        return dataclasses.replace(
            self._result(rows, cell.tally, part=part, error=error),
            model_stopped=None if why is None else without_secrets(str(why)),
            judge_stopped=None if stops.judge is None else (stops.judge.label, stops.judge.reason),
            watch=self._judge.watch,
        )

    async def _process(self, sample: Sample, writer: RowWriter, stops: Stops) -> None:
        """Bring a sample up to date; what is under way beside it goes on where it cannot be."""
        try:
            await process_sample(sample, self._prompt_images, self._judge, writer)
        except SafeMLRMError as error:
            stops.note(error, sample.cell.model.label)

    def images(self, hashes: Sequence[tuple[str, str]]) -> list[bytes]:
        """Return the bytes of images, by hash and media type, that prompts made here hold.

        Nothing for one that is not here: the worker that had it is gone.
        """
        paths = [self._store.image_path(sha256, media_type) for sha256, media_type in hashes]
        return [path.read_bytes() if path.exists() else b"" for path in paths]

    async def flush(self) -> int:
        """Write what is gathered to the sink; return how many parts are whole."""
        return 0 if self._parts is None else await self._parts.flush()

    async def release(self, cell_number: int) -> None:
        """Free the memory of a cell's model."""
        await self._plan.cells[cell_number].model.aclose()

    async def stop(self) -> BatchResult:
        """End the batches under way and return what came of them, so that nothing is lost."""
        self._stopped = True
        writers = list(self._open.values())
        tasks = list(self._open)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=5)
        rows: Rows = {}
        for writer in writers:
            for table, values in self._with_verdicts(writer.rows).items():
                rows.setdefault(table, []).extend(values)
        if self._parts is not None:
            await self._parts.put(rows)
            await self._parts.flush()
            rows = {}
        return self._result(rows, Tally())

    async def aclose(self) -> None:
        """Close models and judge, and remove what was only for this run."""
        await self._plan.aclose()
        self._verdicts.flush()
        self._store.close()
        self._log.close()
        shutil.rmtree(self._own, ignore_errors=True)
        if not any(self._setup.folder.glob("worker-*")):
            shutil.rmtree(self._setup.folder, ignore_errors=True)

    def _result(
        self, rows: Rows, tally: Tally, *, part: int | None = None, error: str | None = None
    ) -> BatchResult:
        written = 0 if self._parts is None else self._parts.written
        return BatchResult(self.name, rows, tally, part, written, error, log=self._log.take())

    def _with_verdicts(self, rows: Rows) -> Rows:
        """Add the verdicts that the rows name and another batch asked for: rows stand alone."""
        named = {key for row in rows.get("judgements", ()) for key in row[2:] if key is not None}
        named -= {row[0] for row in rows.get("verdicts", ())}
        if named:
            self._verdicts.flush()
            query = f"{TABLES['verdicts'].select()} WHERE key IN (KEYS)"
            rows.setdefault("verdicts", []).extend(
                rows_with_keys(self._store.connection, query, list(named))
            )
        return rows


class _BatchRows:
    """The rows of one batch; verdicts go to the scratch store too, for other batches."""

    def __init__(self, verdicts: Writer) -> None:
        self.rows: Rows = {}
        self._verdicts = verdicts

    def put(self, row: Row) -> None:
        table, values = row
        self.rows.setdefault(table, []).append(values)
        if table == "verdicts":
            self._verdicts.put(row)

    async def saved(self) -> None:
        """Nothing to wait for: the driver or the sink saves the batch when it is done."""


class _Log(logging.Handler):
    """Keeps what a worker's libraries say until the driver fetches it."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self._lines: deque[str] = deque(maxlen=1000)
        self.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        logging.getLogger().addHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a line."""
        self._lines.append(without_secrets(self.format(record)))

    def take(self) -> list[str]:
        """Return the lines since the last time."""
        lines = list(self._lines)
        self._lines.clear()
        return lines

    def close(self) -> None:
        """Keep no more."""
        logging.getLogger().removeHandler(self)
        super().close()


def _unpickled(data: bytes) -> Study:
    try:
        study: Study = pickle.loads(data)  # noqa: S301 # from the driver, as all that a worker gets
    except (ImportError, AttributeError) as error:
        raise ClusterError(f"the study needs code that this machine lacks: {error}") from error
    return study
