"""A real reverse proxy in front of a server: it counts what is asked for, and may ask for a name and a password."""

from __future__ import annotations

import base64
import threading
from collections import Counter
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self
from urllib.parse import urlsplit

_HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "host", "authorization", "content-length"}


class FrontDoor:
    """Listens on a free port of this machine and passes every request on to `behind`, an http:// URI.

    Args:
      credentials: "name:password" that callers have to bring, HTTP's basic authentication; "" for none.

    Attributes:
      requests: Method and path with its query, in the order in which they came.
    """

    def __init__(self, behind: str, *, credentials: str = "") -> None:
        self.requests: list[tuple[str, str]] = []
        target = urlsplit(behind)
        wanted = f"Basic {base64.b64encode(credentials.encode()).decode()}" if credentials else None

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def pass_on(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                door.requests.append((self.command, self.path))
                if wanted is not None and self.headers.get("Authorization") != wanted:
                    self._answer(401, [("WWW-Authenticate", 'Basic realm="mlflow"')], b"You are not authenticated.")
                    return
                headers = {name: value for name, value in self.headers.items() if name.lower() not in _HOP_BY_HOP}
                connection = HTTPConnection(target.hostname or "", target.port, timeout=60)
                try:
                    connection.request(self.command, self.path, body=body or None, headers=headers)
                    answer = connection.getresponse()
                    content = answer.read()
                finally:
                    connection.close()
                self._answer(answer.status, answer.getheaders(), content)

            def _answer(self, status: int, headers: list[tuple[str, str]], content: bytes) -> None:
                self.send_response_only(status)
                for name, value in headers:
                    if name.lower() not in _HOP_BY_HOP:
                        self.send_header(name, value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: object) -> None:
                pass

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = pass_on

        door = self
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def address(self) -> str:
        """Host and port."""
        return f"127.0.0.1:{self._server.server_address[1]}"

    @property
    def uri(self) -> str:
        return f"http://{self.address}"

    def count(self) -> Counter[str]:
        """How often each kind of thing was asked for since the last look."""
        asked, self.requests = self.requests, []
        return Counter(_kind(method, path) for method, path in asked)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _kind(method: str, path: str) -> str:
    bare, _, query = path.partition("?")
    if "mlflow-artifacts/artifacts" in bare:
        return "list artifacts" if "path=" in query else "read artifact" if method == "GET" else "write artifact"
    return f"{method} {bare.rpartition('mlflow/')[2]}"
