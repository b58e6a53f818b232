"""The HTTP server that tests run on this machine."""

from __future__ import annotations

from http.server import ThreadingHTTPServer


class LoopbackServer(ThreadingHTTPServer):
    """Takes as many connections at once as a run opens.

    Python's own queue holds five: the rest are dropped, and come again after seconds.
    """

    request_queue_size = 1024
