"""What a server sends takes at most 64 MB of memory while it is read, whatever its JSON holds."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import subprocess
import sys
import tracemalloc
from pathlib import Path

import pytest

from opensafemlrm.models.hosted.openai_compatible import OpenAICompatible
from opensafemlrm.models.http.batch_files import BatchReplies, NotALineError
from opensafemlrm.models.http.json_bodies import MAX_VALUES, parse
from opensafemlrm.models.http.replies import Reader, Timing
from opensafemlrm.models.http.transport import MAX_REPLY_BYTES
from opensafemlrm.redactor import Redactor

ROOT = Path(__file__).parents[2]
KEY = "sk-planted-key-7f3a9b2c"
MANY = {
    "empty objects": b"{},",
    "objects in objects": b'{"a":{}},',
    "lists": b"[],",
    "numbers": b"1.5,",
    "texts": b'"",',
    "names": b'{"1":1,"2":2},',
}
LONG = {
    "beyond the basic plane": "\U0001f600a",
    "escaped": "\\u4e00",
    "the key again and again": f"{KEY} ",
    "escapes upon escapes": "%2541",
}


def body(kind: str) -> bytes:
    """A reply as large as may come: of many values, or with one long text."""
    if kind in MANY:
        piece = MANY[kind]
        return b'{"choices":[%b1]}' % (piece * ((MAX_REPLY_BYTES - 20) // len(piece)))
    piece = LONG[kind].encode()
    text = piece * ((MAX_REPLY_BYTES - 100) // len(piece))
    return b'{"choices":[{"message":{"content":"%b"},"finish_reason":"stop"}]}' % text


def read(kind: str) -> None:
    """Print what became of a reply, and by how many bytes the process grew while it was read."""
    sent = body(kind)
    codec = OpenAICompatible("m", base_url="http://127.0.0.1:9/v1").codec
    reader = Reader(codec, Redactor([KEY]), Redactor([KEY]))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    response = reader.reply(sent, 100, Timing())
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    print(json.dumps([response.code or response.status, grown + len(sent)]))  # noqa: T201


@pytest.mark.once
@pytest.mark.skipif(sys.platform != "linux", reason="memory is counted in kB on Linux alone")
@pytest.mark.parametrize("kind", [*MANY, *LONG])
def test_no_reply_takes_more_than_64_mb(kind: str) -> None:
    """16 MB of `{},` became 1.8 GB."""
    command = [sys.executable, "-c", f"from {__name__} import read; read({kind!r})"]
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}/src{os.pathsep}{ROOT}"}
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env=environment, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr
    ended, taken = json.loads(done.stdout)
    assert ended == ("too_large" if kind in MANY else "ok")
    assert taken < 64e6


@pytest.mark.parametrize("piece", MANY.values())
def test_as_many_values_as_any_reply_has_are_read(piece: bytes) -> None:
    some = b'{"choices":[%b1],"text":"%b"}' % (piece * (MAX_VALUES // 16), b",{[:" * MAX_VALUES)
    assert len(parse(some)[0]["choices"]) == MAX_VALUES // 16 + 1


def test_a_line_of_a_batch_with_too_many_values_is_none() -> None:
    replies = BatchReplies({"a"})
    draft = replies.draft()
    draft.write(body("empty objects"))
    with pytest.raises(NotALineError):
        replies.index(0)
    replies.close()


def test_lines_of_a_batch_that_nobody_asked_for_take_no_memory() -> None:
    """A million of them, 27 MB of a file, took 455 MB."""
    with contextlib.closing(BatchReplies({"mine"})) as replies:
        draft = replies.draft()
        draft.writelines(b'{"custom_id":"%d"}\n' % n for n in range(50_000))
        draft.write(b'{"custom_id":"mine"}\n{"custom_id":["mine"]}\n')
        tracemalloc.start()
        replies.index(0)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert replies.keys() == {"mine"}
    assert most < 2**20
