"""Publishing through the real client to a Hub on this machine, and loading back from there."""

import json
from pathlib import Path

import pytest
import torch
from hub_server import Hub
from huggingface_hub import CommitInfo, CommitOperationAdd, ModelCard
from safetensors.torch import load
from tolerance import TOLERANCE, assert_stored_equal
from toy_checkpoint import WITHOUT_PACKAGE, toy_adapter_on, toy_processor, write_rising_video
from toy_vita_clip import LABELS, save_toy_clip, toy_clips

from vita_clip_hf import EfficientPromptModel, VitaClipModel
from vita_clip_hf.data import DecodedClips
from vita_clip_hf.hub import CardDetails, publish, publish_folder, upload
from vita_clip_hf.hub.cards import CARD_IS_GENERATED
from vita_clip_hf.training import VitaClipTrainer, VitaClipTrainingArguments

pytest_plugins = ["hub_server"]

BASE, ADAPTER = "user/toy-clip", "user/toy-adapter"
MODEL_FILES = {"config.json", "adapter_model.safetensors", "README.md"}
PROCESSOR_FILES = {"processor_config.json", "tokenizer.json", "tokenizer_config.json"}
SERVING_FILES = {"handler.py", "server.py", "requirements.txt", "Dockerfile"}


@pytest.fixture
def model(hub_here: Hub, tmp_path: Path) -> VitaClipModel:
    """An adapter whose base is on the Hub."""
    base = save_toy_clip(tmp_path / "base")
    hub_here.api().create_repo(BASE)
    hub_here.api().upload_folder(repo_id=BASE, folder_path=base)
    model = toy_adapter_on(base)
    model.config.base_model_name_or_path = BASE
    return model


def code_files() -> set[str]:
    import vita_clip_hf.modeling

    return {path.name for path in Path(vita_clip_hf.modeling.__file__).parent.glob("*_vita_clip.py")}


class TestModel:
    def test_everything_arrives_in_one_commit(self, hub_here, model):
        info = model.push_to_hub(ADAPTER, processor=toy_processor())
        assert isinstance(info, CommitInfo)
        assert hub_here.commit_titles(ADAPTER) == ["Upload model"]
        assert hub_here.file_names(ADAPTER) == MODEL_FILES | PROCESSOR_FILES | SERVING_FILES | code_files()

    def test_the_card_is_the_rendered_one_and_validates(self, hub_here, model):
        publish(model, ADAPTER, toy_processor(), CardDetails(license="mit", datasets=["user/data"]))
        card = ModelCard(hub_here.repository(ADAPTER).files()["README.md"].decode())
        assert (card.data.base_model, card.data.license, card.data.datasets) == (BASE, "mit", ["user/data"])
        assert "| global prompts | 8 in each layer |" in card.text
        validations = {request.status for request in hub_here.requests if "validate-yaml" in request.path}
        assert validations == {200}

    def test_nothing_of_this_machine_is_in_any_file(self, hub_here, model, tmp_path):
        model.push_to_hub(ADAPTER, processor=toy_processor())
        for name, content in hub_here.repository(ADAPTER).files().items():
            assert str(tmp_path).encode() not in content, name

    def test_commit_message_branch_and_pull_request_are_the_callers(self, hub_here, model):
        first = model.push_to_hub(ADAPTER, commit_message="First", private=True)
        model.logit_scale.data.add_(0.1)
        second = model.push_to_hub(ADAPTER, commit_message="On a branch", revision="warmer")
        model.logit_scale.data.add_(0.1)
        proposal = model.push_to_hub(ADAPTER, commit_message="Proposal", create_pr=True)
        assert hub_here.commit_titles(ADAPTER) == ["First"]
        assert hub_here.api().model_info(ADAPTER).private
        assert hub_here.api().model_info(ADAPTER).sha == first.oid
        assert hub_here.api().model_info(ADAPTER, revision="warmer").sha == second.oid
        assert proposal.pr_num == 1

    def test_without_a_processor_the_bases_is_published_for_the_models_frames(
        self, hub_here, model, tmp_path, monkeypatch, caplog
    ):
        toy_processor().save_pretrained(tmp_path / "base")
        model.config.base_model_name_or_path = "package://base_in_package/base"
        monkeypatch.setattr(upload, "locate_base", lambda name: str(tmp_path / "base"))
        model.config.name_or_path = model.config.base_model_name_or_path
        model.set_num_frames(6)
        model.push_to_hub(ADAPTER)
        settings = json.loads(hub_here.repository(ADAPTER).files()["processor_config.json"])
        assert settings["video_processor"]["num_frames"] == 6
        assert "for 6 frames sampled 'uniform': how clips were sampled in training is not known" in caplog.text

    def test_the_processor_beside_the_loaded_checkpoint_is_published_with_its_sampling(
        self, hub_here, model, tmp_path, caplog
    ):
        processor = toy_processor()
        processor.video_processor.sampling, processor.video_processor.frame_stride = "strided", 3
        processor.save_pretrained(tmp_path / "mine")
        model.config.name_or_path = str(tmp_path / "mine")
        model.push_to_hub(ADAPTER)
        settings = json.loads(hub_here.repository(ADAPTER).files()["processor_config.json"])["video_processor"]
        assert (settings["sampling"], settings["frame_stride"]) == ("strided", 3)
        assert "not known here" not in caplog.text

    def test_a_processor_that_is_there_stays(self, hub_here, model):
        processor = toy_processor()
        processor.video_processor.num_frames = 5
        model.push_to_hub(ADAPTER, processor=processor)
        model.push_to_hub(ADAPTER, commit_message="Again")
        settings = json.loads(hub_here.repository(ADAPTER).files()["processor_config.json"])
        assert settings["video_processor"]["num_frames"] == 5

    def test_a_full_checkpoint_replaces_an_adapter_in_the_same_commit(self, hub_here, model):
        model.push_to_hub(ADAPTER, processor=toy_processor())
        model.push_to_hub(ADAPTER, processor=toy_processor(), adapter_only=False, commit_message="Whole")
        assert hub_here.commit_titles(ADAPTER) == ["Whole", "Upload model"]
        assert "model.safetensors" in hub_here.file_names(ADAPTER)
        assert "adapter_model.safetensors" not in hub_here.file_names(ADAPTER)
        card = ModelCard(hub_here.repository(ADAPTER).files()["README.md"].decode())
        assert "A full checkpoint" in card.text

    def test_a_generated_card_is_renewed_and_a_changed_one_kept(self, hub_here, model):
        publish(model, ADAPTER, toy_processor(), CardDetails(license="mit"))
        publish(model, ADAPTER, toy_processor(), CardDetails(license="apache-2.0"), commit_message="Licence")
        card = hub_here.repository(ADAPTER).files()["README.md"].decode()
        assert "license: apache-2.0" in card
        mine = card.replace(CARD_IS_GENERATED, "").replace("## Limits", "## My words")
        hub_here.api().create_commit(
            ADAPTER, [CommitOperationAdd("README.md", mine.encode())], commit_message="My words"
        )
        publish(model, ADAPTER, toy_processor(), CardDetails(license="mit"), commit_message="Third")
        assert hub_here.repository(ADAPTER).files()["README.md"].decode() == mine

    def test_save_pretrained_can_push_too(self, hub_here, model, tmp_path):
        model.save_pretrained(tmp_path / "toy-adapter", push_to_hub=True, processor=toy_processor())
        assert hub_here.commit_titles(ADAPTER) == ["Upload model"]
        assert hub_here.file_names(ADAPTER) >= MODEL_FILES | PROCESSOR_FILES


def test_a_huge_configuration_of_a_repository_is_named_and_not_read(hub_here, model, monkeypatch):
    model.push_to_hub(ADAPTER, processor=toy_processor())
    monkeypatch.setattr("vita_clip_hf.modeling.configuration_vita_clip.MOST_BYTES_OF_CONFIG", 100)
    with pytest.raises(ValueError, match=r"config\.json has [\d,]+ bytes; expected a file of at most 100 bytes"):
        VitaClipModel.from_pretrained(ADAPTER)


class TestLocalBase:
    def test_it_is_refused_before_anything_is_created(self, hub_here, tmp_path):
        model = toy_adapter_on(save_toy_clip(tmp_path / "base"))
        with pytest.raises(ValueError, match=r"folder of this machine.* Set model\.config\.base_model_name_or_path"):
            model.push_to_hub(ADAPTER, processor=toy_processor())
        model.save_pretrained(tmp_path / "adapter")
        with pytest.raises(ValueError, match="folder of this machine"):
            publish_folder(tmp_path / "adapter", ADAPTER)
        assert not hub_here.api().repo_exists(ADAPTER)

    def test_the_whole_model_can_be_published_all_the_same(self, hub_here, tmp_path):
        model = toy_adapter_on(save_toy_clip(tmp_path / "base"))
        model.push_to_hub(ADAPTER, processor=toy_processor(), adapter_only=False)
        for name, content in hub_here.repository(ADAPTER).files().items():
            assert str(tmp_path).encode() not in content, name

    def test_a_base_in_a_package_is_public(self, hub_here, tmp_path):
        model = toy_adapter_on(save_toy_clip(tmp_path / "base"))
        model.config.base_model_name_or_path = "package://vita_clip_hf.demo/tiny_clip"
        model.push_to_hub(ADAPTER, processor=toy_processor())
        assert hub_here.file_names(ADAPTER) >= MODEL_FILES


class TestFolderProcessorAndTrainer:
    def test_of_a_folder_only_the_checkpoint_is_uploaded(self, hub_here, model, tmp_path):
        folder = tmp_path / "run"
        model.save_pretrained(folder)
        toy_processor().save_pretrained(folder)
        (folder / "training_args.bin").write_bytes(b"pickle")
        (folder / "trainer_state.json").write_text("{}")
        (folder / "checkpoint-1").mkdir()
        (folder / "checkpoint-1" / "config.json").write_text("{}")
        publish_folder(folder, ADAPTER, CardDetails(license="mit"))
        assert hub_here.commit_titles(ADAPTER) == ["Upload model"]
        assert hub_here.file_names(ADAPTER) == MODEL_FILES | PROCESSOR_FILES | SERVING_FILES | code_files()

    def test_a_folder_without_a_checkpoint_is_an_error(self, hub_here, tmp_path):
        with pytest.raises(OSError, match=r"has no config\.json"):
            publish_folder(tmp_path, ADAPTER)

    def test_a_processor_is_one_commit_and_leaves_the_rest_alone(self, hub_here, model):
        model.push_to_hub(ADAPTER, processor=toy_processor())
        before = hub_here.repository(ADAPTER).files()
        processor = toy_processor()
        processor.video_processor.num_frames = 7
        processor.push_to_hub(ADAPTER)
        assert hub_here.commit_titles(ADAPTER) == ["Upload processor", "Upload model"]
        after = hub_here.repository(ADAPTER).files()
        assert {name for name in after if after[name] != before.get(name)} == {"processor_config.json"}

    def test_the_trainer_pushes_its_model_processor_and_recipe_in_one_commit(self, hub_here, model, tmp_path):
        pixel_values = (toy_clips(batch=4).clamp(-1, 1) * 127 + 128).to(torch.uint8)
        settings = VitaClipTrainingArguments(
            output_dir=str(tmp_path / "run"),
            max_steps=2,
            per_device_train_batch_size=2,
            report_to="none",
            use_cpu=True,
            disable_tqdm=True,
            hub_model_id=ADAPTER,
            save_strategy="steps",
            save_steps=1,
        )
        trainer = VitaClipTrainer(
            model=model,
            args=settings,
            train_dataset=DecodedClips(pixel_values, torch.arange(4) % len(LABELS)),
            processing_class=toy_processor(),
        )
        trainer.train()
        info = trainer.push_to_hub(license="mit")
        assert info.oid == hub_here.api().model_info(ADAPTER).sha
        assert hub_here.commit_titles(ADAPTER) == ["End of training"]
        assert hub_here.file_names(ADAPTER) == MODEL_FILES | PROCESSOR_FILES | SERVING_FILES | code_files()
        card = hub_here.repository(ADAPTER).files()["README.md"].decode()
        assert "| steps | 2 |" in card
        assert "license: mit" in card
        assert trainer.push_to_hub(commit_message="Later", blocking=False).result().commit_message == "Later"


LOAD = """
import json
from transformers import AutoModel, AutoModelForVideoClassification, AutoProcessor, pipeline

repo, old, video = sys.argv[1:4]
trust = {"trust_remote_code": True}
model = AutoModel.from_pretrained(repo, **trust)
processor = AutoProcessor.from_pretrained(repo, **trust)
classify = pipeline("zero-shot-video-classification", model=repo, **trust)
pinned = AutoModelForVideoClassification.from_pretrained(repo, revision=old, **trust)
result = {
    "scales": [model.logit_scale.item(), pinned.logit_scale.item()],
    "commits": [model.config.base_model_revision, pinned.config.base_model_revision],
    "frames": processor.video_processor.num_frames,
    "own": classify(video),
    "module": type(model).__module__.partition(".")[0],
}
"""
PUSH_ON = """
model.push_to_hub("user/again")
processor.push_to_hub("user/again")
"""
PRINT = """
print(json.dumps(result))
"""


def run(hub: Hub, code: str, *arguments: str, offline: bool = False) -> dict:
    """What the code prints in a process of its own that has transformers but not the package."""
    return json.loads(
        hub.run_client(WITHOUT_PACKAGE + code + PRINT, *arguments, offline=offline).stdout.splitlines()[-1]
    )


def test_published_models_load_by_id_by_revision_offline_and_can_be_pushed_on(hub_here, model, tmp_path):
    video = str(write_rising_video(tmp_path / "video.mp4", num_frames=8))
    first = model.push_to_hub(ADAPTER, processor=toy_processor()).oid
    scale = model.logit_scale.item()
    with torch.no_grad():
        model.logit_scale.add_(0.5)
    model.push_to_hub(ADAPTER, processor=toy_processor(), commit_message="Warmer")

    result = run(hub_here, LOAD + PUSH_ON, ADAPTER, first, video)
    assert result["scales"] == pytest.approx([scale + 0.5, scale])
    assert result["module"] == "transformers_modules"
    assert result["frames"] == 4
    assert {entry["label"] for entry in result["own"]} == set(LABELS)

    # Pushed on from there, by transformers' own push_to_hub: the card is transformers', and all else is whole.
    assert hub_here.file_names("user/again") == hub_here.file_names(ADAPTER) - SERVING_FILES
    before, after = (hub_here.repository(name).files() for name in (ADAPTER, "user/again"))
    assert [name for name in code_files() if after[name] != before[name]] == []
    weights, expected = (load(content["adapter_model.safetensors"]) for content in (after, before))
    assert_stored_equal(weights, expected)
    assert CARD_IS_GENERATED not in after["README.md"].decode()

    answered = len(hub_here.requests)
    offline = run(hub_here, LOAD, ADAPTER, first, video, offline=True)
    assert {**offline, "own": None} == {**result, "own": None}
    scores, expected = ({entry["label"]: entry["score"] for entry in each["own"]} for each in (offline, result))
    assert scores == pytest.approx(expected, abs=TOLERANCE[torch.float32])
    assert len(hub_here.requests) == answered


def test_an_efficient_prompt_is_published_and_loads_as_an_adapter(hub_here, tmp_path):
    base = save_toy_clip(tmp_path / "base")
    hub_here.api().create_repo(BASE)
    hub_here.api().upload_folder(repo_id=BASE, folder_path=base)
    fields = {"num_temporal_heads": 4, "prefix_length": 4, "suffix_length": 3, "num_frames": 4}
    model = EfficientPromptModel.from_pretrained(BASE, id2label={0: "swim", 1: "tai chi"}, **fields).eval()
    publish(model, ADAPTER, toy_processor(), CardDetails(license="mit"))
    code = code_files() | {"configuration_efficient_prompt.py", "modeling_efficient_prompt.py"}
    assert hub_here.file_names(ADAPTER) == MODEL_FILES | PROCESSOR_FILES | SERVING_FILES | code
    card = ModelCard(hub_here.repository(ADAPTER).files()["README.md"].decode())
    card.validate()
    assert (card.data.base_model, card.data.base_model_relation) == (BASE, "adapter")
    assert "efficient-prompt" in card.data.tags
    assert "vita-clip" not in card.data.tags
    for text in (
        "EfficientPromptModel.from_pretrained",
        "ju2022prompting",
        "| learned vectors | 4 before a name and 3",
    ):
        assert text in card.content
    assert "| temporal Transformer | 5,140 |" in card.content
    loaded = EfficientPromptModel.from_pretrained(ADAPTER).eval()
    with torch.no_grad():
        logits, expected = (m(toy_clips()).logits_per_video for m in (loaded, model))
    torch.testing.assert_close(logits, expected)
