# Part of vita-clip-hf. Remove this line to keep your changes to this file.
"""
A small HTTP server around `handler.py`, for a container of one's own: `python server.py`, or the `Dockerfile`.

    POST /          JSON as in handler.py, or the bytes of a video (content type video/..., application/octet-stream)
                    with the parameters in the query: /?top_k=3&candidate_labels=swimming&candidate_labels=running
    GET  /health    {"status": "ok"}

Errors are `{"error": text, "status": number}` with that status. The model is there once; a few threads read videos and
run it, and a bounded number of requests waits for them: more are answered 503 at once. Nothing of a request is kept.
A connection serves one request, within a time that is bounded as a whole, so that slow senders do not add up.
"""

import argparse
import contextlib
import json
import os
import socket
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeoutError
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from handler import PARAMETERS, EndpointHandler, RequestError

NUMBERS = ("top_k", "num_frames", "frame_sampling_rate", "window_seconds", "stride_seconds")
LISTS = ("candidate_labels", "hypothesis_template")
_CHUNK = 1 << 16
# Seconds for which the rest of a refused request is read and dropped, and of it at most twice the largest body.
_DROP_SECONDS = 2


class VideoServer(ThreadingHTTPServer):
    """
    Args:
        handler: answers requests.
        address: host and port to listen at; port 0 takes a free one.
        num_workers: threads that read videos and run the model.
        max_waiting: requests that may wait for them.
        max_connections: open at once, those that are still sending included.
        receive_seconds: for a request to arrive.
        answer_seconds: for its answer, waiting included.
    """

    daemon_threads = True
    request_queue_size = 64

    def __init__(
        self,
        handler: EndpointHandler,
        address: tuple[str, int],
        *,
        num_workers: int = 2,
        max_waiting: int = 8,
        max_connections: int = 64,
        receive_seconds: float = 60,
        answer_seconds: float = 120,
    ):
        self.answer = handler
        self.receive_seconds, self.answer_seconds = receive_seconds, answer_seconds
        # Twice over, for base64 and its JSON.
        self.max_body_bytes = handler.limits.max_video_bytes * 3 // 2 + (1 << 20)
        self.workers = ThreadPoolExecutor(num_workers, thread_name_prefix="video")
        self.places = threading.BoundedSemaphore(num_workers + max_waiting)
        self._connections = threading.BoundedSemaphore(max_connections)
        self._deadlines: dict[socket.socket, float] = {}
        super().__init__(address, _Connection)

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self._connections.acquire(blocking=False):
            _refuse(request)
            self.shutdown_request(request)
            return
        self._deadlines[request] = time.monotonic() + self.receive_seconds
        try:
            super().process_request(request, client_address)
        except BaseException:  # no thread could be started
            self.received(request)
            self._connections.release()
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self.received(request)
            self._connections.release()

    def received(self, request: Any) -> None:
        """The whole request is there, or its connection has ended."""
        self._deadlines.pop(request, None)

    def service_actions(self) -> None:
        """Called between requests: ends connections that take too long to send one."""
        for request, deadline in list(self._deadlines.items()):
            if time.monotonic() > deadline:
                with contextlib.suppress(OSError):  # it has ended meanwhile
                    request.shutdown(socket.SHUT_RD)
                self.received(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """In one line; a client that hangs up is no error."""
        error = sys.exc_info()[1]
        if not isinstance(error, (ConnectionError, TimeoutError)):
            print(f"server.py: unexpected {type(error).__name__}: {error}", file=sys.stderr)

    def server_close(self) -> None:
        super().server_close()
        self.workers.shutdown(wait=False, cancel_futures=True)


class _Connection(BaseHTTPRequestHandler):
    server: VideoServer
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "vita-clip", ""
    wbufsize = -1  # headers and body together
    unread = False  # whether the client may still be sending a body that is not wanted

    def setup(self) -> None:
        super().setup()
        self.connection.settimeout(self.server.receive_seconds)

    def finish(self) -> None:
        """
        Closes the connection. Where a client is still sending what was refused, that is dropped first: a connection
        that is closed over it is reset, and the client would not see why.
        """
        super().finish()
        if self.unread:
            with contextlib.suppress(OSError):
                self._drop_rest()

    def _drop_rest(self) -> None:
        self.connection.shutdown(socket.SHUT_WR)
        deadline, left = time.monotonic() + _DROP_SECONDS, 2 * self.server.max_body_bytes
        while left > 0 and (seconds := deadline - time.monotonic()) > 0:
            self.connection.settimeout(seconds)
            received = len(self.connection.recv(_CHUNK))
            if received == 0:
                break
            left -= received

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        if path in ("/", "/health"):
            self._send(200, {"status": "ok"})
        else:
            self._send(404, {"error": "no such page; GET /health, POST /", "status": 404})

    def do_POST(self) -> None:
        self.unread = True
        try:
            self._send(200, self._answer())
        except RequestError as error:
            self._send(error.status, error.body)

    def _answer(self) -> Any:
        server, url = self.server, urlsplit(self.path)
        if url.path not in ("/", "/predict"):
            raise RequestError("no such page; GET /health, POST /", 404)
        length = self._content_length()
        if not server.places.acquire(blocking=False):
            raise RequestError("busy; try again in a moment", 503)
        try:
            data = self._data(self._read(length), url.query)
            future = server.workers.submit(server.answer, data)
        except BaseException:
            server.places.release()
            raise
        # A place is free when the work is done, not when its client has given up.
        future.add_done_callback(lambda _: server.places.release())
        try:
            return future.result(timeout=server.answer_seconds)
        except RequestError:
            raise
        except FutureTimeoutError:
            future.cancel()
            raise RequestError(f"no answer within {server.answer_seconds:g} s", 504) from None
        except Exception as error:
            print(f"server.py: unexpected {type(error).__name__}: {error}", file=sys.stderr)
            raise RequestError("an error of the server, which its log names", 500) from error

    def _content_length(self) -> int:
        text = self.headers.get("Content-Length", "")
        if self.headers.get("Transfer-Encoding") or not text.isascii() or not text.isdigit():
            raise RequestError("a request needs its Content-Length", 411)
        if len(text) > 15 or int(text) > self.server.max_body_bytes:
            raise RequestError(f"a request may have up to {self.server.max_body_bytes:,} bytes", 413)
        return int(text)

    def _read(self, length: int) -> bytearray:
        """The body, as it comes: what is only announced takes no memory."""
        body = bytearray()
        while len(body) < length:
            try:
                chunk = self.rfile.read(min(_CHUNK, length - len(body)))
            except OSError:
                chunk = b""
            if not chunk:
                raise RequestError(f"{len(body)} of {length} bytes of the request arrived", 408)
            body += chunk
        self.unread = False
        self.server.received(self.connection)
        return body

    def _data(self, body: bytearray, query: str) -> Any:
        kind = self.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        if kind.startswith("video/") or kind == "application/octet-stream":
            return {"inputs": bytes(body), "parameters": _parameters_of(query)}
        if kind != "application/json":
            raise RequestError(f"the content type is {kind[:50]!r}, expected application/json or video/...", 415)
        try:
            return json.loads(body, parse_constant=_refuse_constant)
        except (ValueError, RecursionError) as error:
            raise RequestError(f"the body is no JSON ({str(error)[:100]})") from None

    def _send(self, status: int, value: Any) -> None:
        body = json.dumps(value).encode()
        self.close_connection = True
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")
        if status == 503:
            self.send_header("Retry-After", "1")
        self.end_headers()
        self.wfile.write(body)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """What http.server refuses by itself, such as a header that is too long, in the same form."""
        try:
            self._send(code, {"error": message or "the request is not understood", "status": int(code)})
        except AttributeError:  # before the first line was understood
            self.close_connection = True

    def log_message(self, format: str, *arguments: Any) -> None:
        """Requests are not logged."""


def _parameters_of(query: str) -> dict[str, Any]:
    """Parameters of a query: numbers as numbers, names that repeat as a list."""
    parameters: dict[str, Any] = {}
    try:
        found = parse_qs(query, keep_blank_values=True, max_num_fields=1000)
    except ValueError as error:
        raise RequestError(f"the query cannot be read: {error}") from None
    for name, values in found.items():
        if name not in PARAMETERS:
            raise RequestError(f"the parameter {name[:50]!r} is not known, expected {', '.join(PARAMETERS)}")
        if name in LISTS:
            parameters[name] = values
            continue
        (value, *more) = values
        if more:
            raise RequestError(f"{name} is there {len(values)} times, expected once")
        parameters[name] = _number(name, value) if name in NUMBERS else value
    return parameters


def _number(name: str, text: str) -> int | float:
    try:
        return float(text[:50]) if name.endswith("_seconds") else int(text[:50])
    except ValueError:
        raise RequestError(f"{name} must be a number, found {text[:50]!r}") from None


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def _refuse(connection: socket.socket) -> None:
    body = b'{"error": "busy; try again in a moment", "status": 503}'
    head = b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nConnection: close\r\n"
    with contextlib.suppress(OSError):  # it has hung up
        connection.settimeout(1)
        connection.sendall(head + b"Content-Length: %d\r\nRetry-After: 1\r\n\r\n" % len(body) + body)


def _one_line(error: Exception) -> str:
    """The error; of the tracebacks that transformers' pipelines put into theirs, the error at the end."""
    text = str(error).strip()
    return text.splitlines()[-1] if "Traceback" in text else " ".join(text.split())


def main() -> None:
    parser = argparse.ArgumentParser(description="Serves the checkpoint of a folder over HTTP.")
    parser.add_argument("--model", default=os.environ.get("MODEL_DIR", str(Path(__file__).resolve().parent)))
    parser.add_argument("--host", default="0.0.0.0")
    parser.add_argument("--port", type=int, default=int(os.environ.get("PORT", "8080")))
    parser.add_argument("--workers", type=int, default=2, help="threads that read videos and run the model")
    parser.add_argument("--max-waiting", type=int, default=8, help="requests that may wait; more are answered 503")
    parser.add_argument("--receive-seconds", type=float, default=60, help="for a request to arrive")
    parser.add_argument("--answer-seconds", type=float, default=120, help="for its answer, waiting included")
    options = parser.parse_args()
    try:
        handler = EndpointHandler(options.model)
    except (OSError, ValueError, KeyError) as error:  # the last is of a folder whose model knows no such task
        sys.exit(f"server.py: {options.model} cannot be served: {_one_line(error)}")
    server = VideoServer(
        handler,
        (options.host, options.port),
        num_workers=options.workers,
        max_waiting=options.max_waiting,
        receive_seconds=options.receive_seconds,
        answer_seconds=options.answer_seconds,
    )
    print(f"serving {options.model} at http://{options.host}:{server.server_address[1]}", flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        server.server_close()


if __name__ == "__main__":
    main()
