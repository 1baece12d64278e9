"""docs/reproduce.md: each command is one that the program takes, and what it says to expect is what comes out."""

import re
import shlex
from pathlib import Path

import pytest
import torch
from plain_vita_clip import PlainConfig, PlainVitaClip
from printed_code import REPOSITORY, printed_on
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode
from transformers import CLIPConfig, CLIPModel

from vita_clip_hf import EfficientPromptConfig, EfficientPromptModel, VitaClipConfig, VitaClipModel
from vita_clip_hf.cli import build_parser
from vita_clip_hf.evaluate import _changes
from vita_clip_hf.evaluation.protocols import Protocol, load_protocol, protocol_names
from vita_clip_hf.evaluation.report import Part
from vita_clip_hf.evaluation.run import plan_runs
from vita_clip_hf.evaluation.summary import summarise
from vita_clip_hf.evaluation.test_sets import choose_splits
from vita_clip_hf.training.command import parse

PAGE = "docs/reproduce.md"
TEXT = (REPOSITORY / PAGE).read_text(encoding="utf-8")
COMMANDS = [
    printed
    for printed in printed_on(PAGE)
    if printed.text.startswith("vita-clip") and " --" in printed.text and not printed.text.endswith("--list")
]
EXPECTED = re.compile(r"(\w+) = ([\d.]+) ± ([\d.]+)")
ON_THE_HUB = {
    "openai/clip-vit-base-patch16",
    *(f"microsoft/xclip-base-patch16{end}" for end in ("", "-16-frames", "-zero-shot")),
    *(f"microsoft/xclip-base-patch16-hmdb-{shots}-shot" for shots in (2, 4, 8, 16)),
}
LOOPS = {"$K": ("2", "4", "8", "16"), "$S": ("1", "2", "3")}


def words_of(command: str) -> list[str]:
    """As a shell gives them to the program, in the first round of a loop."""
    for variable, values in LOOPS.items():
        command = command.replace(variable, values[0])
    return shlex.split(command)[1:]


def protocol_of(options) -> Protocol:
    return load_protocol(options.protocol).with_changes(_changes(options.set))


@pytest.mark.parametrize("printed", COMMANDS, ids=lambda printed: printed.where)
def test_a_command_is_one_that_the_program_takes(printed, monkeypatch):
    monkeypatch.chdir(REPOSITORY)
    words = words_of(printed.text)
    if words[0] == "train":
        model, data, args = parse(words[1:], "vita-clip train")
        assert args.output_dir.startswith("runs/")
        assert {data.train.split("/")[0], data.validation.split("/")[0]} == {"data"}
        assert model.base == "openai/clip-vit-base-patch16"
        return
    options = build_parser().parse_args(words)
    if words[0] == "evaluate":
        protocol = protocol_of(options)
        assert options.dataset is None or protocol.dataset in (None, options.dataset)
        assert choose_splits(protocol, options.split)
        assert options.videos.parts[0] == options.list.split("/")[0] == "data"
        if any(split.classes for split in protocol.splits):
            assert options.classes is not None
        assert options.train_draws is None or protocol.kind == "episodes"
        assert (protocol.kind == "localisation") == (options.proposals is not None)


def figures_of(protocol: Protocol, model: str) -> set[str]:
    """The names of the figures that a report of the protocol quotes."""
    parts = [
        Part("", dict.fromkeys(protocol.metrics, 0.5), None, 1, 1, "", split.name, run.shots, run.seed, draw)
        for run in plan_runs(model, protocol)
        for split in protocol.splits
        for draw in (range(protocol.num_draws) if protocol.num_draws else [None])
    ]
    return set(summarise(parts, protocol))


def test_what_is_expected_is_a_figure_of_the_next_commands_report():
    expected, found = None, 0
    for block in re.findall(r"^```bash\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL):
        for line in block.splitlines():
            if line.startswith("#"):
                assert expected is None, f"no command after {expected}"
                expected = EXPECTED.findall(line)
                assert expected, line
            elif expected is not None and line.startswith("vita-clip evaluate"):
                options = build_parser().parse_args(words_of(line))
                names = figures_of(protocol_of(options), options.model[0])
                for name, figure, tolerance in expected:
                    assert name in names, f"{line}: {name} is not among {sorted(names)}"
                    assert 0 < float(tolerance) < float(figure) < 100
                    found += 1
                expected = None
    assert expected is None
    assert found >= 25


def test_models_of_evaluations_are_made_before_or_are_on_the_hub():
    made: set[str] = set()
    for printed in COMMANDS:
        for variable, values in LOOPS.items():
            if variable in printed.text:
                texts = [printed.text.replace(variable, value) for value in values]
                break
        else:
            texts = [printed.text]
        for text in texts:
            words = words_of(text)
            if words[0] == "train":
                made.add(words[words.index("--output_dir") + 1])
            elif words[0] == "convert":
                made.add(words[words.index("--out") + 1])
            elif words[0] == "evaluate":
                options = build_parser().parse_args(words)
                models = {run.model for run in plan_runs(options.model[0], protocol_of(options))}
                assert models <= made | ON_THE_HUB, printed.where
                made.add(str(options.out))
            elif words[0] == "publish":
                options = build_parser().parse_args(words)
                assert {options.folder, *options.report} <= made
                assert options.dry_run


def test_the_data_sets_protocols_are_all_on_the_page():
    """Those for videos of one's own reproduce nothing, nor does half of the classes, whose draws are not published."""
    named = {
        words_of(printed.text)[words_of(printed.text).index("--protocol") + 1]
        for printed in COMMANDS
        if "--protocol" in printed.text
    }
    own = {"supervised", "zero-shot", "few-shot", "base-to-novel", "retrieval", "localisation"}
    variants = {"zero-shot-hmdb51-half", "zero-shot-ucf101-half", "few-shot-ucf101", "few-shot-ssv2"}
    assert named | own | variants | {"retrieval-msrvtt-full"} == set(protocol_names())


# ---- what needs no data ----

VISION = {"hidden_size": 768, "intermediate_size": 3072, "patch_size": 16, "image_size": 224}
WIDTH = {"hidden_size": 512, "intermediate_size": 2048}
LABELS = {"id2label": {n: f"class {n}" for n in range(400)}, "label_token_ids": [[49406, 320, 269, 49407]] * 400}


def models(frames: int) -> dict[str, torch.nn.Module]:
    """ViT-B/16 without weights."""
    tower = {"num_attention_heads": 12, "num_hidden_layers": 12}
    text = {**WIDTH, "num_attention_heads": 8, "num_hidden_layers": 12}
    with torch.device("meta"):
        found = {
            "clip": CLIPModel(CLIPConfig(vision_config={**VISION, **tower}, text_config=text)),
            "efficient_prompt": EfficientPromptModel(
                EfficientPromptConfig(vision_config={**VISION, **tower}, text_config=text, num_frames=frames, **LABELS)
            ),
            "equations": PlainVitaClip(PlainConfig(num_frames=frames, text_num_prompts=16)),
            "vita_clip": VitaClipModel(
                VitaClipConfig(
                    vision_config={**VISION, **tower},
                    text_config={**text, "text_prompt_length": 16},
                    num_frames=frames,
                    **LABELS,
                )
            ),
        }
    return {name: model.eval() for name, model in found.items()}


def multiply_adds(call) -> float:
    """Billions of multiplications with an addition: half of what torch counts, which counts both."""
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        call()
    return counter.get_total_flops() / 2e9


def counts(frames: int) -> dict[str, float]:
    clip = torch.empty(1, frames, 3, 224, 224, device="meta")
    found = {name: model.requires_grad_(False) for name, model in models(frames).items()}
    return {
        "clip": multiply_adds(lambda: found["clip"].get_image_features(clip[0])),
        "efficient_prompt": multiply_adds(lambda: found["efficient_prompt"].get_video_features(clip)),
        "equations": multiply_adds(lambda: found["equations"].visual(clip.transpose(1, 2))),
        "vita_clip": multiply_adds(lambda: found["vita_clip"].get_video_features(clip)),
    }


@pytest.mark.parametrize("frames", [8, 16])
def test_the_page_has_the_operations_that_torch_counts(frames):
    row = re.search(rf"^\| {frames} \|(.*)\|$", TEXT, re.MULTILINE)
    printed = [float(cell) for cell in row[1].split("|")[:4]]
    found = counts(frames)
    assert printed == [round(found[name], 1) for name in ("clip", "efficient_prompt", "equations", "vita_clip")]
    assert found["vita_clip"] < found["clip"] < found["equations"]


def test_the_papers_97_are_less_than_any_vit_b_16_needs():
    """MLPs, attention's own products and patches alone make 97 G; q, k, v and output projections are not in it."""
    tokens, prompts, width, layers, frames = 197, 17, 768, 12, 8
    mlp = layers * tokens * 2 * width * 4 * width
    products = layers * 2 * (tokens + prompts) ** 2 * width
    patches = 196 * 16 * 16 * 3 * width
    assert round(frames * (mlp + products + patches) / 1e9) == 97
    projections = layers * 4 * tokens * width**2
    clip = frames * (mlp + layers * 2 * tokens**2 * width + patches + projections + width * 512) / 1e9
    assert clip == pytest.approx(counts(8)["clip"], rel=1e-3)


def test_the_page_has_the_trained_parameters():
    found = models(8)
    for name in ("vita_clip", "efficient_prompt"):
        trained = sum(weights.numel() for weights in found[name].parameters() if weights.requires_grad)
        assert f"{trained / 1e6:.3f} M" in TEXT, name
    frozen = [name for name, weights in found["vita_clip"].named_parameters() if not weights.requires_grad]
    assert any(Path(name).name.startswith("vision_model") for name in frozen)
