"""A server on this machine that answers as the Hugging Face hub does, for one data set."""

from __future__ import annotations

import contextlib
import hashlib
import json
import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler
from typing import Any, ClassVar
from urllib.parse import unquote, urlsplit

from tests.loopback import LoopbackServer

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class FakeHub(BaseHTTPRequestHandler):
    """Holds ``files``; ``cut`` ends the first answer of a file after so many bytes."""

    repo: ClassVar[str]
    files: ClassVar[Mapping[str, bytes]]
    gated: ClassVar[bool]
    cut: ClassVar[dict[str, int]]
    asked: ClassVar[list[str]]

    def log_message(self, *_: Any) -> None:
        """Print nothing."""

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, *, body: bool) -> None:
        path = unquote(urlsplit(self.path).path)
        self.asked.append(f"{self.command} {path} {self.headers.get('Range', '')}".strip())
        if path.startswith(f"/api/datasets/{self.repo}"):
            rest = path.removeprefix(f"/api/datasets/{self.repo}").strip("/")
            self._send_json(self._tree() if rest.startswith("tree/") else self._info(), body)
        elif path.startswith(f"/datasets/{self.repo}/resolve/{COMMIT}/"):
            self._send_file(path.removeprefix(f"/datasets/{self.repo}/resolve/{COMMIT}/"), body)
        else:
            self._send(404, b"", {"X-Error-Code": "RepoNotFound"}, body)

    def _info(self) -> dict[str, Any]:
        return {
            "id": self.repo,
            "sha": COMMIT,
            "gated": "auto" if self.gated else False,
            "private": False,
            "downloads": 0,
            "likes": 0,
            "tags": [],
            "cardData": {"license": "cc-by-nc-4.0"},
            "siblings": [
                {"rfilename": name, "size": len(data), "blobId": _etag(data)}
                for name, data in self.files.items()
            ],
        }

    def _tree(self) -> list[dict[str, Any]]:
        return [
            {"type": "file", "path": name, "size": len(data), "oid": _etag(data)}
            for name, data in self.files.items()
        ]

    def _send_json(self, value: Any, body: bool) -> None:
        self._send(200, json.dumps(value).encode(), {"Content-Type": "application/json"}, body)

    def _send_file(self, name: str, body: bool) -> None:
        data = self.files.get(name)
        if self.gated:
            self._send(403, b"", {"X-Error-Code": "GatedRepo", "X-Error-Message": "gated"}, body)
            return
        if data is None:
            self._send(404, b"", {"X-Error-Code": "EntryNotFound"}, body)
            return
        headers = {"ETag": f'"{_etag(data)}"', "X-Repo-Commit": COMMIT, "Accept-Ranges": "bytes"}
        begin = self.headers.get("Range", "bytes=0-").removeprefix("bytes=").partition("-")[0]
        start = int(begin)
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
        self._send(
            206 if start else 200,
            data[start:],
            headers,
            body,
            cut=self.cut.pop(name, None) if body else None,
        )

    def _send(
        self,
        status: int,
        data: bytes,
        headers: Mapping[str, str],
        body: bool,
        cut: int | None = None,
    ) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if body:
            self.wfile.write(data[:cut])
        if cut is not None:
            self.close_connection = True


def _etag(data: bytes) -> str:
    return hashlib.sha1(data, usedforsecurity=False).hexdigest()


@contextlib.contextmanager
def serving(
    repo: str,
    files: Mapping[str, bytes],
    *,
    gated: bool = False,
    cut: Mapping[str, int] | None = None,
) -> Iterator[tuple[str, list[str]]]:
    """Serve a repository; yield the address, and a list of what is asked."""
    asked: list[str] = []
    parts = {"repo": repo, "files": files, "gated": gated, "cut": dict(cut or {}), "asked": asked}
    server = LoopbackServer(("127.0.0.1", 0), type("Hub", (FakeHub,), parts))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
