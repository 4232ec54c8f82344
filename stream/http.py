"""The worker's small HTTP server: /metrics, /healthz and /readyz.

Why a thread and not the event loop: a scrape must be answered while the loop learns a batch, and a
liveness probe that shares the loop would say nothing that the loop does not know itself.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from prometheus_client.exposition import CONTENT_TYPE_LATEST


class MonitoringServer:
    """Serves three read-only pages from a daemon thread.

    Parameters
    ----------
    metrics
        Gives the metrics in Prometheus' text format.
    readiness
        Gives None when ready, else what is missing.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        metrics: Callable[[], bytes],
        readiness: Callable[[], str | None],
    ) -> None:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                path = self.path.partition("?")[0]
                if path == "/metrics":
                    self._answer(200, metrics(), CONTENT_TYPE_LATEST)
                elif path == "/healthz":
                    self._answer(200, b"alive\n")
                elif path == "/readyz":
                    missing = readiness()
                    body = b"ready\n" if missing is None else f"not ready: {missing}\n".encode()
                    self._answer(200 if missing is None else 503, body)
                else:
                    self._answer(404, b"there are /metrics, /healthz and /readyz\n")

            def _answer(self, status: int, body: bytes, kind: str = "text/plain") -> None:
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                """Stay silent: probes come every few seconds."""

        self._server = ThreadingHTTPServer((host, port), Handler)
        self._server.daemon_threads = True

    @property
    def port(self) -> int:
        """The port in use, also where a free one was asked for."""
        return self._server.server_address[1]

    def start(self) -> None:
        """Answer from now on."""
        threading.Thread(target=self._server.serve_forever, name="http", daemon=True).start()

    def stop(self) -> None:
        """Close the port."""
        self._server.shutdown()
        self._server.server_close()
