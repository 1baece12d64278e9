"""A stand-in for the Hugging Face Hub on this machine, for the real `huggingface_hub` client.

It speaks the documented HTTP API over repositories kept in memory: whoami; creating, describing, listing, changing
and deleting models, datasets and Spaces; preupload, LFS upload, commits (with `parent_commit` and pull requests);
tree, paths, refs, history; branches and tags; card validation; and downloads with ETag, commit, byte ranges and the
Hub's error codes. As on the Hub, LFS content is served by another host through a redirect that must not get the
token: here `localhost` beside `127.0.0.1`. Not spoken: Xet (clients get `HF_HUB_DISABLE_XET=1`), multipart uploads,
discussions, gated repositories, `.gitignore` on the server's side.

A test module asks for the fixture with `pytest_plugins = ["hub_server"]` and takes `hub` (PYTEST_DONT_REWRITE: the
module is imported by then, and its one assert has a message of its own), or `hub_here` for what runs in this process:

    hub.run_client('from huggingface_hub import whoami; print(whoami()["name"])').stdout
    hub.api().upload_folder(repo_id="user/model", folder_path=folder)
    hub.repository("user/model").files()["README.md"]
"""

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from hub_api import TOKEN, HubApi, Request
from hub_repositories import Repository

CLIENT_TIMEOUT = 120  # seconds
CLIENT_VARIABLES = ("HF_", "HUGGING", "TRANSFORMERS_", "XDG_CACHE_HOME")  # of this process, kept from the clients


class Hub(HubApi):
    """A running Hub and what tests do with it. `endpoint` is what clients get as `HF_ENDPOINT`."""

    def __init__(self, home: Path):
        self.home = home
        self.server = _Server(self)
        port = self.server.server_address[1]
        super().__init__(endpoint=f"http://127.0.0.1:{port}", storage_endpoint=f"http://localhost:{port}")

    def repository(self, repo_id: str, repo_type: str = "model") -> Repository:
        """A repository, to look into."""
        return self.repos[repo_type, repo_id]

    def file_names(self, repo_id: str, revision: str = "main") -> set[str]:
        """What a repository holds, but for the file that every new one has."""
        return set(self.repository(repo_id).files(revision)) - {".gitattributes"}

    def commit_titles(self, repo_id: str) -> list[str]:
        """Of a repository, the newest first, but for the commit that made it."""
        return [commit.title for commit in self.repository(repo_id).history() if commit.title != "initial commit"]

    def api(self, token: str | bool = TOKEN) -> Any:
        """The real client in this process, pointed here; `token=False` is a stranger."""
        from huggingface_hub import HfApi

        return HfApi(endpoint=self.endpoint, token=token)

    def client_environment(self, *, offline: bool = False) -> dict[str, str]:
        """Environment variables of a process whose Hub this is, with a home folder and a cache of its own."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(CLIENT_VARIABLES)}
        return inherited | {
            "HF_ENDPOINT": self.endpoint,
            "HF_HOME": str(self.home),
            "HF_TOKEN": TOKEN,
            "HF_HUB_OFFLINE": "1" if offline else "0",
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_DISABLE_UPDATE_CHECK": "1",
            "NO_PROXY": "127.0.0.1,localhost",
            "no_proxy": "127.0.0.1,localhost",
        }

    def run_client(
        self, code: str, *arguments: str, offline: bool = False, check: bool = True, python: str = sys.executable
    ) -> subprocess.CompletedProcess[str]:
        """Run Python code in a process of its own, whose Hub this is; calls of one test share home and cache.

        With `check`, a failure is an AssertionError that shows what the process wrote.
        """
        self.home.mkdir(parents=True, exist_ok=True)
        result = subprocess.run(
            [python, "-c", code, *arguments],
            env=self.client_environment(offline=offline),
            cwd=self.home,  # not the checkout: what is not installed must not be importable
            capture_output=True,
            text=True,
            timeout=CLIENT_TIMEOUT,
        )
        assert not check or result.returncode == 0, f"the client failed\n{result.stdout}\n{result.stderr}"
        return result

    def start(self) -> None:
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, hub: Hub):
        self.hub = hub
        super().__init__(("127.0.0.1", 0), _Connection)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Silence for clients that hang up; anything else is a fault of this file and shown."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


class _Connection(BaseHTTPRequestHandler):
    """Bytes to `Request`, `Response` to bytes."""

    server: _Server
    protocol_version = "HTTP/1.1"
    wbufsize = 1 << 16  # headers and body in one packet: apart, each response waits 40 ms for the client's TCP
    timeout = 30  # seconds without a request, then the thread ends

    def _serve(self) -> None:
        url = urlsplit(self.path)
        headers = {name.lower(): value for name, value in self.headers.items()}
        request = Request(self.command, url.path, parse_qs(url.query), headers, self._read_body())
        response = self.server.hub.answer(request)
        if not response.status:  # a fault that a test asked for
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        self.send_response(response.status)
        for name, value in {**response.headers, "Content-Length": str(len(response.body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(response.body[: response.cut_at])
        if response.cut_at is not None:
            self.close_connection = True

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = _serve  # noqa: N815 - http.server's names

    def _read_body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        chunks = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            chunks.append(self.rfile.read(size))
            self.rfile.readline()  # the line's end after each chunk
        while self.rfile.readline().strip():
            pass  # trailers
        return b"".join(chunks)

    def log_message(self, format: str, *arguments: Any) -> None:
        """Tests read `hub.requests` instead."""


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A fresh, empty Hub; the client in this process may use it through `hub.api()`."""
    from huggingface_hub import constants

    # The tests run offline and without these switches; the client reads them at each call.
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    server = Hub(tmp_path / "hf_home")
    server.start()
    yield server
    server.stop()


@pytest.fixture
def hub_here(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> Hub:
    """The Hub, for every client of this process, none of which makes a pause before another attempt."""
    from vita_clip_hf.hub import commit

    for module in ("constants", "hf_api"):
        monkeypatch.setattr(f"huggingface_hub.{module}.ENDPOINT", hub.endpoint, raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(hub.home / "hub"))
    template = hub.endpoint + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr("huggingface_hub.file_download.HUGGINGFACE_CO_URL_TEMPLATE", template, raising=False)
    # Not `time.sleep` itself: the Hub's own slowness is to last.
    hasty = SimpleNamespace(**{**vars(time), "sleep": lambda seconds: None})
    monkeypatch.setattr("huggingface_hub.utils._http.time", hasty)
    monkeypatch.setattr(commit, "PAUSES", (0.01, 0.01))
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    return hub
