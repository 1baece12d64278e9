"""`python server.py` beside a checkpoint, in a process without the package: answers, refusals, limits, clients."""

import base64
import json
import os
import random
import shutil
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from served_checkpoint import (
    ask,
    ask_json,
    assert_is_error,
    assert_is_hub_output,
    peak_megabytes,
    save_served_checkpoint,
    serving,
)
from toy_checkpoint import write_rising_video
from toy_vita_clip import LABELS, save_toy_clip

from benchmarks.serving import main

LIMITS = {"VITA_CLIP_MAX_VIDEO_BYTES": 2_000_000, "VITA_CLIP_MAX_LABELS": 20}
NUM_HOSTILE = 100


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return save_served_checkpoint(tmp_path_factory.mktemp("served"))


@pytest.fixture(scope="module")
def video(tmp_path_factory) -> bytes:
    return write_rising_video(tmp_path_factory.mktemp("videos") / "rising.mp4").read_bytes()


@pytest.fixture(scope="module")
def server(folder, tmp_path_factory):
    """Address and id of a running server."""
    with serving(folder, tmp_path_factory.mktemp("home"), **LIMITS) as running:
        yield running


@pytest.fixture(scope="module")
def url(server) -> str:
    return server[0]


def request_lines(url: str, text: bytes, wait: float = 5) -> bytes:
    """What the server answers to these bytes, whatever they are."""
    host, _, port = url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=wait) as connection:
        connection.sendall(text)
        connection.shutdown(socket.SHUT_WR)
        parts = []
        try:
            while part := connection.recv(65536):
                parts.append(part)
        except OSError:
            pass
        return b"".join(parts)


class TestAnswers:
    def test_health_is_told_at_two_pages(self, url):
        assert ask(f"{url}/health") == ask(url) == (200, {"status": "ok"})

    def test_json_and_bytes_get_the_same_answer_in_the_hubs_form(self, url, video):
        text = base64.b64encode(video).decode()
        status, answer = ask_json(url, text, candidate_labels=["a walk", "chess"], num_frames=3, top_k=1)
        assert status == 200
        assert_is_hub_output(answer)
        query = "top_k=1&num_frames=3&candidate_labels=a%20walk&candidate_labels=chess"
        for kind in ("video/mp4", "application/octet-stream", "Video/MP4; codecs=avc1"):
            status, other = ask(f"{url}/predict?{query}", video, kind=kind)
            assert (status, other[0]["label"]) == (200, answer[0]["label"])
            assert other[0]["score"] == pytest.approx(answer[0]["score"], abs=1e-5)

    def test_the_sampling_rate_of_a_query_and_of_json_chooses_frames(self, url, video):
        text = base64.b64encode(video).decode()
        scores = []
        for rate in (1, 5):
            status, answer = ask(f"{url}/?num_frames=3&frame_sampling_rate={rate}", video, kind="video/mp4")
            assert status == 200
            _, other = ask_json(url, text, num_frames=3, frame_sampling_rate=rate)
            scores.append({entry["label"]: entry["score"] for entry in answer})
            assert {entry["label"]: entry["score"] for entry in other} == pytest.approx(scores[-1], abs=1e-5)
        assert scores[0] != pytest.approx(scores[1], abs=1e-5)

    def test_without_parameters_it_names_the_models_own_classes(self, url, video):
        status, answer = ask(url, video, kind="video/mp4")
        assert (status, {entry["label"] for entry in answer}) == (200, set(LABELS))

    def test_windows_of_a_query_say_when(self, url, video):
        status, answer = ask(f"{url}/?window_seconds=1&top_k=1", video, kind="video/mp4")
        assert status == 200
        assert [(entry["start"], entry["end"]) for entry in answer] == [(0, 1), (1, 2)]


@pytest.mark.parametrize("kind", ["nothing", "a CLIP", "an adapter without its base"])
def test_a_folder_that_cannot_be_served_is_one_line(kind, folder, tmp_path):
    if kind == "a CLIP":
        save_toy_clip(tmp_path / "model")
    elif kind == "an adapter without its base":
        shutil.copytree(folder, tmp_path / "model")
        config = json.loads((folder / "config.json").read_text()) | {"base_model_name_or_path": str(tmp_path / "gone")}
        (tmp_path / "model" / "config.json").write_text(json.dumps(config))
    ended = subprocess.run(
        [sys.executable, "server.py", "--port", "0", "--model", str(tmp_path / "model")],
        cwd=folder,
        env={**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "HF_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 1
    assert "Traceback" not in ended.stderr
    assert ended.stderr.splitlines()[-1].startswith(f"server.py: {tmp_path / 'model'} cannot be served: ")


class TestRefusals:
    @pytest.mark.parametrize(
        ("page", "body", "kind", "status", "words"),
        [
            ("/", b"{", "application/json", 400, "no JSON"),
            ("/", b"[" * 100_000, "application/json", 400, "no JSON"),
            ("/", b'{"inputs": NaN}', "application/json", 400, "no JSON"),
            ("/", b"\xff\xfe", "application/json", 400, "no JSON"),
            ("/", b"[]", "application/json", 400, "expected an object"),
            ("/", b'{"inputs": "/etc/passwd"}', "application/json", 400, "not"),
            ("/", b'{"inputs": "http://127.0.0.1:1/"}', "application/json", 400, "not a public address"),
            ("/", b"no video", "video/mp4", 400, "not a video"),
            ("/", b"", "video/mp4", 400, "0 bytes"),
            ("/", b"a=b", "application/x-www-form-urlencoded", 415, "expected application/json or video"),
            ("/", b"x", "", 415, "expected application/json or video"),
            ("/other", b"{}", "application/json", 404, "no such page"),
            ("/?top_k=many", b"x", "video/mp4", 400, "top_k must be a number"),
            ("/?top_k=1&top_k=2", b"x", "video/mp4", 400, "2 times"),
            ("/?allow_private=1", b"x", "video/mp4", 400, "'allow_private' is not known"),
            ("/?window_seconds=nan", b"x", "video/mp4", 400, "window_seconds"),
        ],
    )
    def test_they_have_a_status_and_say_why(self, url, page, body, kind, status, words):
        assert words in assert_is_error(ask(url + page, body, kind=kind), status)

    def test_a_body_that_is_too_large_is_refused_by_its_length(self, url):
        head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Type: video/mp4\r\nContent-Length: 99999999999\r\n\r\n"
        assert b" 413 " in request_lines(url, head).partition(b"\r\n")[0]

    def test_who_sends_a_body_that_is_too_large_hears_why(self, url):
        assert "bytes" in assert_is_error(ask(url, bytes(8_000_000), kind="video/mp4"), 413)
        assert "no such page" in assert_is_error(ask(f"{url}/other", bytes(8_000_000), kind="video/mp4"), 404)

    @pytest.mark.parametrize(
        ("length", "status"), [(b"", 411), (b"Content-Length: -1", 411), (b"Transfer-Encoding: chunked", 411)]
    )
    def test_a_length_is_needed(self, url, length, status):
        answer = request_lines(url, b"POST / HTTP/1.1\r\nHost: a\r\n" + length + b"\r\n\r\nx")
        assert f" {status} ".encode() in answer.partition(b"\r\n")[0]

    def test_other_methods_are_refused_in_the_same_form(self, url):
        answer = request_lines(url, b"BREW / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert json.loads(answer.partition(b"\r\n\r\n")[2])["status"] == 501


def hostile_requests(video: bytes, seed: int, count: int):
    """Requests that nobody should send, each as a function of the address."""
    random_ = random.Random(seed)

    def mutant() -> bytes:
        content = bytearray(video)
        for _ in range(random_.randint(1, 200)):
            content[random_.randrange(len(content))] = random_.randrange(256)
        return bytes(content[: random_.randint(1, len(content))])

    def as_json(value) -> bytes:
        return json.dumps({"inputs": value}).encode()

    makers = [
        lambda: ("/", mutant(), "video/mp4"),
        lambda: ("/?window_seconds=0.001", mutant(), "video/mp4"),
        lambda: ("/", as_json(base64.b64encode(mutant()).decode()), "application/json"),
        lambda: (
            "/",
            as_json(random_.choice(["http://localhost/", "http://0/", "http://[::]/", "file:///"])),
            "application/json",
        ),
        lambda: ("/", as_json("http://" + "a." * random_.randint(1, 9000)), "application/json"),
        lambda: ("/", b"#EXTM3U\nhttp://127.0.0.1/x.ts\n" * random_.randint(1, 500), "video/mp4"),
        lambda: ("/", b"{" * random_.randint(1, 500_000), "application/json"),
        lambda: ("/", random_.randbytes(random_.randint(1, 3_000_000)), "video/mp4"),
        lambda: ("/", as_json({"url": [[["x"]]]}), "application/json"),
        lambda: (f"/?num_frames={random_.randint(65, 10**12)}", video, "video/mp4"),
        lambda: (f"/?candidate_labels={'x' * 300}", video, "video/mp4"),
        lambda: ("/?" + "&".join(f"candidate_labels={n}" for n in range(200)), video, "video/mp4"),
    ]
    return [makers[number % len(makers)]() for number in range(count)]


def test_a_hundred_hostile_requests_leave_it_alive_and_bounded(server, video):
    url, pid = server
    ask(url, video, kind="video/mp4")
    before = peak_megabytes(pid)

    def send(request) -> tuple[int, object]:
        page, body, kind = request
        try:
            return ask(url + page, body, kind=kind)
        except OSError as error:  # it may hang up on a body that it does not read
            return 0, str(error)

    with ThreadPoolExecutor(4) as clients:
        statuses = [status for status, _ in clients.map(send, hostile_requests(video, seed=1, count=NUM_HOSTILE))]
    assert len(statuses) == NUM_HOSTILE
    assert set(statuses) <= {0, 200, 400, 408, 411, 413, 503}, statuses
    assert statuses.count(400) > NUM_HOSTILE // 2
    assert ask(url, video, kind="video/mp4")[0] == 200
    assert peak_megabytes(pid) - before < 300


def test_eight_clients_at_once_get_their_own_answers(url, video):
    labels = [[f"label {client}", f"other {client}"] for client in range(8)]

    def client(own: list[str]) -> list[int]:
        statuses = []
        for _ in range(3):
            status, answer = ask_json(url, base64.b64encode(video).decode(), candidate_labels=own)
            statuses.append(status)
            assert {entry["label"] for entry in answer} == set(own)
        return statuses

    with ThreadPoolExecutor(8) as clients:
        assert list(clients.map(client, labels)) == [[200] * 3] * 8


@pytest.fixture(scope="module")
def small(folder, tmp_path_factory):
    """One worker, one place to wait."""
    options = ("--workers", "1", "--max-waiting", "1", "--receive-seconds", "2")
    with serving(folder, tmp_path_factory.mktemp("home"), *options, **LIMITS) as (url, _):
        yield url


class TestCrowds:
    def test_more_than_may_wait_are_answered_503_at_once_and_later_ones_served(self, small, video):
        with ThreadPoolExecutor(12) as clients:
            answers = list(clients.map(lambda _: ask(small, video, kind="video/mp4"), range(12)))
        statuses = [status for status, _ in answers]
        assert set(statuses) == {200, 503}
        assert "busy" in assert_is_error(next(answer for answer in answers if answer[0] == 503), 503)
        assert ask(small, video, kind="video/mp4")[0] == 200

    def test_senders_that_are_too_slow_are_let_go_and_block_nobody_for_long(self, small, video):
        host, _, port = small.removeprefix("http://").partition(":")
        connections = [socket.create_connection((host, int(port)), timeout=10) for _ in range(20)]
        for number, connection in enumerate(connections):
            start = b"POST / HTTP/1.1\r\n" if number % 2 else b"POST / HTTP/1.1\r\nContent-Length: 1000\r\n\r\nx"
            connection.sendall(start)
        assert ask(f"{small}/health")[0] == 200
        deadline = time.monotonic() + 10
        while ask(small, video, kind="video/mp4")[0] != 200:
            assert time.monotonic() < deadline
            time.sleep(0.2)
        for connection in connections:
            connection.close()


def test_the_load_is_measured_without_an_error(url, video, tmp_path, capsys):
    (tmp_path / "clip.mp4").write_bytes(video)
    assert main(["--url", url, "--video", str(tmp_path / "clip.mp4"), "--clients", "8", "--seconds", "1"]) == 0
    one, eight = capsys.readouterr().out.splitlines()
    assert one.startswith("1 client: ")
    assert eight.startswith("8 clients: ")
    assert ", 0 errors" in one
    assert ", 0 errors" in eight
