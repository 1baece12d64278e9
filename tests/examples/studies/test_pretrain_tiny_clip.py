"""The tiny CLIP: stills and captions it learns from, its tokenizer, its pretraining, and the shipped checkpoint."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from pretrain_tiny_clip import build_study, main, pretrain
from pretrain_tiny_clip import draw_stills as draw_stream
from tiny_clip.card import render_card
from tiny_clip.evaluation import evaluate_tiny_clip, linear_fit
from tiny_clip.model import PretrainingSettings
from tiny_clip.stills import (
    ATTRIBUTES,
    caption_is_true,
    draw_caption,
    draw_still,
    full_caption,
    render_still,
)
from tiny_clip.tokenizer import train_tokenizer
from tiny_clip.training import contrastive_loss, normalize, paint_stills
from transformers import AutoTokenizer, CLIPImageProcessor, CLIPModel, CLIPTokenizer
from vita_clip_hf.modeling.remote_code_vita_clip import locate_base

from vita_clip_hf.demo.motions import MOTIONS, UNSEEN_MOTIONS
from vita_clip_hf.demo.recipe import TINY_CLIP as NAME

TINY_CLIP = Path(locate_base(NAME))
TOY = PretrainingSettings(
    steps=2, batch_size=8, pictures=16, held_out=40, vision_width=32, vision_layers=3, text_width=32, projection=16
)


def draw_stills(count, seed=0):
    rng = np.random.default_rng(seed)
    return [draw_still(rng) for _ in range(count)]


def test_a_caption_is_true_of_its_own_picture():
    rng = np.random.default_rng(0)
    stills = draw_stills(300)
    captions = [draw_caption(rng, still) for still in stills]
    truth = caption_is_true(
        np.stack([still.attributes for still in stills]), np.stack([caption.claims for caption in captions])
    )
    assert truth.diagonal().all()
    assert truth.mean() < 0.1


def test_a_caption_claims_what_it_says_and_nothing_else():
    rng = np.random.default_rng(1)
    for still in draw_stills(300, seed=2):
        caption = draw_caption(rng, still)
        claimed = dict(zip(ATTRIBUTES, caption.claims >= 0, strict=True))
        if still.attributes[0]:
            assert claimed["color"] == (still.color in caption.text)
            assert claimed["shape"] == (still.shape in caption.text)
            assert sum(claimed[f"x{grid}"] or claimed[f"y{grid}"] for grid in (3, 5, 7)) <= 1


def test_captions_say_nothing_of_time():
    rng = np.random.default_rng(0)
    words = {word for still in draw_stills(3000) for word in draw_caption(rng, still).text.split()}
    of_motion = {word for name in (*MOTIONS, *UNSEEN_MOTIONS) for word in name.split() if word.endswith("ing")}
    assert not words & (of_motion | {"clockwise", "counter-clockwise", "diagonally", "inwards", "outwards", "video"})


def test_an_invisible_shape_is_called_nothing():
    still = next(still for still in draw_stills(300) if still.opacity == 0)
    caption = draw_caption(np.random.default_rng(0), still)
    assert any(words in caption.text for words in ("empty background", "nothing", "no shape"))
    assert list(caption.claims) == [0] + [-1] * (len(ATTRIBUTES) - 1)
    with pytest.raises(ValueError, match="invisible"):
        full_caption(still)


def test_stills_are_painted_alike_every_time():
    still = draw_stills(1)[0]
    assert render_still(still).shape == (64, 64, 3)
    np.testing.assert_array_equal(render_still(still), render_still(still))


def test_painted_stills_are_what_the_image_processor_gives():
    processor = CLIPImageProcessor(size={"shortest_edge": 48}, crop_size={"height": 48, "width": 48})
    stills = draw_stills(3)
    expected = processor([render_still(still) for still in stills], return_tensors="pt").pixel_values
    torch.testing.assert_close(normalize(paint_stills(stills, processor), processor), expected, atol=1e-5, rtol=0)


def test_a_trained_tokenizer_writes_any_text_and_reads_back_from_disk(tmp_path):
    tokenizer = train_tokenizer(["a small red circle", "moving left"] * 5, vocab_size=600)
    text = "Naïve café, 日本語 🙂 \t x1"
    ids = tokenizer(text).input_ids
    # The unknown token is the end of text: it comes once, so no byte was unknown.
    assert ids.count(tokenizer.eos_token_id) == 1
    assert ids[0] == tokenizer.bos_token_id
    assert ids[-1] == tokenizer.eos_token_id == len(tokenizer) - 1
    assert tokenizer.tokenize("red circle") == ["red</w>", "circle</w>"]
    tokenizer.save_pretrained(tmp_path)
    assert CLIPTokenizer.from_pretrained(tmp_path)(text).input_ids == ids


def test_a_vocabulary_too_small_for_all_bytes_is_refused():
    with pytest.raises(ValueError, match="at least 514"):
        train_tokenizer(["a"], vocab_size=100)


def test_a_true_caption_of_another_picture_is_no_negative():
    embeds = torch.nn.functional.normalize(torch.tensor([[1.0, 0.0], [1.0, 0.0]]), dim=-1)
    scale = torch.tensor(10.0)
    other_true = torch.tensor([[True, True], [True, True]])
    assert contrastive_loss(embeds, embeds, scale, other_true).item() == pytest.approx(0.0)
    assert contrastive_loss(embeds, embeds, scale, torch.eye(2, dtype=torch.bool)).item() == pytest.approx(np.log(2))


def test_linear_fit_finds_what_is_linear_and_nothing_in_noise():
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(2000, 8, generator=generator)
    targets = torch.stack([features @ torch.arange(8.0), torch.randn(2000, generator=generator)], dim=1)
    linear, noise = linear_fit(features, targets)
    assert linear > 0.999
    assert abs(noise) < 0.05


def test_pretraining_writes_a_whole_checkpoint_the_same_one_every_time(tmp_path, monkeypatch):
    pretrain(TOY, tmp_path / "one", log_every=1)
    study = build_study(TOY, log_every=1)
    runs = study.run(tmp_path / "two")
    two = tmp_path / "two" / "pretraining_runs" / "tiny_CLIP-seed0"
    assert sorted(path.name for path in (*tmp_path.iterdir(), *two.iterdir())) == [
        "checkpoint",
        "figures.json",
        "one",
        "two",
    ]
    weights = [CLIPModel.from_pretrained(folder).state_dict() for folder in (tmp_path / "one", two / "checkpoint")]
    assert all(torch.equal(weight, weights[1][name]) for name, weight in weights[0].items())
    assert all(weight.dtype == torch.float32 for weight in weights[0].values())
    log = [json.loads(line) for line in (tmp_path / "one" / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in log] == [1, 2]
    assert "retrieval" in (tmp_path / "one" / "README.md").read_text().lower()
    assert "| shape, 1 of 9 |" in (tmp_path / "two" / "pretraining.md").read_text()
    monkeypatch.setattr("pretrain_tiny_clip.pretrain", None)  # the study does not train again
    assert study.run(tmp_path / "two") == runs


def test_an_interrupted_pretraining_leaves_the_old_checkpoint(tmp_path, monkeypatch):
    (tmp_path / "clip").mkdir()
    (tmp_path / "clip" / "old.txt").write_text("old")

    def fail(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("tiny_clip.training.training_loss", fail)
    with pytest.raises(KeyboardInterrupt):
        pretrain(TOY, tmp_path / "clip")
    assert [path.name for path in tmp_path.rglob("*")] == ["clip", "old.txt"]


def test_help_teaches_every_setting(capsys):
    with pytest.raises(SystemExit, match="0"):
        main(["--help"])
    text = capsys.readouterr().out
    assert all("--" + name.replace("_", "-") in text for name in vars(TOY))
    assert "CLIPModel.from_pretrained" in text


@pytest.fixture(scope="module")
def shipped():
    return CLIPModel.from_pretrained(TINY_CLIP).eval(), CLIPTokenizer.from_pretrained(TINY_CLIP)


def test_the_shipped_checkpoint_is_small_whole_and_of_float32(shipped):
    model, tokenizer = shipped
    assert (TINY_CLIP / "model.safetensors").stat().st_size < 5_000_000
    assert model.dtype == torch.float32
    assert model.config.text_config.eos_token_id == tokenizer.eos_token_id
    assert model.config.text_config.vocab_size == len(tokenizer)
    assert isinstance(AutoTokenizer.from_pretrained(TINY_CLIP), CLIPTokenizer)
    size = CLIPImageProcessor.from_pretrained(TINY_CLIP).crop_size
    assert size["height"] == model.config.vision_config.image_size


def test_the_shipped_tokenizer_spells_no_motion_out_in_letters(shipped):
    _, tokenizer = shipped
    for name in (*MOTIONS, *UNSEEN_MOTIONS):
        assert len(tokenizer.tokenize(name)) <= len(name.replace("-", " - ").split())


def test_the_shipped_checkpoint_sees_as_sharply_as_its_card_says(shipped):
    stills = draw_stills(500, seed=11)
    pixels = normalize(paint_stills(stills, CLIPImageProcessor.from_pretrained(TINY_CLIP)), CLIPImageProcessor())
    figures = evaluate_tiny_clip(*shipped, pixels, stills)
    log = [json.loads(line) for line in (TINY_CLIP / "log.jsonl").read_text().splitlines()]
    for name in ("zero_shot/color", "zero_shot/shape", "zero_shot/size", "zero_shot/place"):
        assert figures[name] > log[-1][name] - 0.1, name


def test_the_shipped_card_is_the_one_that_pretraining_writes(shipped):
    settings = json.loads((TINY_CLIP / "settings.json").read_text())
    last = json.loads((TINY_CLIP / "log.jsonl").read_text().splitlines()[-1])
    held_out = draw_stream(PretrainingSettings(**settings), settings["held_out"], 3)
    last["visible"] = sum(int(still.attributes[0]) for still in held_out)  # not in a log as old as this
    parameters = sum(weight.numel() for weight in shipped[0].parameters())
    assert (TINY_CLIP / "README.md").read_text(encoding="utf-8") == render_card(settings, last, parameters)
