"""Every block of code and every command that the documentation prints runs as printed.

Names of models and data are folders of one world: `openai/clip-vit-base-patch16` there is the tiny CLIP, `user/...`
are adapters on it, `my_videos` small videos. Commands that train do one step. What is not run is listed by name, with
the reason, and its options and files are checked.
"""

import contextlib
import os
import re
import shlex
import shutil
import subprocess
import sys
import tarfile
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from printed_code import PAGES, REPOSITORY, Printed, printed_on
from study_files import SUPERVISED, write_study
from transformers import CLIPImageProcessor, CLIPTokenizer, XCLIPConfig, XCLIPModel, XCLIPProcessor

from vita_clip_hf import VitaClipModel, VitaClipProcessor, VitaClipVideoProcessor
from vita_clip_hf.cli import build_parser, main
from vita_clip_hf.demo.motion_shapes import MOTIONS, write_split
from vita_clip_hf.evaluation import run as evaluation_run
from vita_clip_hf.hub import render_card
from vita_clip_hf.training.command import parse as parse_settings

TINY_CLIP = REPOSITORY / "vita_clip_hf" / "demo" / "tiny_clip"
EXAMPLES = tuple(str(path.relative_to(REPOSITORY)) for path in sorted((REPOSITORY / "examples").glob("*.py")))
LABELS = MOTIONS[:2]
SIZE = 48
# Commands that are not run: a pattern of the whole command, and why. Their options and files are checked.
NOT_RUN = {
    r"load_videos\(\"user/name\".*": "needs the Hub",
    r"make .*": "makes environments or runs hours; the target is looked up",
    r"pip install .*": "changes the environment; the extra is looked up",
    r"vita-clip demo.*": "eight minutes and more; tests/demo/test_story.py runs it small",
    r"python examples/(studies/.*|compare_(backends|neighbours)\.py.*)": "minutes to hours; small in tests/examples",
    r"python examples/(evaluate|few_shot|zero_shot)\.py .*": "tests/examples/test_evaluation_examples.py runs them",
    r"accelerate launch -m vita_clip_hf\.cli": "tests/evaluation/test_command.py runs it in two processes",
    r"(\.venv/bin/)?python (-m benchmarks|benchmarks/).*": "minutes to hours; tests/benchmarks has the small forms",
    r"(?s)vita-clip publish (?!my_first_adapter ).*": "needs the Hub; tests/hub/test_publish.py has one",
    r"(?s)from vita_clip_hf\.hub import .*": "needs the Hub; tests/hub/test_publish.py has one",
    r"vita-clip convert k400\.pth .*": "needs the authors' checkpoint; tests/convert/test_files.py has one like it",
    r"(?s)from transformers import pipeline.*user/my-adapter.*": "needs the Hub; tests/hub/test_publish.py has one",
    r"vita-clip (convert|train|evaluate) .*\bdata/.*": "needs the data sets; tests/test_reproduce.py has the page",
    r"(?s)vita-clip app.*|from gradio_client import .*": "serves until it is stopped; tests/show/app runs both",
    r"(?s)from huggingface_hub import create_repo.*": "needs the Hub; tests/show/app/test_space.py runs the files",
    r"python server\.py .*": "serves until it is stopped; tests/hub_cards/test_server.py runs it",
    r"(?s)import mteb\n.*": "downloads data sets; tests/evaluation/test_mteb_models.py runs tasks on this disk",
    r"sbatch .*": "needs a cluster",
    r"accelerate launch .*ddp_8\.yaml.*": "needs eight GPUs",
    r"accelerate launch examples/train\.py( .*)?": "asks for a configuration of the machine; cpu_2.yaml is run",
}
if find_spec("mteb") is None:  # it needs Python 3.11
    NOT_RUN[r"(?s)from vita_clip_hf\.evaluation\.mteb_models import .*"] = "needs mteb"
ONE_STEP = (
    *("--max_steps", "1", "--use_cpu", "--report_to", "none", "--per_device_train_batch_size", "2"),
    *("--per_device_eval_batch_size", "2", "--eval_strategy", "no", "--save_strategy", "no", "--disable_tqdm", "true"),
    *("--dataloader_num_workers", "0", "--dataloader_persistent_workers", "false", "--temporal_views", "1"),
)


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> Path:
    """A folder in which the documentation's names of models, videos and lists exist."""
    folder = tmp_path_factory.mktemp("world")
    for name in ("openai/clip-vit-base-patch16", "openai/clip-vit-base-patch32"):
        shutil.copytree(TINY_CLIP, folder / name)
    write_models(folder)
    write_data(folder)
    write_studies(folder / "runs" / "compare_methods")
    for name in ("examples", "docs"):
        (folder / name).symlink_to(REPOSITORY / name)
    return folder


def write_models(folder: Path) -> None:
    clip = folder / "openai" / "clip-vit-base-patch16"
    model = VitaClipModel.from_pretrained(clip, id2label=dict(enumerate(LABELS)), num_frames=8)
    for name in ("user/vita-clip-adapter", "user/kinetics", "user/diving", "ADAPTER"):
        model.save_pretrained(folder / name)
        VitaClipProcessor.from_pretrained(clip, num_frames=8).save_pretrained(folder / name)
    model.save_pretrained(folder / "user" / "vita-clip-full", adapter_only=False)
    tower = {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 4, "num_hidden_layers": 1}
    mit = {
        "mit_hidden_size": 32,
        "mit_intermediate_size": 64,
        "mit_num_attention_heads": 4,
        "mit_num_hidden_layers": 1,
    }
    x_clip = XCLIPConfig(
        text_config={**tower, "vocab_size": 818, "eos_token_id": 817, "bos_token_id": 816, "pad_token_id": 817},
        vision_config={**tower, **mit, "image_size": SIZE, "patch_size": 8, "num_frames": 8},
        projection_dim=32,
        prompt_num_attention_heads=4,
    )
    place = folder / "microsoft" / "xclip-base-patch32"
    XCLIPModel(x_clip).save_pretrained(place)
    tokenizer = CLIPTokenizer.from_pretrained(clip)
    XCLIPProcessor(CLIPImageProcessor.from_pretrained(clip), tokenizer).save_pretrained(place)


def write_data(folder: Path) -> None:
    """Lists in every format, over the same few videos."""
    data = folder / "demo_output" / "data"
    for name, seed in (("train", 0), ("test", 1)):
        write_split(data, name, 4, seed, LABELS, num_frames=12, size=SIZE, progress=False)
    videos = sorted((data / "train").glob("*.mp4"))
    names = [label.replace(" ", "_") for label in LABELS]
    for split in ("train", "val"):
        for number, video in enumerate(videos):
            place = folder / "my_videos" / split / names[number % 2] / video.name
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(video, place)
    shutil.copy(videos[0], folder / "video.mp4")
    for root in ("videos", "UCF-101/Archery", "hmdb51/brush_hair", "data/k400"):
        (folder / root).mkdir(parents=True, exist_ok=True)
        for number, video in enumerate(videos):
            shutil.copy(video, folder / root / f"{number}.mp4")
    lines = "".join(f"{number}.mp4,{number % 2}\n" for number in range(4))
    rows = "".join(f"{LABELS[number % 2]},{number},0,1,train\n" for number in range(4))
    for name, text in {
        "val.txt": lines,
        "labels.csv": "id,name\n" + "".join(f"{number},{label}\n" for number, label in enumerate(LABELS)),
        "kinetics.csv": f"label,youtube_id,time_start,time_end,split\n{rows}",
        "ssv2_train.json": '[{"id": "0", "template": "Pushing [something]"}]',
        "labels.json": '{"Pushing something": "0"}',
        "ucfTrainTestlist/classInd.txt": "1 Archery\n",
        "ucfTrainTestlist/trainlist01.txt": "Archery/0.mp4 1\n",
        **{f"ucfTrainTestlist/testlist0{number}.txt": f"Archery/{number}.mp4\n" for number in (1, 2, 3)},
        "hmdb51_splits/brush_hair_test_split1.txt": "0.mp4 2\n1.mp4 1\n",
        "testlist01.txt": "Archery/0.mp4\n",
        "data/k400/train.csv": lines,
        "data/k400/val.csv": lines,
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    for name in ("train", "val"):
        (folder / f"{name}.csv").write_text("".join(f"videos/{line}" for line in lines.splitlines(keepends=True)))
        (folder / f"{name}.classes.txt").write_text("".join(f"{label}\n" for label in LABELS))
    write_shard(folder, videos)


def write_studies(folder: Path) -> None:
    """What a study left behind."""
    folder.mkdir(parents=True)
    runs = {"CLIP, mean of frames": SUPERVISED["frozen"], "Vita-CLIP": SUPERVISED["prompts"]}
    for name in ("supervised", "base_to_novel"):
        write_study(folder / f"{name}.json", runs)


def write_shard(folder: Path, videos: list[Path]) -> None:
    (folder / "shards").mkdir()
    (folder / "shards" / "0.cls").write_text("1")
    with tarfile.open(folder / "shards" / "0.tar", "w") as tar:
        tar.add(videos[0], "0.mp4")
        tar.add(folder / "shards" / "0.cls", "0.cls")


def reason_not_run(printed: Printed) -> str | None:
    return next((reason for pattern, reason in NOT_RUN.items() if re.fullmatch(pattern, printed.text)), None)


ALL = [printed for page in (*PAGES, *EXAMPLES) for printed in printed_on(page)]
COMMANDS = [printed for printed in ALL if printed.kind == "command"]


@pytest.mark.parametrize("page", [*PAGES, *EXAMPLES])
def test_a_page_runs_as_printed(world, monkeypatch, tmp_path, page):
    # What a page writes stays with it, and its pieces run in their order.
    for path in world.iterdir():
        if path.name != "runs":
            (tmp_path / path.name).symlink_to(path)
    shutil.copytree(world / "runs", tmp_path / "runs")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(evaluation_run, "DEFAULT_CACHE", str(tmp_path / "features"))
    sides = {"height": SIZE, "width": SIZE}
    names = {
        "clips": torch.zeros(1, 8, 3, SIZE, SIZE),
        "folder": TINY_CLIP,
        "video_processor": VitaClipVideoProcessor(size={"shortest_edge": SIZE}, crop_size=sides),
    }
    exec("from vita_clip_hf.data import load_videos", names)
    with torch.compiler.set_stance("force_eager"):  # compiled models have tests of their own
        for printed in printed_on(page):
            if reason_not_run(printed) is None:
                run_command(printed) if printed.kind == "command" else run_python(printed, names)


def run_python(printed: Printed, names: dict) -> None:
    exec(compile(printed.text, f"<{printed.where}>", "exec"), names)


def test_the_card_of_a_trained_adapter_prints_code_that_runs(world, monkeypatch):
    monkeypatch.chdir(world)
    card = render_card("user/kinetics", "user/kinetics")
    blocks = re.findall(r"^```python\n(.*?)^```$", card, re.MULTILINE | re.DOTALL)
    assert blocks
    for block in blocks:
        exec(block, {})


def run_command(printed: Printed) -> None:
    words = [path for word in shlex.split(printed.text) for path in expanded(word)]
    help_wanted = "--help" in words or "--help-all" in words
    if words[0] == "accelerate":
        command = [sys.executable, "-m", "accelerate.commands.accelerate_cli", *words[1:], *ONE_STEP]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        run = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
        assert run.returncode == 0, f"{printed.where}: {printed.text}\n{run.stdout[-1500:]}\n{run.stderr[-3000:]}"
        return
    if words[:2] == ["python", "examples/train.py"]:
        words[:2] = ["vita-clip", "train"]
    assert words[0] == "vita-clip", f"{printed.where}: no way to run `{printed.text}`: add one, or a reason to NOT_RUN"
    if len(words) == 2:  # the name of a command in the text
        words.append("--help")
        help_wanted = True
    if words[1] == "train" and not help_wanted:
        words += ONE_STEP
    if words[1] == "benchmark":
        words += ["--seconds", "0.01"]
    with contextlib.suppress(SystemExit) if help_wanted else contextlib.nullcontext():
        assert main(words[1:]) == 0, f"{printed.where}: {printed.text}"


def expanded(word: str) -> list[str]:
    """What a shell makes of a word."""
    return [str(path) for path in sorted(Path().glob(word))] if "*" in word else [word]


@pytest.mark.parametrize(
    "printed", [printed for printed in COMMANDS if reason_not_run(printed)], ids=lambda p: p.where
)
def test_a_command_that_is_not_run_names_what_exists(printed, monkeypatch):
    monkeypatch.chdir(REPOSITORY)
    words = shlex.split(printed.text)
    if words[0] == "make":
        targets = re.findall(r"^([\w-]+):", (REPOSITORY / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
        assert words[1] in targets, printed.where
    elif words[0] == "pip":
        extra = re.fullmatch(r"(?:\.|vita-clip-hf)\[(\w+)\]", words[2])
        packages = (REPOSITORY / "pyproject.toml").read_text(encoding="utf-8")
        assert words[2] == "." or re.search(rf"^{extra[1] if extra else words[2]}\b|\"{words[2]}>=", packages, re.M)
    elif words[:2] == ["vita-clip", "train"]:
        parse_settings(words[2:], "vita-clip train")
    elif words[0] == "vita-clip":
        build_parser().parse_args(words[1:])
    else:
        check_files_and_options(words, printed.where)


def check_files_and_options(words: list[str], where: str) -> None:
    """Files of the repository exist, and a program of it knows each option."""
    files = [word for word in words if word.startswith(("examples/", "benchmarks/")) and "." in word]
    assert all((REPOSITORY / file).is_file() for file in files), where
    sources = "\n".join(
        path.read_text(encoding="utf-8")
        for folder in ("benchmarks", "examples", "hub_cards", "vita_clip_hf/training")
        for path in (REPOSITORY / folder).rglob("*.py")
    )
    for option in (word for word in words if word.startswith("--") and word != "--config_file"):
        name = option[2:].partition("=")[0]
        assert re.search(rf"\b({name}|{name.replace('-', '_')})\b", sources), f"{where}: {option}"


def test_every_reason_not_to_run_is_needed():
    unused = [
        pattern for pattern in NOT_RUN if not any(re.fullmatch(pattern, printed.text, re.DOTALL) for printed in ALL)
    ]
    assert unused == []


def test_code_is_found_in_every_form():
    kinds = {printed.kind for printed in ALL}
    assert kinds == {"python", "call", "command"}
    assert {printed.page for printed in ALL} >= {"README.md", "docs/training.md", "examples/train.py"}
    texts = [printed.text for printed in COMMANDS]
    assert any(text.startswith("vita-clip train --train my_videos/train") and "--bf16" in text for text in texts)
