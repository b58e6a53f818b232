"""Stands for the program ``vllm`` in tests: it serves, or misbehaves as ``FAKE_VLLM`` says.

mute: never serves. crash: ends before it serves. taken: says that the port is taken, the first
time. die: ends in the middle of the second request. slow: never answers a request. stubborn: slow,
and ignores SIGTERM. Every process writes its id into the folder ``FAKE_VLLM_PIDS``; a worker is
started as well.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

HOW = os.environ.get("FAKE_VLLM", "")
PIDS = Path(os.environ["FAKE_VLLM_PIDS"])
asked: list[int] = []


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self._send({"data": [{"id": sys.argv[2]}]})

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        asked.append(1)
        (PIDS / "asked").touch()
        if HOW == "die" and len(asked) > 1:
            sys.stderr.write("CUDA error: the device was lost\n")
            os._exit(3)
        if HOW in ("slow", "stubborn"):
            time.sleep(60)
        choice = {"message": {"content": "hello"}, "finish_reason": "stop"}
        self._send({"choices": [choice]})

    def _send(self, payload: object) -> None:
        body = json.dumps(payload).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def main() -> None:
    (PIDS / str(os.getpid())).write_text(" ".join(sys.argv[1:]))
    if HOW == "stubborn":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.stderr.write(f"fake vllm {' '.join(sys.argv[1:])}\n")
    if HOW == "mute":
        time.sleep(60)
    if HOW == "crash":
        sys.exit("no GPU was found")
    if HOW == "taken" and len(list(PIDS.iterdir())) == 1:
        sys.exit("OSError: [Errno 98] Address already in use")
    worker = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    (PIDS / str(worker.pid)).touch()
    port = int(sys.argv[sys.argv.index("--port") + 1])
    ThreadingHTTPServer(("127.0.0.1", port), Handler).serve_forever()


main()
