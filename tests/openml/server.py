"""A server on the loopback address that speaks the part of OpenML's REST interface that is asked.

It serves files by path (`documents.py` makes them) and misbehaves as told: slow, silent, refusing,
broken off, another content than stated, dead.
"""

import email.utils
import gzip
import hashlib
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from tests.openml.documents import BASE, NAMESPACE, Files

Fault = Callable[["Handler", bytes], None]
"""Answers a request for a file in another way than whole."""


def error(code: int, message: str) -> bytes:
    """OpenML's form of an error."""
    return (
        f"<oml:error {NAMESPACE}>\n  <oml:code>{code}</oml:code>\n"
        f"  <oml:message>{message}</oml:message>\n</oml:error>\n"
    ).encode()


def status(number: int, body: bytes = b"<html>no</html>") -> Fault:
    """Another status than 200, with a page that is not OpenML's."""
    return lambda handler, content: handler.reply(number, body)


def slow(seconds: float) -> Fault:
    """The whole content, but late."""

    def answer(handler: "Handler", content: bytes) -> None:
        time.sleep(seconds)
        handler.reply(200, content)

    return answer


def truncated(handler: "Handler", content: bytes) -> None:
    """Half of what its header promises, and an end of the connection."""
    handler.reply(200, content, sent=content[: len(content) // 2])


def altered(handler: "Handler", content: bytes) -> None:
    """As many bytes as promised, one of them another one."""
    middle = len(content) // 2
    handler.reply(200, content[:middle] + b"~" + content[middle + 1 :])


def zipped(content: bytes) -> Fault:
    """Another content, which gzip made small."""
    body = gzip.compress(content)

    def answer(handler: "Handler", content: bytes) -> None:
        handler.send_response(200)
        handler.send_header("Content-Encoding", "gzip")
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    return answer


def drips(handler: "Handler", content: bytes) -> None:
    """A byte at a time, until nobody takes it any more."""
    handler.send_response(200)
    handler.send_header("Content-Length", str(1 << 30))
    handler.send_header("ETag", '"none"')
    handler.send_header("Last-Modified", email.utils.formatdate(usegmt=True))
    handler.end_headers()
    while handler.command != "HEAD":
        handler.wfile.write(b"%")
        time.sleep(0.005)


def dies(handler: "Handler", content: bytes) -> None:
    """Half of the content, and then no server any more."""
    truncated(handler, content)
    handler.server.socket.close()


class _Serving(ThreadingHTTPServer):
    """What is underneath. A client that was killed, or its own end, are no news to it."""

    openml: "Server"

    def handle_error(self, request: object, client_address: object) -> None:
        """Nothing on the screen."""


@dataclass
class Server:
    """Serves from entering to leaving its `with` block."""

    files: Files
    faults: dict[str, list[Fault] | Fault] = field(default_factory=dict)
    """By path: how to answer always, or how to answer the next requests in turn."""
    asked: list[str] = field(default_factory=list)
    """Every request: method, path and query."""

    def __enter__(self) -> Self:
        self._httpd = _Serving(("127.0.0.1", 0), Handler)
        self._httpd.openml = self
        self.base = f"http://127.0.0.1:{self._httpd.server_address[1]}"
        threading.Thread(target=self._serve, daemon=True).start()
        return self

    def _serve(self) -> None:
        try:
            self._httpd.serve_forever(poll_interval=0.02)
        except (OSError, ValueError):
            pass  # it died, as it was told to

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._httpd.shutdown()
        self._httpd.server_close()

    @property
    def address(self) -> str:
        """What `--openml-server` takes."""
        return f"{self.base}/api/v1/xml"

    def content(self, path: str) -> bytes | None:
        """What a path holds, with this server's address in it."""
        content = self.files.get(path)
        if content is not None and BASE.encode() in content[:10_000]:
            return content.replace(BASE.encode(), self.base.encode())
        return content

    def fault(self, path: str) -> Fault | None:
        """How to answer this request, if not as usual."""
        planned = self.faults.get(path)
        if isinstance(planned, list):
            return planned.pop(0) if planned else None
        return planned


class Handler(BaseHTTPRequestHandler):
    """Answers GET and HEAD."""

    protocol_version = "HTTP/1.1"
    server: _Serving

    def log_message(self, *words: Any) -> None:
        """Nothing on the screen."""

    def reply(self, code: int, body: bytes, sent: bytes | None = None) -> None:
        """An answer; `sent` instead of the body that its length and sum are of."""
        self.send_response(code)
        self.send_header("Content-Type", "text/xml; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        # What a bucket of Parquet files says.
        self.send_header("ETag", f'"{hashlib.md5(body).hexdigest()}"')
        self.send_header("Last-Modified", email.utils.formatdate(usegmt=True))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body if sent is None else sent)
        if sent is not None:
            self.wfile.flush()
            self.close_connection = True

    def do_HEAD(self) -> None:
        """The header of what GET answers."""
        self.do_GET()

    def do_GET(self) -> None:
        """A file, an error of OpenML's for one that there is not, or what is planned."""
        server = self.server.openml
        server.asked.append(f"{self.command} {self.path}")
        path = urlsplit(self.path).path.removeprefix("/api/v1/xml").strip("/")
        content, fault = server.content(path), server.fault(path)
        if fault is not None:
            fault(self, content or b"")
        elif content is not None:
            self.reply(200, content)
        elif re.match(r"(task|data)/", path):
            self.reply(412, error(151 if path.startswith("task") else 111, "Unknown id"))
        else:
            self.reply(404, b"<html>not found</html>")
