"""Writing the files of small releases: pictures, JSON, CSV, Parquet."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import polars as pl
from PIL import Image as PILImage

Options = dict[str, Any]


def png(colour: str = "red", size: tuple[int, int] = (6, 4)) -> bytes:
    buffer = BytesIO()
    PILImage.new("RGB", size, colour).save(buffer, "PNG")
    return buffer.getvalue()


def put(path: Path, content: bytes | str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def put_json(path: Path, value: Any) -> Path:
    return put(path, json.dumps(value))


def put_csv(path: Path, rows: Sequence[dict[str, Any]], mark: str = ",") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), delimiter=mark)
        writer.writeheader()
        writer.writerows(rows)
    return path


def put_parquet(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pl.DataFrame(rows).write_parquet(path)
    return path


def cell(colour: str) -> dict[str, Any]:
    """An image as the hub's Parquet files hold it."""
    return {"bytes": png(colour), "path": f"{colour}.png"}
