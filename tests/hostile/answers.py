"""A web server of ways to answer that cost its guests dearly: `python -m hostile.answers` prints its address."""

import gzip
import socket
import threading
import time
import zlib
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

# No decoder is asked where this is used: the beginning of an MP4 file is enough.
VIDEO = b"\0\0\0\x18ftypisom" + bytes(range(256)) * 64


class Answers(BaseHTTPRequestHandler):
    """Each path is one way to answer."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def send(self, status=200, body=b"", **headers):
        self.send_response(status)
        for name, value in {"Content_Length": len(body), **headers}.items():
            if value is not None:
                self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()
        self.wfile.write(body)

    def drip(self, piece: bytes, seconds: float, most=200):
        for _ in range(most):
            self.wfile.write(piece)
            self.wfile.flush()
            time.sleep(seconds)

    def do_GET(self):
        self.server.requests.append((self.path, dict(self.headers)))
        self.close_connection = True
        name, _, rest = self.path[1:].partition("/")
        with suppress(BrokenPipeError, ConnectionResetError):
            getattr(self, f"answer_{name}")(rest)

    def answer_video(self, _):
        self.send(body=VIDEO)

    def answer_canary(self, path):
        """Whoever asks leaves a trace: a folder."""
        Path(unquote(path)).mkdir(exist_ok=True)
        self.send(body=VIDEO)

    def answer_empty(self, _):
        self.send()

    def answer_page(self, _):
        self.send(body=b"<!DOCTYPE html><title>Sign in</title>")

    def answer_packed(self, coding):
        self.send(body={"gzip": gzip.compress, "deflate": zlib.compress}[coding](VIDEO), Content_Encoding=coding)

    def answer_misnamed(self, coding):
        self.send(body=VIDEO, Content_Encoding=coding)

    def answer_bomb(self, _):
        self.send(body=gzip.compress(bytes(20_000_000)), Content_Encoding="gzip")

    def answer_announces(self, length):
        self.send(Content_Length=length)

    def answer_endless(self, _):
        self.send(Content_Length=None)
        while True:
            self.wfile.write(VIDEO)

    def answer_slow_body(self, _):
        self.send(Content_Length=10_000)
        self.drip(b"x", 0.05)

    def answer_slow_header(self, _):
        self.wfile.write(b"HTTP/1.1 200 OK\r\nX-Long: ")
        self.drip(b"x", 0.05)

    def answer_slow_chunk(self, _):
        self.send(Content_Length=None, Transfer_Encoding="chunked")
        self.wfile.write(b"5;extension=")
        self.drip(b"x", 0.05)

    def answer_silence(self, _):
        time.sleep(10)

    def answer_short(self, _):
        self.send(body=VIDEO[:100], Content_Length=5_000)

    def answer_reset(self, _):
        self.send(Content_Length=5_000)
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.connection.close()

    def answer_nothing(self, _):
        pass

    def answer_noise(self, _):
        self.wfile.write(bytes(range(256)))

    def answer_status(self, status):
        self.send(int(status), body=b"x" * 1000)

    def answer_to(self, location):
        self.send(302, Location=location)

    def answer_hops(self, number):
        self.send(302, Location=f"/hops/{int(number) - 1}" if int(number) > 1 else "/video")

    def answer_loop(self, _):
        self.send(302, Location="/loop")

    def answer_endless_redirect(self, _):
        self.send(302, Location="/video", Content_Length=None)
        while True:
            self.wfile.write(VIDEO)


class Server(ThreadingHTTPServer):
    """At a free port of this machine; `requests` has path and headers of each."""

    daemon_threads, block_on_close = True, False

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Answers)
        self.requests = []
        self.url = f"http://127.0.0.1:{self.server_port}"

    def start(self) -> "Server":
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self


if __name__ == "__main__":
    server = Server()
    print(server.url, flush=True)
    server.serve_forever()
