"""Cards: complete, valid by the Hub's rules, and honest about what a folder holds."""

import pytest
from hub_card_rules import check_card
from huggingface_hub import EvalResult, ModelCard
from toy_checkpoint import save_toy_checkpoint, toy_adapter_on
from toy_vita_clip import LABELS, save_toy_clip

from vita_clip_hf import VitaClipModel
from vita_clip_hf.hub import CardDetails, render_card
from vita_clip_hf.hub.example import Example

BASE = "openai/clip-vit-base-patch16"
RESULT = EvalResult(
    task_type="video-classification",
    dataset_type="kinetics400",
    dataset_name="Kinetics | 400",
    dataset_split="validation",
    metric_type="accuracy",
    metric_name="top-1",
    metric_value=0.8051,
)
DETAILS = CardDetails(
    license="apache-2.0",
    language="en",
    tags=["kinetics"],
    datasets=["user/kinetics"],
    results=[RESULT],
    training={"steps": 30000, "schedule": "cosine | 0"},
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """An adapter that names a base on the Hub."""
    return save_with_base(tmp_path_factory.mktemp("checkpoint"), BASE)


def save_with_base(folder, base: str, **options):
    adapter = save_toy_checkpoint(folder, **options)
    model = VitaClipModel.from_pretrained(adapter)
    model.config.base_model_name_or_path = base
    model.config.base_model_revision = "0123456789" * 4
    model.save_pretrained(adapter)
    return adapter


@pytest.mark.parametrize("render", [render_card, lambda *where: render_card(*where, DETAILS)])
def test_metadata_is_valid_by_the_hubs_rules(folder, render):
    card = render(folder, "user/my-model")
    report = check_card(card, "model")
    assert (report.errors, report.warnings) == ([], [])
    metadata = ModelCard(card).data.to_dict()
    assert metadata["library_name"] == "transformers"
    assert metadata["pipeline_tag"] == "video-classification"
    assert (metadata["base_model"], metadata["base_model_relation"]) == (BASE, "adapter")
    assert {"vita-clip", "zero-shot-video-classification"} <= set(metadata["tags"])


def test_details_are_in_metadata_and_text(folder):
    card = render_card(folder, "user/my-model", DETAILS)
    metadata = ModelCard(card).data
    assert (metadata.license, metadata.language, metadata.datasets) == ("apache-2.0", "en", ["user/kinetics"])
    assert (metadata.model_name, metadata.metrics) == ("my-model", ["accuracy"])
    assert [(result.metric_value, result.dataset_split) for result in metadata.eval_results] == [
        (0.8051, "validation")
    ]
    assert "kinetics" in metadata.tags
    assert "| Kinetics \\| 400 (validation) | top-1 | 0.8051 |" in card
    assert "| schedule | cosine \\| 0 |" in card


def test_without_details_there_is_no_word_of_them(folder):
    card = render_card(folder, "user/my-model")
    assert "license" not in ModelCard(card).data.to_dict()
    assert "## Results" not in card
    assert "## Training" not in card


EXAMPLE = Example("example.mp4", [{"label": "swim | dive", "score": 0.75}, {"label": "tai chi", "score": 0.25}])


def test_an_example_is_the_widgets_sample_with_its_answer_and_shown_in_the_text(folder):
    files = ("example.mp4", "preview.png", "ablation.png", "handler.py", "training_log.json")
    card = render_card(folder, "user/my-model", CardDetails(example=EXAMPLE, files=files))
    report = check_card(card, "model")
    assert (report.errors, report.warnings) == ([], [])
    assert ModelCard(card).data.widget == [
        {"src": "example.mp4", "example_title": "an example", "output": EXAMPLE.output}
    ]
    for words in (
        "| swim \\| dive | 0.750 |",
        "](preview.png)",
        "![Ablation](ablation.png)",
        "[training_log.json](training_log.json)",
        "`handler.py` is\nfor Inference Endpoints",
    ):
        assert words in card, words


@pytest.mark.parametrize("details", [CardDetails(), DETAILS, CardDetails(example=EXAMPLE, files=("preview.png",))])
def test_every_card_says_what_the_widget_is_and_what_the_model_is_not(folder, details):
    card = render_card(folder, "user/my-model", details)
    for words in ("runs no code of a repository", "## Limits", "biases included", "## Citation", "hears no sound"):
        assert words in card, words
    assert ("has named no licence" in card) == (details.license is None)
    assert "example.mp4" in card or details.example is None
    assert "\n\n\n" not in card


def test_protocols_of_results_are_named(folder):
    result = EvalResult(**{**vars(RESULT), "dataset_args": {"protocol": "supervised-k400-4x3", "partial": False}})
    card = render_card(folder, "user/my-model", CardDetails(results=[result]))
    assert "under the protocol supervised-k400-4x3" in " ".join(card.split())
    assert "under the protocol" not in render_card(folder, "user/my-model", DETAILS)


def test_usage_names_the_repository_and_is_five_lines_of_python(folder):
    card = render_card(folder, "user/my-model")
    usage = card.partition("```python\n")[2].partition("```")[0]
    compile(usage, "usage", "exec")
    assert len(usage.strip().splitlines()) == 5
    assert 'model="user/my-model"' in usage


def test_settings_and_sizes_are_those_of_the_folder(folder):
    card = render_card(folder, "user/my-model")
    assert "| frames of a clip | 4 of 16 x 16 pixels |" in card
    assert "| learned contexts | 8 for each class, name at the end |" in card
    assert "| sampling | uniform, 1 view of each video |" in card
    contexts = len(LABELS) * 8 * 24
    assert f"| class contexts | {contexts} |" in card
    prompts = sum(p.numel() for p in VitaClipModel.from_pretrained(folder.parent / "base").parameters())
    assert "| CLIP |" not in card
    assert prompts > contexts


def test_int8_storage_counts_the_same_parameters(folder, tmp_path):
    save_with_base(tmp_path, BASE)
    adapter = tmp_path / "adapter"
    counted = [line for line in render_card(adapter, "a/b").splitlines() if line.startswith("| in all")]
    model = VitaClipModel.from_pretrained(adapter, base_model_name_or_path=str(tmp_path / "base"))
    model.save_pretrained(adapter, adapter_dtype="int8")
    assert [line for line in render_card(adapter, "a/b").splitlines() if line.startswith("| in all")] == counted


def test_prompts_that_are_off_are_said_to_be_off(tmp_path):
    fields = {"use_summary_token": False, "use_global_prompts": False, "text_prompt_length": 0}
    card = render_card(save_with_base(tmp_path, BASE, **fields), "user/my-model")
    for setting in ("summary token", "global prompts", "learned contexts"):
        assert f"| {setting} | off |" in card


def test_many_labels_are_folded_away_and_few_are_not(folder, tmp_path):
    few = render_card(folder, "user/my-model")
    assert "<details>" not in few
    assert "```text\nride_bike\ntai chi\nswim\n```" in few
    many = [f"class {number}" for number in range(21)]
    save_with_base(tmp_path, BASE, labels=many)
    card = render_card(tmp_path / "adapter", "user/my-model")
    assert "<details><summary>21 classes</summary>\n\n```text\nclass 0\n" in card


def test_a_full_checkpoint_is_no_adapter(folder, tmp_path):
    toy_adapter_on(save_toy_clip(tmp_path / "clip")).save_pretrained(tmp_path / "full", adapter_only=False)
    card = render_card(tmp_path / "full", "user/my-model")
    assert "base_model" not in ModelCard(card).data.to_dict()
    assert "A full checkpoint" in card
    assert "| CLIP |" in card


def test_a_base_in_a_package_is_named_but_not_as_a_hub_model(tmp_path):
    adapter = save_with_base(tmp_path, "package://some_package.part/folder")
    card = render_card(adapter, "user/my-model")
    assert "base_model" not in ModelCard(card).data.to_dict()
    assert "pip install torch torchvision transformers decord2 some-package" in card


def test_a_local_base_is_not_named(tmp_path):
    adapter = save_toy_checkpoint(tmp_path)
    card = render_card(adapter, "user/my-model")
    assert str(tmp_path) not in card


def test_a_folder_without_weights_is_an_error(folder, tmp_path):
    (tmp_path / "config.json").write_bytes((folder / "config.json").read_bytes())
    with pytest.raises(OSError, match="has no weights"):
        render_card(tmp_path, "user/my-model")
