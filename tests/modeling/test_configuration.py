"""The configuration: what it accepts, what it refuses, and that it survives a file."""

import json
import os

import pytest
from toy_vita_clip import LABELS, toy_clip_config, toy_config
from transformers import AutoConfig, CLIPConfig
from vita_clip_hf.modeling.configuration_vita_clip import MOST_BYTES_OF_SETTINGS, PROMPT_FIELDS
from vita_clip_hf.modeling.labels_vita_clip import load_tokenizer_of

from vita_clip_hf import (
    VitaClipConfig,
    VitaClipModel,
    VitaClipProcessor,
    VitaClipTextConfig,
    VitaClipVideoProcessor,
    VitaClipVisionConfig,
)

# What openai/clip-vit-base-patch16 has in its config.json, apart from sizes: old token ids, and halves named twice.
OPENAI_CONFIG = {
    "architectures": ["CLIPModel"],
    "initializer_factor": 1.0,
    "logit_scale_init_value": 2.6592,
    "model_type": "clip",
    "projection_dim": 512,
    "text_config": {"bos_token_id": 0, "eos_token_id": 2, "pad_token_id": 1, "model_type": "clip_text_model"},
    "text_config_dict": None,
    "torch_dtype": "float32",
    "vision_config": {"patch_size": 16, "model_type": "clip_vision_model"},
    "vision_config_dict": None,
}


def test_defaults_are_the_papers_model():
    config = VitaClipConfig()
    assert (config.num_frames, config.num_global_prompts, config.text_prompt_length) == (8, 8, 8)
    assert (config.use_temporal_embedding, config.use_summary_token) == (True, True)
    assert (config.use_global_prompts, config.use_local_prompts) == (True, True)
    assert (config.text_prompt_scope, config.text_prompt_position) == ("class", "end")
    assert (config.cls_projection_rank, config.summary_attention_dim) == (None, None)


def test_every_prompt_field_can_be_given_read_and_written_at_the_top():
    config = VitaClipConfig(num_frames=16, use_summary_token=False, text_prompt_scope="unified")
    assert (config.vision_config.num_frames, config.vision_config.use_summary_token) == (16, False)
    assert config.text_config.text_prompt_scope == "unified"
    for field in PROMPT_FIELDS:
        half = config.text_config if field.startswith("text_") else config.vision_config
        assert getattr(config, field) == getattr(half, field)
    config.num_frames = 4
    assert config.vision_config.num_frames == 4


def test_a_file_gives_back_the_same_configuration(tmp_path):
    config = toy_config(num_frames=16, summary_attention_dim=8, text_prompt_position="middle")
    config.base_model_name_or_path = "openai/clip-vit-base-patch16"
    config.save_pretrained(tmp_path)
    loaded = VitaClipConfig.from_pretrained(tmp_path)
    assert loaded.to_dict() == config.to_dict()
    assert isinstance(AutoConfig.from_pretrained(tmp_path), VitaClipConfig)
    assert loaded.label_names == LABELS
    written = json.loads((tmp_path / "config.json").read_text())
    assert written["model_type"] == "vita_clip"
    assert written["vision_config"]["num_frames"] == 16
    assert "num_frames" not in written, "a field has one place in the file"


def test_fields_given_while_loading_replace_those_in_the_file(tmp_path):
    toy_config().save_pretrained(tmp_path)
    config, unused = VitaClipConfig.from_pretrained(tmp_path, num_frames=32, other=1, return_unused_kwargs=True)
    assert config.num_frames == 32
    assert unused == {"other": 1}


def test_a_clip_configuration_is_a_valid_start(tmp_path, caplog):
    toy_clip_config().save_pretrained(tmp_path)
    config = VitaClipConfig.from_pretrained(tmp_path)
    assert isinstance(config.vision_config, VitaClipVisionConfig)
    assert isinstance(config.text_config, VitaClipTextConfig)
    assert (config.vision_config.hidden_size, config.text_config.hidden_size, config.projection_dim) == (32, 24, 20)
    assert not config.has_named_labels
    assert "model of type" not in caplog.text


def test_the_configuration_that_openai_published_is_understood():
    config = VitaClipConfig.from_dict({**OPENAI_CONFIG, "model_type": "vita_clip"})
    assert (config.vision_config.patch_size, config.vision_config.model_type) == (16, "vita_clip_vision_model")
    assert (config.text_config.eos_token_id, config.text_config.model_type) == (2, "vita_clip_text_model")


def test_clips_own_halves_are_accepted_as_objects():
    clip = CLIPConfig()
    config = VitaClipConfig(text_config=clip.text_config, vision_config=clip.vision_config)
    assert isinstance(config.vision_config, VitaClipVisionConfig)
    assert isinstance(config.text_config, VitaClipTextConfig)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("num_frames", 0, "num_frames must be at least 1, found 0"),
        ("num_global_prompts", 0, "num_global_prompts must be at least 1, found 0"),
        (
            "local_prompt_condition",
            "cls",
            "must be one of projection, class_token; found 'cls'",
        ),
        ("cls_projection_rank", 0, "cls_projection_rank must be at least 1, found 0"),
        ("summary_attention_dim", -4, "summary_attention_dim must be at least 1, found -4"),
        ("summary_attention_dim", 131, "summary_attention_dim=131 is not a multiple of the 2 heads"),
        ("text_prompt_length", -1, "text_prompt_length must be 0 or more, found -1"),
        ("text_prompt_scope", "all", "text_prompt_scope must be one of class, unified; found 'all'"),
        ("text_prompt_position", "start", "text_prompt_position must be one of end, front, middle; found 'start'"),
    ],
)
def test_a_field_outside_its_range_is_an_error_that_says_both(field, value, message):
    half = VitaClipTextConfig if field.startswith("text_") else VitaClipVisionConfig
    with pytest.raises(ValueError, match=message):
        half(**{field: value})
    config = VitaClipConfig()
    setattr(config, field, value)
    with pytest.raises(ValueError, match=message):
        VitaClipModel(config)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([], "empty"),
        (["swim", "run", "swim"], "'swim' more than once"),
        (["swim", " "], "' ' at position 1"),
        (["swim", ""], "'' at position 1"),
    ],
)
def test_bad_label_names_are_errors(labels, message):
    config = toy_config()
    config.set_label_names(labels)
    with pytest.raises(ValueError, match=message):
        config.check_labels()


def test_token_ids_must_match_the_labels():
    with pytest.raises(ValueError, match="label_token_ids has 1 entries but id2label has 2 labels"):
        VitaClipConfig(id2label={0: "a", 1: "b"}, label_token_ids=[[0, 5, 1]])


def test_a_wrong_type_is_an_error():
    with pytest.raises(Exception, match="num_frames"):
        VitaClipVisionConfig(num_frames="eight")


# ---- files that are not what they should be ----


def write_config(folder, **fields):
    toy_config().save_pretrained(folder)
    content = json.loads((folder / "config.json").read_text())
    for field, value in fields.items():
        half, _, name = field.rpartition("__")
        (content[half] if half else content)[name] = value
    (folder / "config.json").write_text(json.dumps(content))
    return folder


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"vision_config": [1, 2]}, "vision_config must be an object"),
        ({"text_config": "x"}, "text_config must be an object"),
        ({"id2label": ["a", "b"]}, "id2label must be an object"),
        ({"id2label": {"0": "a", "2": "b", "3": "c"}}, r"must be 0 to 2; found \['0', '2', '3'\]"),
        # Older huggingface_hub refuses it before this package does.
        ({"id2label": {"0": 1, "1": 2, "2": 3}}, "(non-empty names; found 1|Field 'id2label' with value)"),
        ({"label2id": {"ride_bike": 1, "tai chi": 0, "swim": 2}}, "id2label and label2id contradict each other"),
        ({"num_labels": 5}, "num_labels=5 contradicts the 3 names"),
        ({"label_token_ids": [[188, 10**6, 189]] * 3}, r"0 to 189; found \[188, 1000000, 189\]"),
        ({"label_token_ids": [[], [], []]}, r"start token.*found \[\]"),
        ({"label_token_ids": "x"}, "label_token_ids"),
        (
            {"vision_config__hidden_size": "32"},
            "vision_config.hidden_size must be a whole number from 1 to 2147483647",
        ),
        ({"vision_config__hidden_size": 2**40}, "found 1099511627776"),
        ({"vision_config__num_attention_heads": 0}, "num_attention_heads must be a whole number from 1"),
        (
            {"text_config__layer_norm_eps": float("nan")},
            "text_config.layer_norm_eps must be a finite number, found nan",
        ),
        ({"text_config__text_prompt_length": 10**9}, "text_prompt_length=1000000000 is more than the 40 tokens"),
        ({"vision_config__num_frames": "4"}, "num_frames"),
        ({"dtype": "load"}, "dtype must be one of float32, float16, bfloat16, float64; found 'load'"),
        ({"label_token_ids": [["a", 1, 2]] * 3}, r"start token.*found \['a', 1, 2\]"),
        ({"label_token_ids": [[True, 1, 2]] * 3}, r"start token.*found \[True, 1, 2\]"),
        ({"label_token_ids": [3, 4, 5]}, r"start token.*found 3"),
        ({"id2label": {"0": "\ud800", "1": "b", "2": "c"}}, r"non-empty names; found '.ud800' at position 0"),
        (
            {"id2label": None, "label2id": None, "num_labels": 10**6},
            "num_labels must be a whole number from 0 to 100000",
        ),
        ({"text_config__num_labels": 2**63}, "text_config.num_labels must be a whole number"),
        (
            {"vision_config__output_hidden_states": {"0": "a"}},
            "vision_config.output_hidden_states must be true or false",
        ),
        ({"text_config__layer_norm_eps": -0.5}, "layer_norm_eps must be a number from 0.0 to 1.0, found -0.5"),
        ({"text_config__layer_norm_eps": 1e300}, "layer_norm_eps must be a number from 0.0 to 1.0"),
        ({"auto_map": [1]}, "auto_map must be an object"),
        ({"to_dict": 1}, "holds 'to_dict', which is no field"),
        ({"label_names": ["a"]}, "holds 'label_names', which is no field"),
    ],
)
def test_a_field_of_a_file_that_makes_no_sense_is_an_error_that_names_it(tmp_path, fields, message):
    write_config(tmp_path, **fields)
    for load in (VitaClipConfig.from_pretrained, AutoConfig.from_pretrained, VitaClipModel.from_pretrained):
        with pytest.raises(
            ValueError, match=rf"^{tmp_path}(: its |/)config\.json cannot be used: .*{message}"
        ) as caught:
            load(tmp_path)
        assert "\n" not in str(caught.value)


def test_an_argument_out_of_its_range_is_not_laid_to_the_file(tmp_path):
    write_config(tmp_path)
    with pytest.raises(ValueError, match="num_frames") as caught:
        VitaClipConfig.from_pretrained(tmp_path, num_frames="x")
    assert "config.json" not in str(caught.value)


def device(path):
    path.symlink_to("/dev/zero")


def link_to_itself(path):
    path.symlink_to(path.name)


def pipe(path):
    os.mkfifo(path)


def huge(path):
    path.touch()
    os.truncate(path, MOST_BYTES_OF_SETTINGS + 1)  # none of them on the disk


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes among files")
@pytest.mark.parametrize("make", [device, link_to_itself, pipe, huge])
@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "processor_config.json", "merges.txt"])
def test_a_file_that_does_not_end_or_is_huge_is_named_and_not_read(tmp_path, make, name):
    write_config(tmp_path)
    path = tmp_path / name
    path.unlink(missing_ok=True)
    make(path)
    for load in (
        *(VitaClipConfig.from_pretrained, VitaClipModel.from_pretrained, load_tokenizer_of),
        *(VitaClipVideoProcessor.from_pretrained, VitaClipProcessor.from_pretrained),
    ):
        with pytest.raises((OSError, ValueError), match=rf"{path} .*expected a file of|symbolic links: '{path}"):
            load(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            '{"model_type": "vita_clip", "projection_dim": 4, "projection_dim": 5}',
            "'projection_dim' stands in it twice",
        ),
        ('{"model_type": "vita_clip", "x": ' + "[" * 10**5 + "]" * 10**5 + "}", "recursion"),
        ('{"model_type": "vita_clip"', "delimiter"),
        ('["vita_clip"]', "expected an object"),
        ("", "Expecting value"),
    ],
)
def test_a_damaged_file_is_an_error_of_one_line_that_names_it(tmp_path, content, message):
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(ValueError, match=rf"config\.json cannot be used: .*{message}") as caught:
        VitaClipModel.from_pretrained(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "field", ["attn_implementation", "_attn_implementation", "vision_config__attn_implementation"]
)
@pytest.mark.parametrize("value", ["user/kernels", "kernels-community/flash-attn2", "flash_attention_2"])
def test_a_file_chooses_no_code_that_computes_attention(tmp_path, monkeypatch, field, value):
    import transformers.integrations.hub_kernels as hub_kernels

    monkeypatch.setattr(hub_kernels, "load_and_register_attn_kernel", lambda *args, **kwargs: pytest.fail("loaded"))
    write_config(tmp_path, **{field: value})
    for load in (VitaClipConfig.from_pretrained, AutoConfig.from_pretrained):
        config = load(tmp_path)
        model = VitaClipModel(config)
        assert model.vision_model.encoder.layers[0].self_attn.config._attn_implementation in ("sdpa", "eager")
    assert VitaClipConfig.from_pretrained(tmp_path, attn_implementation="eager")._attn_implementation == "eager"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_labels": 5, "id2label": {0: "a", 1: "b", 2: "c"}}, "num_labels=5 contradicts the 3 names"),
        ({"id2label": {0: "a", 1: "b"}, "label2id": {"a": 1, "b": 0}}, "contradict each other"),
        ({"id2label": {0: "a", 1: "b"}, "label2id": {"a": 0}}, "contradict each other"),
        ({"label2id": {"a": 0, "b": 0}}, "ids of labels must be 0 to 1"),
    ],
)
def test_arguments_for_labels_that_contradict_each_other_are_an_error(tmp_path, arguments, message):
    with pytest.raises(ValueError, match=message):
        VitaClipConfig(**arguments)
    toy_clip_config().save_pretrained(tmp_path)
    for load in (VitaClipConfig.from_pretrained, VitaClipModel.from_pretrained):
        with pytest.raises(ValueError, match=message):
            load(tmp_path, **arguments)


def test_labels_may_be_named_by_either_mapping_alone(tmp_path):
    toy_clip_config().save_pretrained(tmp_path)
    for names in ({"id2label": {0: "a", 1: "b", 2: "c"}}, {"label2id": {"a": 0, "b": 1, "c": 2}}):
        for config in (VitaClipConfig(**names), VitaClipConfig.from_pretrained(tmp_path, **names)):
            assert config.label_names == ["a", "b", "c"]
            assert config.label2id == {"a": 0, "b": 1, "c": 2}


@pytest.mark.parametrize("given", [{"id2label": ["a", "b"]}, {"label2id": ["a", "b"]}, {"id2label": "a"}])
def test_labels_given_as_a_list_are_refused_with_what_is_expected(given):
    with pytest.raises(ValueError, match=rf"{next(iter(given))} must be a dict.*found"):
        VitaClipConfig.from_dict({}, **given)
