"""mteb's own tasks run over every kind of model, and give what a plain computation gives."""

import logging
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from absent import without
from plain_evaluation import clips_of, top_1
from tolerance import assert_computed_equal
from toy_checkpoint import save_toy_checkpoint, toy_adapter_on, toy_processor
from toy_vita_clip import NUM_FRAMES, toy_tokenizer
from toy_x_clip import save_toy_x_clip
from transformers import CLIPModel, XCLIPModel

from vita_clip_hf import EfficientPromptModel, VitaClipModel, VitaClipVideoProcessor
from vita_clip_hf.demo.motion_shapes import MOTIONS, write_split
from vita_clip_hf.evaluation.mteb_models import MtebEncoder

mteb = pytest.importorskip("mteb")
tasks = pytest.importorskip("mteb_tasks")
LABELS = list(MOTIONS[:3])
TEXTS = [f"a {name}" for name in LABELS]
ONE_VIEW = {"num_frames": NUM_FRAMES, "frame_stride": None, "temporal_views": 1, "spatial_views": 1}
SIX_VIEWS = {"num_frames": NUM_FRAMES, "frame_stride": 2, "temporal_views": 2, "spatial_views": 3}
# Folder of the model, its class, and the clips that its processor was saved for.
KINDS = {
    "adapter": (VitaClipModel, ONE_VIEW),
    "views": (VitaClipModel, SIX_VIEWS),
    "base": (CLIPModel, ONE_VIEW),
    "x_clip": (XCLIPModel, ONE_VIEW),
    "efficient": (EfficientPromptModel, ONE_VIEW),
}


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("home")
    save_toy_checkpoint(folder)
    toy_processor().save_pretrained(folder / "base")
    toy_adapter_on(folder / "base", seed=2).save_pretrained(folder / "views")
    processor = toy_processor()
    video = processor.video_processor
    video.sampling, video.frame_stride, video.num_temporal_views, video.num_spatial_views = "strided", 2, 2, 3
    processor.save_pretrained(folder / "views")
    save_toy_x_clip(folder / "x_clip")
    vectors = {"prefix_length": 2, "suffix_length": 3, "num_temporal_heads": 4}
    efficient = EfficientPromptModel.from_pretrained(
        folder / "base", id2label=dict(enumerate(LABELS)), num_frames=NUM_FRAMES, **vectors
    )
    efficient.save_pretrained(folder / "efficient")
    toy_processor().save_pretrained(folder / "efficient")
    for name, seed in (("train", 0), ("test", 1)):
        write_split(folder, name, 9, seed, LABELS, num_frames=12, size=32, progress=False)
    return folder


@pytest.fixture(scope="module")
def encoders(home) -> dict[str, MtebEncoder]:
    return {name: MtebEncoder(home / name, device="cpu") for name in KINDS}


def run(encoder: MtebEncoder, task) -> dict:
    """The scores of the test split."""
    return mteb.evaluate(encoder, task, cache=None, co2_tracker=False).task_results[0].scores["test"][0]


@torch.no_grad()
def plain_videos(home: Path, name: str, split: str) -> tuple[torch.Tensor, list[int]]:
    """Video features `(N, D')`, the mean over the views, and labels: by PyAV and the model's own methods."""
    model_class, facts = KINDS[name]
    model = model_class.from_pretrained(home / name).eval()
    processor = VitaClipVideoProcessor.from_pretrained(home / name, num_temporal_views=1, num_spatial_views=1)
    videos, labels = tasks.read_list(home / f"{split}.csv")
    found = []
    for video in videos:
        clips = clips_of(str(video), processor, facts)
        if model_class is CLIPModel:
            frames = model.get_image_features(clips.flatten(0, 1)).pooler_output
            found.append(frames.unflatten(0, clips.shape[:2]).mean(dim=(0, 1)))
        else:
            found.append(model.get_video_features(clips).pooler_output.mean(dim=0))
    return torch.stack(found), labels


@torch.no_grad()
def plain_texts(home: Path, name: str, texts: list[str]) -> torch.Tensor:
    model = KINDS[name][0].from_pretrained(home / name).eval()
    return torch.cat(
        [model.get_text_features(**toy_tokenizer()(text, return_tensors="pt")).pooler_output for text in texts]
    )


def cosines(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    return (first / first.norm(dim=-1, keepdim=True)) @ (second / second.norm(dim=-1, keepdim=True)).T


@pytest.mark.parametrize("name", KINDS)
def test_zero_shot_classification_and_retrieval_are_a_plain_computation(home, encoders, name):
    videos, labels = plain_videos(home, name, "test")
    task = tasks.MotionShapesZeroShot(home / "test.csv", LABELS)
    texts = plain_texts(home, name, task.get_candidate_labels())
    assert run(encoders[name], task)["accuracy"] == pytest.approx(top_1(cosines(videos, texts), labels))
    found = run(encoders[name], tasks.MotionShapesRetrieval(home / "test.csv", LABELS, TEXTS))
    order = cosines(plain_texts(home, name, TEXTS), videos).argsort(dim=1, descending=True)
    right = torch.tensor(labels)[order] == torch.arange(len(TEXTS))[:, None]
    for first in (1, 3, 5):  # the share of the videos of a text that are among the first
        recall = (right[:, :first].sum(dim=1) / right.sum(dim=1)).mean()
        assert found[f"recall_at_{first}"] == pytest.approx(recall.item(), abs=1e-5)


@pytest.mark.parametrize("name", ["adapter", "x_clip"])
def test_classification_fits_the_plain_embeddings(home, encoders, name):
    from sklearn.linear_model import LogisticRegression

    (train, train_labels), (test, test_labels) = (plain_videos(home, name, split) for split in ("train", "test"))
    fitted = LogisticRegression(max_iter=100).fit(train.numpy(), train_labels)
    task = tasks.MotionShapesClassification(home / "train.csv", home / "test.csv", LABELS)
    assert run(encoders[name], task)["accuracy"] == pytest.approx(fitted.score(test.numpy(), test_labels))


def encode(encoder: MtebEncoder, rows, **settings) -> torch.Tensor:
    loader = torch.utils.data.DataLoader(rows, batch_size=4, **settings)
    metadata = tasks.MotionShapesZeroShot.metadata
    return encoder.encode(loader, task_metadata=metadata, hf_split="test", hf_subset="default")


@pytest.mark.parametrize(("kind", "workers"), [("decoded", 0), ("decoded", 1), ("not decoded", 0), ("path", 0)])
def test_a_video_may_come_as_a_file_in_every_form(home, encoders, kind, workers):
    rows = tasks.videos_of(home / "test.csv", LABELS, kind)
    found = encode(encoders["adapter"], rows, num_workers=workers)
    assert_computed_equal(found, plain_videos(home, "adapter", "test")[0])


def test_frames_in_memory_are_sampled_like_a_file(home, encoders):
    from datasets import Array4D, Dataset, Features
    from plain_evaluation import all_frames

    videos, _ = tasks.read_list(home / "test.csv")
    frames = [all_frames(video)[0] for video in videos]
    features = Features({"video": Array4D(shape=frames[0].shape, dtype="uint8")})
    rows = Dataset.from_dict({"video": frames}, features)
    found = encode(encoders["views"], rows.with_format("torch"))
    assert_computed_equal(found, plain_videos(home, "views", "test")[0])
    with pytest.raises(ValueError, match="a list of list, expected a list of frames"):
        encode(encoders["views"], rows)  # pixels in nested lists


def test_a_row_with_video_and_text_is_their_sum_and_other_rows_are_refused(home, encoders):
    rows = tasks.videos_of(home / "test.csv", LABELS, "decoded")
    both = encode(encoders["adapter"], rows.add_column("text", ["a shape"] * len(rows)))
    text = plain_texts(home, "adapter", ["a shape"])
    assert_computed_equal(both, plain_videos(home, "adapter", "test")[0] + text)
    with pytest.raises(ValueError, match="MotionShapesZeroShot: expected a column 'video' or 'text', found label"):
        encode(encoders["adapter"], rows.remove_columns("video"))


def test_a_video_that_cannot_be_read_is_named(home, encoders):
    rows = tasks.videos_of(home / "test.csv", LABELS, "not decoded")
    bad = rows.select([0]).map(lambda row: {"video": {"bytes": b"no video", "path": "bad.mp4"}})
    with pytest.raises(OSError, match=r"^bad\.mp4: "):
        encode(encoders["adapter"], bad)


@pytest.mark.parametrize(("name", "limit"), [("base", 40), ("x_clip", 40), ("efficient", 35)])
@torch.no_grad()
def test_long_texts_are_cut_and_counted(home, encoders, caplog, name, limit):
    from datasets import Dataset

    texts = ["a b", "a " * 60]
    with caplog.at_level(logging.WARNING):
        found = encode(encoders[name], Dataset.from_dict({"text": texts}))
    assert f"1 of 2 texts are longer than the {limit} tokens that the model reads, 62 at most" in caplog.text
    assert_computed_equal(found, plain_texts(home, name, ["a b", "a " * (limit - 2)]))
    assert encoders[name].mteb_model_meta.max_tokens == limit
    with pytest.raises(ValueError, match=r"(?i)sequence length|takes"):
        encoders[name].model.encode_texts(texts)


# ---- what mteb is told ----


def test_what_is_not_known_is_none_for_mteb(encoders):
    meta = encoders["adapter"].mteb_model_meta
    assert meta.name == "local/adapter"
    assert f"sha256:{meta.revision}" == meta.loader_kwargs["fingerprint"]
    assert meta.training_datasets is None
    assert meta.is_zero_shot_on(["HMDB51Classification"]) is None
    assert meta.license is None
    assert (meta.embed_dim, meta.modalities) == (20, ["video", "text"])
    assert meta.n_parameters == sum(weight.numel() for weight in encoders["adapter"].model.model.parameters())


def test_the_caller_says_what_the_model_was_trained_on(home, caplog):
    def meta(names):
        return MtebEncoder(home / "adapter", device="cpu", training_datasets=names).mteb_model_meta

    assert meta(["HMDB51Classification"]).is_zero_shot_on(["HMDB51Classification"]) is False
    assert meta(["HMDB51Classification"]).is_zero_shot_on(["Kinetics600V"]) is True
    assert meta([]).training_datasets == set()
    assert caplog.text == ""
    assert meta({"HMDB51"}).training_datasets == {"HMDB51"}
    assert "training_datasets has HMDB51, and mteb has no video tasks of these names" in caplog.text
    with pytest.raises(ValueError, match="expected a set of names"):
        meta("HMDB51")


def test_a_card_says_what_the_model_was_trained_on(home, tmp_path, caplog):
    def meta(datasets):
        (tmp_path / "README.md").write_text(f"---\nlicense: mit\ndatasets: {datasets}\n---\n")
        return MtebEncoder(tmp_path, device="cpu").mteb_model_meta

    toy_adapter_on(home / "base").save_pretrained(tmp_path)
    toy_processor().save_pretrained(tmp_path)
    known = meta("[mteb/HMDB51]")
    assert known.license == "mit"
    assert known.training_datasets >= {"HMDB51Classification", "HMDB51ZeroShot"}
    assert known.is_zero_shot_on(["HMDB51Classification"]) is False
    # A part of what it was trained on would say too little.
    assert meta("[mteb/HMDB51, user/videos]").training_datasets is None
    assert "mteb has no task on user/videos" in caplog.text


def test_results_are_kept_apart_by_weights_and_loaded_again(home, encoders, tmp_path):
    meta = encoders["adapter"].mteb_model_meta
    cache = mteb.ResultCache(tmp_path)
    task = tasks.MotionShapesZeroShot(home / "test.csv", LABELS)
    mteb.evaluate(encoders["adapter"], task, cache=cache, co2_tracker=False)
    written = next(tmp_path.rglob("model_meta.json"))
    assert written.parent.name == meta.revision
    assert meta.loader_kwargs["fingerprint"] in written.read_text()
    assert str(home) not in written.read_text()
    assert encoders["views"].mteb_model_meta.revision != meta.revision
    again = meta.loader(meta.name, revision=meta.revision, device="cpu", **meta.loader_kwargs)  # as mteb does
    assert again.mteb_model_meta == meta.model_copy(update={"loader": again.mteb_model_meta.loader})
    half = MtebEncoder(home / "adapter", device="cpu", dtype="bfloat16").mteb_model_meta
    assert half.experiment_kwargs == {"dtype": "bfloat16"}
    with pytest.raises(ValueError, match="not those of the fingerprint sha256:0; found sha256:"):
        MtebEncoder(home / "adapter", device="cpu", fingerprint="sha256:0")


def test_without_mteb_one_line_says_what_to_install(home):
    code = f"""
from vita_clip_hf.evaluation.mteb_models import MtebEncoder
try:
    MtebEncoder({str(home / "adapter")!r})
except ImportError as error:
    print(error)
"""
    command = [sys.executable, "-c", without("mteb") + code]
    printed = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True).stdout
    assert "need mteb, on Python 3.11 or newer" in printed
    assert "pip install 'vita-clip-hf[mteb]'" in printed
