"""Adapter checkpoints: the prompts alone, and what happens when files or bases are not what they should be."""

import copy
import json
import os
import resource
import shutil
import signal
import sys

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from tolerance import assert_computed_equal, assert_stored_equal
from toy_checkpoint import toy_adapter_on
from toy_vita_clip import LABELS, save_toy_clip, toy_clips, toy_model, toy_tokenizer
from transformers import AutoConfig, AutoModel, AutoModelForVideoClassification, CLIPModel, CLIPVisionConfig
from vita_clip_hf.modeling import checkpoint_vita_clip
from vita_clip_hf.modeling.adapter_file_vita_clip import (
    ADAPTER_FILE,
    PROMPTS,
    dequantize_rows,
    fingerprint,
    is_prompt,
    places_of_prompts,
    quantize_rows,
    written_whole,
)

from vita_clip_hf import VitaClipConfig, VitaClipForVideoClassification, VitaClipModel


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return save_toy_clip(tmp_path_factory.mktemp("clip"))


@pytest.fixture(scope="module")
def trained(clip):
    """A model whose prompts are large and random, on an untouched base."""
    return toy_adapter_on(clip)


@pytest.fixture
def adapter(trained, tmp_path):
    trained.save_pretrained(tmp_path / "adapter")
    return tmp_path / "adapter"


@torch.no_grad()
def logits_of(model: VitaClipModel) -> torch.Tensor:
    return model.eval()(toy_clips()).logits_per_video


def change_config(folder, **fields):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **fields}))


def change_tensors(folder, change):
    """Rewrites the adapter file with other tensors and the same metadata."""
    with safe_open(folder / ADAPTER_FILE, "pt") as file:
        metadata = file.metadata()
    tensors = load_file(folder / ADAPTER_FILE)
    change(tensors)
    save_file(tensors, folder / ADAPTER_FILE, metadata)


def files_of(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


# ---- what is written, and that it loads ----


def test_an_adapter_loads_to_the_same_weights_and_logits(adapter, trained):
    for cls in (VitaClipModel, AutoModel):
        loaded = cls.from_pretrained(adapter)
        assert_stored_equal(loaded.state_dict(), trained.state_dict())
        assert_computed_equal(logits_of(loaded), logits_of(trained))
    with torch.no_grad():
        classifier = AutoModelForVideoClassification.from_pretrained(adapter).eval()
        assert isinstance(classifier, VitaClipForVideoClassification)
        assert_computed_equal(classifier(toy_clips()).logits, logits_of(trained))


def test_an_adapter_holds_prompts_only_and_says_what_they_belong_to(adapter, trained, clip):
    tensors = load_file(adapter / ADAPTER_FILE)
    assert tensors.keys() == {name for name in trained.state_dict() if is_prompt(name)}
    names = set(files_of(adapter))
    assert {"config.json", ADAPTER_FILE, "modeling_vita_clip.py", "configuration_vita_clip.py"} <= names
    assert not names & {"model.safetensors", "adapter_config.json"}, "transformers and peft would take it for theirs"
    config = AutoConfig.from_pretrained(adapter)
    assert config.base_model_name_or_path == str(clip)
    assert config.base_model_fingerprint == fingerprint(CLIPModel.from_pretrained(clip).state_dict())
    assert config.auto_map["AutoModel"] == "modeling_vita_clip.VitaClipModel"
    assert config.label_names == LABELS


def test_saving_what_was_loaded_gives_the_same_checkpoint(adapter, tmp_path):
    VitaClipModel.from_pretrained(adapter).save_pretrained(tmp_path / "again")
    assert_stored_equal(load_file(tmp_path / "again" / ADAPTER_FILE), load_file(adapter / ADAPTER_FILE))
    files_before, files_after = files_of(adapter), files_of(tmp_path / "again")
    assert files_before.keys() == files_after.keys()
    assert all(content == files_after[name] for name, content in files_before.items() if name != ADAPTER_FILE)


def test_a_full_checkpoint_of_the_same_model_needs_no_base(trained, clip, tmp_path):
    trained.save_pretrained(tmp_path / "full", adapter_only=False)
    assert "model.safetensors" in files_of(tmp_path / "full")
    assert AutoConfig.from_pretrained(tmp_path / "full").base_model_name_or_path is None
    loaded = VitaClipModel.from_pretrained(tmp_path / "full")
    assert_stored_equal(loaded.state_dict(), trained.state_dict())
    assert_computed_equal(logits_of(loaded), logits_of(trained))
    assert trained.config.base_model_name_or_path == str(clip), "saving changes nothing"


def test_a_full_checkpoint_replaces_an_adapter_in_the_same_folder(adapter, trained):
    other = toy_adapter_on(trained.config.base_model_name_or_path, seed=9)
    other.save_pretrained(adapter, adapter_only=False)
    assert ADAPTER_FILE not in files_of(adapter)
    loaded = VitaClipModel.from_pretrained(adapter)
    assert_stored_equal(loaded.state_dict(), other.state_dict())
    assert_computed_equal(logits_of(loaded), logits_of(other))


def test_the_frozen_projection_of_released_checkpoints_stays_frozen(clip, tmp_path):
    toy_adapter_on(clip, train_cls_projection=False).save_pretrained(tmp_path / "released")
    loaded = VitaClipModel.from_pretrained(tmp_path / "released")
    assert not any(weight.requires_grad for name, weight in loaded.named_parameters() if "cls_projection" in name)
    assert loaded.logit_scale.requires_grad


def test_other_labels_and_frames_can_be_asked_for_while_loading(adapter, trained):
    for cls in (VitaClipModel, AutoModel):
        model = cls.from_pretrained(adapter, id2label={0: "swim", 1: "a new one"}, num_frames=8)
        assert model.config.label_names == ["swim", "a new one"]
        assert torch.equal(model.class_prompts.contexts[0], trained.class_prompts.contexts[LABELS.index("swim")])
        assert model.config.num_frames == 8
        with torch.no_grad():
            clips = toy_clips(num_frames=8)
            assert_computed_equal(model.eval()(clips).video_embeds, trained(clips).video_embeds)


def test_same_number_of_other_labels_given_to_an_auto_class_does_not_reuse_contexts(adapter):
    model = AutoModel.from_pretrained(adapter, id2label={0: "swim", 1: "jump", 2: "sing"})
    assert model.config.label_token_ids == toy_tokenizer()(["swim.", "jump.", "sing."])["input_ids"]


def test_an_adapter_in_bfloat16_recognises_its_base(adapter):
    model = VitaClipModel.from_pretrained(adapter, dtype=torch.bfloat16)
    assert {weight.dtype for weight in model.parameters()} == {torch.bfloat16}


def test_a_base_in_float16_is_not_taken_for_another(adapter):
    assert logits_of(VitaClipModel.from_pretrained(adapter, dtype=torch.float16)).isfinite().all()


def test_an_adapter_moves_together_with_a_base_beside_it(adapter, clip, trained, tmp_path):
    shutil.copytree(clip, adapter / "base")
    change_config(adapter, base_model_name_or_path="./base")
    adapter.rename(tmp_path / "moved")
    model = VitaClipModel.from_pretrained(tmp_path / "moved", id2label={0: "x"})
    assert model.config.label_names == ["x"], "the tokenizer is found there too"
    loaded = VitaClipModel.from_pretrained(tmp_path / "moved")
    assert_stored_equal(loaded.state_dict(), trained.state_dict())
    assert_computed_equal(logits_of(loaded), logits_of(trained))


def install_package(site, name, clip, declared=True):
    """A package with a CLIP in it, whose code leaves a trace if it runs, and the metadata of its distribution."""
    (site / name).mkdir(parents=True)
    (site / name / "__init__.py").write_text("import pathlib; pathlib.Path(__file__).with_name('ran').touch()\n")
    shutil.copytree(clip, site / name / "clip")
    if declared:
        (site / f"{name}-1.0.dist-info").mkdir()
        (site / f"{name}-1.0.dist-info" / "METADATA").write_text(f"Name: {name}\nVersion: 1.0\n")
        (site / f"{name}-1.0.dist-info" / "entry_points.txt").write_text(f"[vita_clip_hf.bases]\n{name} = {name}\n")


def test_a_base_inside_a_package_that_declares_it_is_found_without_importing_the_package(
    adapter, clip, trained, tmp_path, monkeypatch
):
    install_package(tmp_path / "site", "toy_package", clip)
    monkeypatch.syspath_prepend(tmp_path / "site")
    model = VitaClipModel.from_pretrained("package://toy_package/clip", id2label=dict(enumerate(LABELS)))
    assert model.config.base_model_name_or_path == "package://toy_package/clip"
    change_config(adapter, base_model_name_or_path="package://toy_package/clip")
    loaded = VitaClipModel.from_pretrained(adapter)
    assert_stored_equal(loaded.state_dict(), trained.state_dict())
    assert_computed_equal(logits_of(loaded), logits_of(trained))
    for wrong, message in (("x", "no folder 'x'"), ("../toy_package/clip", "no folder")):
        with pytest.raises(OSError, match=message):
            VitaClipModel.from_pretrained(f"package://toy_package/{wrong}")
    assert not (tmp_path / "site" / "toy_package" / "ran").exists()


@pytest.mark.parametrize("base", ["package://payload/clip", "package://antigravity/x", "package://payload.clip/"])
def test_a_checkpoint_names_no_package_that_is_imported(adapter, clip, tmp_path, monkeypatch, base):
    install_package(tmp_path / "here", "payload", clip, declared=False)
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.syspath_prepend("")
    change_config(adapter, base_model_name_or_path=base)
    sys.modules.pop("antigravity", None)
    with pytest.raises(ValueError, match="has not declared that models lie in it"):
        VitaClipModel.from_pretrained(adapter)
    assert not (tmp_path / "here" / "payload" / "ran").exists()
    assert "antigravity" not in sys.modules


# ---- saving that cannot or must not happen ----


def test_an_interrupted_save_leaves_the_old_files(adapter, trained, monkeypatch):
    before = files_of(adapter)

    def fail(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(checkpoint_vita_clip, "copy_code", fail)
    with pytest.raises(KeyboardInterrupt):
        toy_adapter_on(trained.config.base_model_name_or_path, seed=9).save_pretrained(adapter)
    assert files_of(adapter) == before
    assert [path.name for path in adapter.parent.iterdir()] == ["adapter"], "nothing half-written lies about"
    with pytest.raises(KeyboardInterrupt):
        trained.save_pretrained(adapter.parent / "new")
    assert not (adapter.parent / "new").exists()


def test_saving_into_a_file_is_an_error(trained, tmp_path):
    (tmp_path / "file").write_text("mine")
    for adapter_only in (True, False):
        with pytest.raises(OSError, match="is a file; expected a folder"):
            trained.save_pretrained(tmp_path / "file", adapter_only=adapter_only)
    assert (tmp_path / "file").read_text() == "mine"


def test_other_files_of_the_folder_stay(trained, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    trained.save_pretrained(tmp_path)
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_of_several_processes_one_writes(trained, tmp_path):
    trained.save_pretrained(tmp_path / "other_rank", is_main_process=False)
    assert not (tmp_path / "other_rank").exists()


def test_a_model_without_base_cannot_be_saved_as_an_adapter(tmp_path):
    with pytest.raises(ValueError, match="this model has none"):
        toy_model().save_pretrained(tmp_path, adapter_only=True)


def test_a_model_without_base_is_saved_whole(tmp_path):
    toy_model().save_pretrained(tmp_path)
    assert "model.safetensors" in files_of(tmp_path)


def test_a_base_in_training_cannot_be_saved_as_an_adapter(clip, tmp_path):
    model = toy_adapter_on(clip)
    model.text_projection.requires_grad_(True)
    with pytest.raises(ValueError, match=r"text_projection\.weight belongs to the base and requires a gradient"):
        model.save_pretrained(tmp_path)
    model.save_pretrained(tmp_path, adapter_only=False)


def test_an_adapter_does_not_overwrite_its_base(trained, clip):
    with pytest.raises(ValueError, match="would overwrite its base"):
        trained.save_pretrained(clip)
    assert AutoConfig.from_pretrained(clip).model_type == "clip"


def test_gathered_weights_are_saved_in_place_of_the_models_own(trained, tmp_path):
    gathered = {name: tensor + is_prompt(name) for name, tensor in trained.state_dict().items()}
    trained.save_pretrained(tmp_path, state_dict=gathered)
    saved = load_file(tmp_path / ADAPTER_FILE)
    assert all(torch.equal(tensor, gathered[name]) for name, tensor in saved.items())


# ---- a base that is not as it was loaded ----


def merged_by_peft(model):
    peft = pytest.importorskip("peft")
    settings = peft.LoraConfig(target_modules=["q_proj"], init_lora_weights=False)
    return peft.get_peft_model(model, settings).merge_and_unload()


def held_by_peft(model):
    peft = pytest.importorskip("peft")
    peft.get_peft_model(model, peft.LoraConfig(target_modules=["q_proj"])).requires_grad_(False)
    return model


def scaled(model):
    model.visual_projection.weight.data.mul_(2)
    return model


def resized(model):
    model.resize_token_embeddings(300)
    return model


@pytest.mark.parametrize("start", ["adapter", "clip"])
@pytest.mark.parametrize("change", [merged_by_peft, held_by_peft, scaled, resized])
def test_a_changed_base_is_not_saved_as_an_adapter(request, start, change, tmp_path):
    labels = {} if start == "adapter" else {"id2label": dict(enumerate(LABELS))}
    model = change(VitaClipModel.from_pretrained(request.getfixturevalue(start), **labels).eval())
    with pytest.raises(ValueError, match=r"(not as it was loaded|peft has changed).*adapter_only=False"):
        model.save_pretrained(tmp_path / "changed")
    assert not (tmp_path / "changed").exists()


@pytest.mark.parametrize("change", [merged_by_peft, scaled])
def test_a_changed_base_is_saved_whole(adapter, change, tmp_path):
    model = change(VitaClipModel.from_pretrained(adapter).eval())
    model.save_pretrained(tmp_path / "whole", adapter_only=False)
    assert_computed_equal(logits_of(VitaClipModel.from_pretrained(tmp_path / "whole")), logits_of(model))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64, torch.float16])
def test_a_base_in_another_precision_is_the_same_base(adapter, trained, tmp_path, dtype):
    model = VitaClipModel.from_pretrained(adapter).to(dtype)
    model.save_pretrained(tmp_path / "cast")
    expected = AutoConfig.from_pretrained(adapter).base_model_fingerprint
    assert AutoConfig.from_pretrained(tmp_path / "cast").base_model_fingerprint == expected
    assert_stored_equal(
        {
            n: w
            for n, w in VitaClipModel.from_pretrained(tmp_path / "cast", dtype="float32").state_dict().items()
            if not is_prompt(n)
        },
        {n: w for n, w in trained.state_dict().items() if not is_prompt(n)},
    )


def test_an_adapter_trained_on_a_base_rounded_to_float16_loads_in_float32(clip, tmp_path):
    model = VitaClipModel.from_pretrained(clip, id2label=dict(enumerate(LABELS)), dtype="float16")
    model.save_pretrained(tmp_path / "half")
    assert VitaClipModel.from_pretrained(tmp_path / "half", dtype="float32").dtype == torch.float32


# ---- files that are not what they should be ----


def change_metadata(folder, **metadata):
    save_file(load_file(folder / ADAPTER_FILE), folder / ADAPTER_FILE, metadata)


def test_a_file_without_the_fingerprint_that_its_configuration_has_is_an_error(adapter):
    change_metadata(adapter, format="pt")
    with pytest.raises(ValueError, match=rf"{ADAPTER_FILE} says .* None, and the config\.json beside it sha256"):
        VitaClipModel.from_pretrained(adapter)
    with pytest.raises(ValueError, match="not of one adapter"):
        toy_adapter_on(AutoConfig.from_pretrained(adapter).base_model_name_or_path).load_adapter(adapter, "second")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("name", ["logit_scale", "class_prompts.contexts"])
def test_values_that_are_not_finite_are_an_error_that_names_file_and_tensor(adapter, name, value):
    change_tensors(adapter, lambda tensors: tensors[name].view(-1)[0].fill_(value))
    with pytest.raises(ValueError, match=rf"{ADAPTER_FILE}: {name} has NaN or infinite values"):
        VitaClipModel.from_pretrained(adapter)


def test_a_scale_of_logits_that_overflows_is_an_error(adapter):
    change_tensors(adapter, lambda tensors: tensors["logit_scale"].fill_(1000))
    with pytest.raises(ValueError, match="logit_scale has NaN or infinite values, or becomes infinite"):
        VitaClipModel.from_pretrained(adapter)


@pytest.mark.parametrize("dtype", [torch.int64, torch.bool, torch.float8_e4m3fn, torch.int8])
def test_a_tensor_of_a_type_that_no_adapter_has_is_an_error(adapter, dtype):
    name = "class_prompts.contexts"
    change_tensors(adapter, lambda tensors: tensors.update({name: tensors[name].to(dtype)}))
    with pytest.raises(ValueError, match=f"{ADAPTER_FILE}: {name} is"):
        VitaClipModel.from_pretrained(adapter)


@pytest.mark.parametrize("scale", [torch.ones(10**6), torch.ones(3, 8, 1), torch.ones(3, 8).half(), None])
def test_scales_of_another_shape_are_an_error_before_they_are_multiplied(trained, tmp_path, scale):
    trained.save_pretrained(tmp_path, adapter_dtype="int8")
    name = "class_prompts.contexts.scale"
    change_tensors(tmp_path, lambda t: t.pop(name) if scale is None else t.update({name: scale}))
    with pytest.raises(ValueError, match=rf"contexts is in int8, and needs {name} in float32 of the shape \(3, 8\)"):
        VitaClipModel.from_pretrained(tmp_path)


def test_a_base_that_is_an_adapter_or_the_adapter_itself_is_an_error(adapter, tmp_path):
    shutil.copytree(adapter, tmp_path / "other")
    for folder, base in ((adapter, tmp_path / "other"), (tmp_path / "other", adapter), (adapter, adapter)):
        change_config(folder, base_model_name_or_path=str(base))
    for base in (str(tmp_path / "other"), "./", str(adapter)):
        change_config(adapter, base_model_name_or_path=base)
        with pytest.raises(ValueError, match=r"The base .* of the adapter .* is an adapter itself"):
            VitaClipModel.from_pretrained(adapter)


# ---- where the base is ----


def test_a_base_given_by_a_relative_path_is_found_from_elsewhere(clip, tmp_path, monkeypatch):
    shutil.copytree(clip, tmp_path / "here" / "my_clip")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    for name in ("./my_clip", "my_clip"):
        VitaClipModel.from_pretrained(name, id2label={0: "a"}).save_pretrained(tmp_path / "adapter")
        monkeypatch.chdir(tmp_path / "elsewhere")
        assert VitaClipModel.from_pretrained(tmp_path / "adapter").config.label_names == ["a"]
        monkeypatch.chdir(tmp_path / "here")


def test_a_base_inside_an_adapter_is_found_from_a_copy_that_is_saved_elsewhere(adapter, clip, tmp_path):
    shutil.copytree(clip, adapter / "base")
    change_config(adapter, base_model_name_or_path="./base")
    model = VitaClipModel.from_pretrained(adapter)
    for folder, stored in ((adapter, "./base"), (tmp_path / "copy", str(adapter / "base"))):
        model.save_pretrained(folder)
        assert json.loads((folder / "config.json").read_text())["base_model_name_or_path"] == stored
        VitaClipModel.from_pretrained(folder)


def test_a_base_that_a_user_sets_in_the_configuration_is_in_the_working_directory(
    adapter, clip, tmp_path, monkeypatch
):
    shutil.copytree(clip, tmp_path / "here" / "my_clip")
    monkeypatch.chdir(tmp_path / "here")
    model = VitaClipModel.from_pretrained(adapter)
    model.config.base_model_name_or_path = "./my_clip"
    model.save_pretrained(tmp_path / "saved")
    stored = json.loads((tmp_path / "saved" / "config.json").read_text())["base_model_name_or_path"]
    assert stored == str(tmp_path / "here" / "my_clip")


def test_a_base_that_is_not_found_is_named_with_adapter_revision_and_remedy(adapter, clip, tmp_path, monkeypatch):
    change_config(adapter, base_model_name_or_path="/gone/clip", base_model_revision="abc")
    with pytest.raises(
        OSError,
        match=r"base '/gone/clip' \(revision abc\) of the adapter .*adapter was not found.*"
        r"base_model_name_or_path=",
    ):
        VitaClipModel.from_pretrained(adapter)
    shutil.copytree(clip, tmp_path / "here" / "moved")
    monkeypatch.chdir(tmp_path / "here")
    for cls in (VitaClipModel, AutoModel):
        model = cls.from_pretrained(adapter, base_model_name_or_path="./moved")
        assert model.config.base_model_name_or_path == str(tmp_path / "here" / "moved")
        assert model.config.base_model_revision is None


# ---- saves over earlier saves ----


def weights_in(folder):
    return {name for name in files_of(folder) if name.startswith(("model", "adapter")) and "vita_clip" not in name}


def test_a_save_leaves_no_weights_or_code_of_an_earlier_one(trained, tmp_path):
    trained.save_pretrained(tmp_path, adapter_only=False, max_shard_size="20KB")
    assert "model.safetensors.index.json" in weights_in(tmp_path)
    (tmp_path / "gone_vita_clip.py").touch()
    trained.save_pretrained(tmp_path, adapter_only=False)
    assert weights_in(tmp_path) == {"model.safetensors"}
    trained.save_pretrained(tmp_path)
    assert weights_in(tmp_path) == {ADAPTER_FILE}
    trained.save_pretrained(tmp_path, adapter_only=False, max_shard_size="20KB")
    assert not weights_in(tmp_path) & {ADAPTER_FILE, "model.safetensors"}
    assert "gone_vita_clip.py" not in files_of(tmp_path)
    assert_stored_equal(VitaClipModel.from_pretrained(tmp_path).state_dict(), trained.state_dict())


def test_an_adapter_of_another_base_is_an_error_that_says_what_was_expected(adapter, clip, tmp_path):
    expected = AutoConfig.from_pretrained(adapter).base_model_fingerprint
    other = save_toy_clip(tmp_path / "other", seed=7)
    with pytest.raises(ValueError, match=f"trained on another base: expected {other} with the fingerprint {expected}"):
        VitaClipModel.from_pretrained(adapter, base_model_name_or_path=str(other))


def test_a_missing_base_is_an_error_that_names_it(adapter):
    change_config(adapter, base_model_name_or_path="/no/such/folder")
    with pytest.raises(OSError, match="/no/such/folder"):
        VitaClipModel.from_pretrained(adapter)


def test_an_adapter_that_names_no_base_is_an_error(adapter):
    change_config(adapter, base_model_name_or_path=None)
    with pytest.raises(ValueError, match="names no base_model_name_or_path"):
        VitaClipModel.from_pretrained(adapter)


@pytest.mark.parametrize("size", [0, 4, 1000])
def test_a_truncated_file_is_an_error_that_names_it(adapter, size):
    content = (adapter / ADAPTER_FILE).read_bytes()
    (adapter / ADAPTER_FILE).write_bytes(content[:size])
    with pytest.raises(OSError, match=f"{ADAPTER_FILE} is not a readable safetensors file"):
        VitaClipModel.from_pretrained(adapter)


def test_a_file_of_something_else_is_an_error_that_names_it(adapter):
    (adapter / ADAPTER_FILE).write_bytes(b"not tensors at all, and long enough to look like some")
    with pytest.raises(OSError, match=f"{ADAPTER_FILE} is not a readable safetensors file"):
        VitaClipModel.from_pretrained(adapter)


def test_missing_tensors_are_an_error_that_names_them(adapter):
    change_tensors(adapter, lambda tensors: tensors.pop("class_prompts.contexts"))
    with pytest.raises(ValueError, match=r"missing \['class_prompts.contexts'\], unexpected nothing"):
        VitaClipModel.from_pretrained(adapter)


def test_unexpected_tensors_are_an_error_that_names_them(adapter):
    change_tensors(adapter, lambda tensors: tensors.update(surprise=torch.zeros(1)))
    with pytest.raises(ValueError, match=r"missing nothing, unexpected \['surprise'\]"):
        VitaClipModel.from_pretrained(adapter)


def test_tensors_of_another_shape_are_an_error_that_says_both(adapter):
    change_tensors(adapter, lambda tensors: tensors.update({"class_prompts.contexts": torch.zeros(5, 8, 24)}))
    with pytest.raises(ValueError, match=r"contexts has the shape \(5, 8, 24\), expected \(3, 8, 24\)"):
        VitaClipModel.from_pretrained(adapter)


def test_an_adapter_needs_a_base_in_memory(adapter, tmp_path):
    places = dict.fromkeys(("text_model", "class_prompts", "visual_projection", "text_projection"), "cpu")
    places |= {"vision_model": "disk", "logit_scale": "cpu"}
    with pytest.raises(ValueError, match=r"offloaded.*without offloading"):
        VitaClipModel.from_pretrained(adapter, device_map=places, offload_folder=tmp_path / "offload")


# ---- the precision of what is stored ----


@pytest.mark.parametrize(("dtype", "tolerance"), [("bfloat16", 0.1), ("float16", 0.01), ("int8", 0.2)])
def test_stored_in_fewer_bits_logits_stay_near(trained, tmp_path, dtype, tolerance):
    trained.save_pretrained(tmp_path, adapter_dtype=dtype)
    loaded = VitaClipModel.from_pretrained(tmp_path)
    assert {weight.dtype for weight in loaded.parameters()} == {torch.float32}
    assert (logits_of(loaded) - logits_of(trained)).abs().max() <= tolerance


def test_stored_in_float32_weights_are_the_same(trained, tmp_path):
    trained.save_pretrained(tmp_path, adapter_dtype="float32")
    assert_stored_equal(VitaClipModel.from_pretrained(tmp_path).state_dict(), trained.state_dict())


def test_fewer_bits_are_fewer_bytes(clip, tmp_path):
    trained = toy_adapter_on(clip)
    sizes = {}
    for dtype in ("float32", "bfloat16", "int8"):
        trained.save_pretrained(tmp_path / dtype, adapter_dtype=dtype)
        sizes[dtype] = sum(tensor.nbytes for tensor in load_file(tmp_path / dtype / ADAPTER_FILE).values())
    assert sizes["bfloat16"] == sizes["float32"] / 2
    assert sizes["int8"] < 0.4 * sizes["float32"], "rows are short here; at width 768 a scale adds 1/192"


def test_int8_rows_are_within_half_a_step():
    tensor = torch.randn(5, 7, 33, generator=torch.Generator().manual_seed(0)) * torch.logspace(-6, 3, 7)[:, None]
    tensor[2, 3] = 0
    stored = quantize_rows({"prompts": tensor, "scale": torch.tensor(2.5)})
    assert stored["prompts"].dtype == torch.int8
    assert stored["prompts.scale"].shape == (5, 7)
    restored = dequantize_rows(stored)
    assert restored.keys() == {"prompts", "scale"}
    step = tensor.abs().amax(dim=-1, keepdim=True) / 127
    assert ((restored["prompts"] - tensor).abs() <= step * 0.501).all()
    assert restored["scale"] == 2.5


def test_the_precision_is_written_beside_the_tensors(trained, tmp_path):
    trained.save_pretrained(tmp_path, adapter_dtype=torch.bfloat16)
    with safe_open(tmp_path / ADAPTER_FILE, "pt") as file:
        assert file.metadata()["adapter_dtype"] == "bfloat16"


def test_a_precision_that_is_not_offered_is_an_error(trained, tmp_path):
    with pytest.raises(ValueError, match="adapter_dtype must be one of float32, float16, bfloat16, int8; found int4"):
        trained.save_pretrained(tmp_path, adapter_dtype="int4")
    with pytest.raises(ValueError, match="this saves the whole model"):
        trained.save_pretrained(tmp_path, adapter_dtype="int8", adapter_only=False)


# ---- the base's fingerprint ----


def test_the_fingerprint_does_not_depend_on_prompts_or_precision(trained):
    expected = fingerprint(trained.state_dict())
    other = toy_adapter_on(trained.config.base_model_name_or_path, seed=5, num_global_prompts=2)
    assert fingerprint(other.state_dict()) == expected
    assert fingerprint(other.to(torch.bfloat16).state_dict()) == expected


def test_the_fingerprint_depends_on_every_base_weight(trained):
    state = trained.state_dict()
    expected = fingerprint(state)
    for name in ("text_projection.weight", "vision_model.embeddings.class_embedding"):
        assert fingerprint({**state, name: state[name] * 1.01}) != expected


def test_sizes_on_vit_b_16_are_those_promised():
    """Kinetics-400 without class contexts: 142 MB in float32, and under 10 MB in the compact variant."""

    def megabytes(bytes_per_weight: int = 4, **fields: int) -> float:
        config = VitaClipConfig(vision_config=CLIPVisionConfig(patch_size=16), text_prompt_length=0, **fields)
        with torch.device("meta"):
            model = VitaClipModel(config)
        return sum(w.numel() for name, w in model.named_parameters() if is_prompt(name)) * bytes_per_weight / 1e6

    assert megabytes() == pytest.approx(142.4, abs=1)
    assert megabytes(summary_attention_dim=48, cls_projection_rank=16) < 10
    assert megabytes(bytes_per_weight=2, summary_attention_dim=64, cls_projection_rank=64) < 10


# ---- the table of what a prompt is ----


def test_the_table_holds_every_prompt_and_nothing_else():
    model = toy_model()
    modules = dict(model.named_modules())
    names = {module: name for name, module in modules.items()}
    found = set()
    for holder, part in places_of_prompts(model):
        prefix = ".".join(filter(None, (names[holder], part.name)))
        found |= {name for name in model.state_dict() if name == prefix or name.startswith(f"{prefix}.")}
    assert found == {name for name in model.state_dict() if is_prompt(name)}
    assert {name for name, weight in model.named_parameters() if weight.requires_grad} == found


def test_the_table_builds_what_a_model_has():
    model = toy_model(use_summary_token=False, text_prompt_scope="unified")
    for holder, part in places_of_prompts(model):
        own, built = getattr(holder, part.name), part.build(model.config)
        if isinstance(own, torch.nn.Module):
            own, built = dict(own.named_parameters()), dict(built.named_parameters())
            assert {name: weight.shape for name, weight in built.items()} == {n: w.shape for n, w in own.items()}
        else:
            assert built.shape == own.shape
    assert PROMPTS[1].build(toy_model(use_temporal_embedding=False).config) is None


# ---- files are written whole ----


def test_a_file_is_written_under_another_name_and_then_renamed(tmp_path):
    with written_whole(tmp_path / "new" / "notes.txt") as path:
        path.write_text("all of it")
        assert path.name == "notes.txt", "writers may go by the ending"
        assert not (tmp_path / "new" / "notes.txt").exists()
    assert {path.name: path.read_text() for path in (tmp_path / "new").iterdir()} == {"notes.txt": "all of it"}


def test_after_an_error_the_old_file_stands_and_nothing_lies_about(tmp_path):
    (tmp_path / "notes.txt").write_text("old")

    def fail_halfway():
        with written_whole(tmp_path / "notes.txt") as path:
            path.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail_halfway()
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"notes.txt": "old"}


@pytest.mark.parametrize(("name", "target"), [(".", "here"), ("..", ""), ("below/..", "here")])
def test_a_folder_named_by_dots_gets_what_is_written_and_no_other_file(tmp_path, monkeypatch, name, target):
    (tmp_path / "here" / "below").mkdir(parents=True)
    for place in ("here/mine.txt", "here/below/mine.txt"):
        (tmp_path / place).write_text("mine")
    monkeypatch.chdir(tmp_path / "here")
    with written_whole(name) as folder:
        folder.mkdir(exist_ok=True)
        (folder / "new.txt").write_text("new")
    written = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert written == {"here/mine.txt", "here/below/mine.txt", os.path.join(target, "new.txt")}


def test_a_folder_is_merged_into_the_one_that_is_there(tmp_path):
    (tmp_path / "run" / "part").mkdir(parents=True)
    (tmp_path / "run" / "mine.txt").write_text("mine")
    (tmp_path / "run" / "part" / "a.txt").write_text("old")
    with written_whole(tmp_path / "run") as folder:
        (folder / "part").mkdir(parents=True)
        (folder / "part" / "a.txt").write_text("new")
    written = {str(path.relative_to(tmp_path)): path.read_text() for path in tmp_path.rglob("*.txt")}
    assert written == {"run/mine.txt": "mine", "run/part/a.txt": "new"}
    with written_whole(tmp_path / "empty") as folder:
        folder.mkdir()
    assert (tmp_path / "empty").is_dir()


def test_a_file_and_a_folder_do_not_replace_each_other(tmp_path):
    (tmp_path / "file").write_text("mine")
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError, match="is a file; expected a folder"), written_whole(tmp_path / "file") as path:
        path.mkdir()
    with pytest.raises(OSError, match="is a folder; expected a file"), written_whole(tmp_path / "folder") as path:
        path.write_text("other")
    assert (tmp_path / "file").read_text() == "mine"


# ---- writing ----


def test_values_that_a_precision_cannot_hold_are_not_written(trained, tmp_path):
    model = copy.deepcopy(trained)
    with torch.no_grad():
        model.class_prompts.contexts.fill_(1e6)
    with pytest.raises(ValueError, match=r"In float16: class_prompts\.contexts has NaN or infinite values"):
        model.save_pretrained(tmp_path / "saved", adapter_dtype="float16")
    assert not (tmp_path / "saved").exists()


@pytest.mark.parametrize("adapter_only", [True, False])
@pytest.mark.parametrize("most", [0, 3000, 20_000])
def test_a_full_disk_is_an_error_that_names_the_folder_and_leaves_what_was_there(
    trained, tmp_path, adapter_only, most
):
    """A limit on the size of files stands for the disk; safetensors has an error of its own for it."""
    trained.save_pretrained(tmp_path / "saved")
    before = files_of(tmp_path / "saved")
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, limits[1]))
    try:
        with pytest.raises(OSError, match=r"saved.* could not be written: .*File too large"):
            trained.save_pretrained(tmp_path / "saved", adapter_only=adapter_only)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    assert files_of(tmp_path / "saved") == before
    assert [path.name for path in tmp_path.iterdir()] == ["saved"]
