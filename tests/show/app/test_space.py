"""The files of the Space start, and the endpoints answer a client and MCP."""

import json
import shutil
import sys
from pathlib import Path

import pytest
import yaml
from app_in_browser import LABELS, serving, visit

SPACE = Path(__file__).resolve().parents[3] / "hub_cards" / "space"


def test_the_space_starts_with_the_adapters_of_its_settings(adapters, browser, tmp_path):
    shutil.copytree(SPACE, tmp_path / "space")
    models = " ".join(map(str, adapters.values()))
    command = [sys.executable, str(tmp_path / "space" / "app.py")]
    with serving(command, tmp_path, VITA_CLIP_MODELS=models) as address, visit(browser, address) as page:
        assert page.locator("#vc-adapter label").all_inner_texts() == list(LABELS)


def test_its_page_names_the_gradio_that_is_tested():
    import gradio

    front = yaml.safe_load((SPACE / "README.md").read_text(encoding="utf-8").split("---")[1])
    assert front["sdk"] == "gradio"
    assert front["sdk_version"] == gradio.__version__
    assert (SPACE / front["app_file"]).is_file()


def test_endpoints_answer_a_client(app, adapters, videos):
    from gradio_client import Client, handle_file

    from vita_clip_hf.predict import load_predictor

    client = Client(app, verbose=False)
    assert client.predict(api_name="/adapters") == {name: list(labels) for name, labels in LABELS.items()}
    video = handle_file(str(videos["short"]))
    found = client.predict(video, "looks", "", "", 2, True, api_name="/classify")
    wanted = load_predictor(adapters["looks"], top_k=2, device="cpu")(str(videos["short"]))
    assert [entry["label"] for entry in found] == [entry["label"] for entry in wanted]
    assert [entry["score"] for entry in found] == pytest.approx([entry["score"] for entry in wanted], abs=1e-4)
    both = client.predict(video, "looks", "", "", 2, api_name="/compare")
    assert both["prompts_on"] == found
    assert both["prompts_off"] == client.predict(video, "looks", "", "", 2, False, api_name="/classify")
    windows = client.predict(video, "motions", "walking, slowly\nb", "a {}", 1, 1.0, 0.5, api_name="/timeline")
    assert [(window["start"], window["end"]) for window in windows] == [(0, 1), (0.5, 1.5), (1, 2)]
    assert {window["labels"][0]["label"] for window in windows} <= {"walking, slowly", "b"}


def test_a_client_is_told_in_one_line(app, videos):
    from gradio_client import Client, handle_file
    from gradio_client.exceptions import AppError

    client = Client(app, verbose=False)
    with pytest.raises(AppError, match=r"text\.mp4: is not a video"):
        client.predict(handle_file(str(videos["text"])), "looks", "", "", 2, True, api_name="/classify")
    with pytest.raises(AppError, match="nobody is not in the list of choices"):
        client.predict(handle_file(str(videos["short"])), "nobody", "", "", 2, True, api_name="/classify")


def test_a_path_of_the_server_that_was_not_uploaded_is_not_read(app):
    from urllib.request import Request, urlopen

    stolen = {"path": "/etc/passwd", "meta": {"_type": "gradio.FileData"}}
    body = json.dumps({"data": [stolen, "looks", "", "", 2, True]}).encode()
    address = f"{app}/gradio_api/call/classify"
    with urlopen(Request(address, body, {"Content-Type": "application/json"}), timeout=120) as reply:
        event = json.load(reply)["event_id"]
    with urlopen(f"{address}/{event}", timeout=120) as reply:
        answer = reply.read().decode()
    assert "event: error" in answer
    assert "root:" not in answer


def test_endpoints_are_tools_of_mcp(app):
    from urllib.request import urlopen

    with urlopen(f"{app}/gradio_api/mcp/schema", timeout=120) as reply:
        tools = {tool["name"]: tool for tool in json.load(reply)}
    assert {"classify", "timeline", "compare", "adapters"} == {name.rpartition("vita_clip_")[2] for name in tools}
    classify = next(tool for name, tool in tools.items() if name.endswith("classify"))
    assert "ranked labels" in classify["description"]
    assert "one a line" in classify["inputSchema"]["properties"]["labels"]["description"]
