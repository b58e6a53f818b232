"""A sink: a folder of Parquet parts that many processes may write at once, here or in a bucket.

::

    SINK/<table>/<part>.parquet     rows of one table of the store, as one process gathered them
    SINK/parts/<part>               written last: a part without it is not there. It holds the
                                    SHA-256 of each of the part's files, and ends with its own
    SINK/images/<ab>/<sha256>.png   images by content

Rows keep their content keys, so a part may hold what another holds already: readers take each key
once (:mod:`opensafemlrm.store.sink_reader` says which). A sink is a local folder, or any address
that fsspec opens, such as ``s3://bucket/folder``.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import re
import time
import uuid
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from opensafemlrm.errors import MissingExtraError, StoreError
from opensafemlrm.files import make_folder, write_atomic
from opensafemlrm.store.database import EXTENSIONS
from opensafemlrm.store.tables import TABLES, Rows, Table
from opensafemlrm.types import Image

DONE: Final = "parts"
"""The folder of the marks that say that a part is whole."""
_SCHEME: Final = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]+):/+")


class _Local:
    """Files of a folder; :class:`_Remote` does the same."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def names(self, folder: str) -> list[str]:
        where = self._root / folder
        return sorted(path.name for path in where.iterdir()) if where.is_dir() else []

    def exists(self, path: str) -> bool:
        return (self._root / path).is_file()

    def size(self, path: str) -> int:
        return (self._root / path).stat().st_size

    def write(self, path: str, data: bytes) -> None:
        target = self._root / path
        make_folder(target.parent)
        write_atomic(target, data)

    def source(self, path: str) -> Path | io.BytesIO:
        return self._root / path


class _Remote:
    """Files of anything that fsspec opens."""

    def __init__(self, address: str) -> None:
        try:
            import fsspec  # noqa: PLC0415 # an extra
        except ImportError as error:
            raise MissingExtraError(f"{address} (fsspec)", "ray") from error
        self._files, root = fsspec.core.url_to_fs(address)
        self._root = root.rstrip("/")

    def names(self, folder: str) -> list[str]:
        where = f"{self._root}/{folder}"
        if not self._files.exists(where):
            return []
        paths = self._files.ls(where, detail=False)
        return sorted(str(path).rstrip("/").rpartition("/")[2] for path in paths)

    def exists(self, path: str) -> bool:
        return bool(self._files.exists(f"{self._root}/{path}"))

    def size(self, path: str) -> int:
        return int(self._files.size(f"{self._root}/{path}"))

    def write(self, path: str, data: bytes) -> None:
        target = f"{self._root}/{path}"
        self._files.makedirs(target.rpartition("/")[0], exist_ok=True)
        self._files.pipe_file(target, data)

    def source(self, path: str) -> Path | io.BytesIO:
        return io.BytesIO(self._files.cat_file(f"{self._root}/{path}"))


class Sink:
    """A sink by its address. Opening one asks for nothing; writing makes the folders."""

    def __init__(self, address: Path | str) -> None:
        text = str(address)
        scheme = _SCHEME.match(text)
        # A path that went through pathlib has lost one of its slashes.
        self.address = f"{scheme[1]}://{text[scheme.end() :]}" if scheme else text
        self._files = _Remote(self.address) if scheme else _Local(Path(text))
        self._marks: dict[str, dict[str, str]] = {}

    @property
    def folder(self) -> Path | None:
        """Its folder, where it is one of this machine's."""
        return None if _SCHEME.match(self.address) else Path(self.address)

    @property
    def exists(self) -> bool:
        """Whether anything was ever written to it."""
        return bool(self.parts())

    def parts(self) -> list[str]:
        """Return the names of the parts that are whole."""
        with self._explained("read"):
            return self._files.names(DONE)

    def require_whole(self, tables: Collection[str] = tuple(TABLES)) -> None:
        """Raise StoreError where a file of ``tables`` is not what was written.

        Parts of earlier versions have no checksums; of those only Parquet's own marks tell.
        """
        with self._explained("read"):
            for part in self.parts():
                if part not in self._marks:
                    self._marks[part] = self._digests(part)
                for name, digest in self._marks[part].items():
                    path = f"{name}/{part}.parquet"
                    if name in tables and self._digest(path) != digest:
                        raise StoreError(
                            f"{self.address}: {path} is not what was written; take this part away "
                            f"(every {part} below it) and run the study again"
                        )

    def wrong_images(self) -> list[str]:
        """Return the images whose bytes are not those that their names say."""
        with self._explained("read"):
            return [
                path
                for folder in self._files.names("images")
                for name in self._files.names(f"images/{folder}")
                if self._digest(path := f"images/{folder}/{name}") != name.partition(".")[0]
            ]

    def _read(self, path: str) -> bytes:
        source = self._files.source(path)
        return source.read_bytes() if isinstance(source, Path) else source.getvalue()

    def _digest(self, path: str) -> str:
        return hashlib.sha256(self._read(path)).hexdigest()

    def _digests(self, part: str) -> dict[str, str]:
        """Return the SHA-256 of each file of a part by its table, as its mark says."""
        data = self._read(f"{DONE}/{part}")
        if not data:
            return {}
        text, _, own = data.rpartition(b"\n")
        if hashlib.sha256(text).hexdigest().encode() != own:
            raise StoreError(f"{self.address}: {DONE}/{part} is not what was written")
        digests: dict[str, str] = json.loads(text)
        return digests

    def tables(self) -> dict[str, list[str]]:
        """Return the names of the whole parts of each table that has any."""
        whole = {f"{part}.parquet" for part in self.parts()}
        with self._explained("read"):
            there = {
                name: [part for part in self._files.names(name) if part in whole] for name in TABLES
            }
        return {name: parts for name, parts in there.items() if parts}

    def sources(self, table: str, parts: Sequence[str]) -> Any:
        """Return what polars reads those parts of ``table`` from."""
        with self._explained("read"):
            return [self._files.source(f"{table}/{part}") for part in parts]

    def size(self, table: str, parts: Sequence[str]) -> int:
        """Return the bytes of those parts of ``table``."""
        with self._explained("read"):
            return sum(self._files.size(f"{table}/{part}") for part in parts)

    def put_image(self, image: Image) -> None:
        """Keep an image by its content, unless it is there."""
        path = _image_path(image.sha256, image.media_type)
        with self._explained("written"):
            if not self._files.exists(path):
                self._files.write(path, image.read())

    def image(self, sha256: str, media_type: str) -> bytes:
        """Return the bytes of a stored image. Raises StoreError where they are not there."""
        path = _image_path(sha256, media_type)
        with self._explained("read"):
            data = self._read(path)
        if hashlib.sha256(data).hexdigest() != sha256:
            raise StoreError(f"{self.address}: {path} is not what was written")
        return data

    def write(self, rows: Rows, run: float) -> str:
        """Write rows by table as one part, whole or not at all; return the part's name.

        ``run`` is when the run began, in seconds since 1970: it orders what runs say of one key.
        """
        import polars as pl  # noqa: PLC0415 # only sinks need it here

        part, digests = uuid.uuid4().hex, {}
        written = time.time()
        with self._explained("written"):
            for name, some in rows.items():
                if not some:
                    continue
                frame = pl.DataFrame(some, schema=TABLES[name].schema(), orient="row", strict=False)
                order = zip(order_columns(TABLES[name]), (run, written, part), strict=True)
                frame = frame.with_columns(pl.lit(value).alias(column) for column, value in order)
                buffer = io.BytesIO()
                frame.write_parquet(buffer)
                self._files.write(f"{name}/{part}.parquet", buffer.getvalue())
                digests[name] = hashlib.sha256(buffer.getvalue()).hexdigest()
            text = json.dumps(digests).encode()
            mark = text + b"\n" + hashlib.sha256(text).hexdigest().encode()
            self._files.write(f"{DONE}/{part}", mark)
        return part

    @contextlib.contextmanager
    def _explained(self, verb: str) -> Iterator[None]:
        """Turn an error of the files in the block into a StoreError that names the sink."""
        try:
            yield
        except OSError as error:
            raise StoreError(f"{self.address}: the sink cannot be {verb}: {error}") from error


def order_columns(table: Table) -> tuple[str, str, str]:
    """Return the columns that a table has in a sink alone: run, written, and the part's name."""
    return "run", "written", "in_part" if "part" in table.columns else "part"


def is_sink(address: Path | str) -> bool:
    """Whether there is a sink at ``address``: an address of fsspec's, or a folder with parts."""
    text = str(address)
    return bool(_SCHEME.match(text)) or (Path(text) / DONE).is_dir()


def _image_path(sha256: str, media_type: str) -> str:
    return f"images/{sha256[:2]}/{sha256}.{EXTENSIONS[media_type]}"
