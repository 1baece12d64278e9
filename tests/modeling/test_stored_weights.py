"""Sizes in a configuration are compared with those of the stored tensors before anything is made of them."""

import json
import resource
import shutil
import zipfile

import pytest
import torch
from safetensors.torch import load_file, save_file
from toy_checkpoint import toy_adapter_on
from toy_vita_clip import LABELS, save_toy_clip
from vita_clip_hf.modeling import stored_weights_vita_clip as stored_weights
from vita_clip_hf.modeling.stored_weights_vita_clip import stored_shapes

from vita_clip_hf import VitaClipModel

HUGE = {
    "num_frames": ("vision_config", 10**7),
    "num_global_prompts": ("vision_config", 10**7),
    "num_hidden_layers": ("vision_config", 10**6),
    "hidden_size": ("vision_config", 2**20),
    "image_size": ("vision_config", 2**20),
    "cls_projection_rank": ("vision_config", 10**9),
    "text_prompt_length": ("text_config", 10**9),
    "max_position_embeddings": ("text_config", 2 * 10**9),
    "vocab_size": ("text_config", 2 * 10**9),
}


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A CLIP, an adapter on it, and the whole of both."""
    folder = tmp_path_factory.mktemp("saved")
    model = toy_adapter_on(save_toy_clip(folder / "clip"))
    model.save_pretrained(folder / "adapter")
    model.save_pretrained(folder / "full", adapter_only=False)
    return folder


def copy_with(source, target, half, **fields):
    shutil.copytree(source, target)
    config = json.loads((target / "config.json").read_text())
    config[half].update(fields)
    (target / "config.json").write_text(json.dumps(config))
    return target


@pytest.mark.parametrize("kind", ["adapter", "full"])
@pytest.mark.parametrize("field", HUGE)
def test_a_configuration_of_other_sizes_is_an_error_before_memory_is_taken(saved, tmp_path, kind, field):
    half, value = HUGE[field]
    folder = copy_with(saved / kind, tmp_path / kind, half, **{field: value})
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ValueError, match=r"expected|and .* holds|is more than|cannot be used"):
        VitaClipModel.from_pretrained(folder)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2**20, "in kB: less than 1 GiB"


def test_two_sizes_that_agree_with_each_other_but_not_with_the_weights_are_an_error(saved, tmp_path):
    fields = {"text_prompt_length": 10**9, "max_position_embeddings": 2 * 10**9}
    folder = copy_with(saved / "full", tmp_path / "full", "text_config", **fields)
    with pytest.raises(ValueError, match=r"max_position_embeddings is 2000000000, and .*full holds 40 positions"):
        VitaClipModel.from_pretrained(folder)


def test_a_clip_whose_configuration_lies_is_an_error_that_names_it(saved, tmp_path):
    folder = copy_with(saved / "clip", tmp_path / "clip", "vision_config", num_hidden_layers=10**6)
    with pytest.raises(ValueError, match=r"num_hidden_layers is 1000000, and .*clip holds 3 layers"):
        VitaClipModel.from_pretrained(folder, id2label=dict(enumerate(LABELS)))


def test_an_unknown_activation_is_an_error_that_names_it(saved, tmp_path):
    folder = copy_with(saved / "full", tmp_path / "full", "text_config", hidden_act="os.system")
    with pytest.raises(ValueError, match=r"hidden_act must be an activation of transformers, found 'os.system'"):
        VitaClipModel.from_pretrained(folder)


def test_sizes_that_are_not_those_of_the_base_name_the_adapter_and_the_base(saved, tmp_path):
    folder = copy_with(saved / "adapter", tmp_path / "adapter", "text_config", vocab_size=10**6)
    with pytest.raises(ValueError, match=rf"{folder} on {saved / 'clip'}: .*expected \(1000000, 24\)"):
        VitaClipModel.from_pretrained(folder)


@pytest.mark.parametrize("as_pickle", [False, True])
@pytest.mark.parametrize("dtype", [torch.bool, torch.int64, torch.int8])
def test_weights_that_are_no_floats_are_an_error_that_names_them(saved, tmp_path, dtype, as_pickle):
    folder = shutil.copytree(saved / "full", tmp_path / "full")
    tensors = load_file(folder / "model.safetensors")
    tensors["text_projection.weight"] = tensors["text_projection.weight"].to(dtype)
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    if as_pickle:
        save_as_pickle(folder, tensors)
    with pytest.raises(ValueError, match=r"text_projection\.weight is of the type \w+, expected F32, F16, BF16, F64"):
        VitaClipModel.from_pretrained(folder)


def test_the_numbers_of_positions_in_old_files_of_clip_are_integers(saved, tmp_path):
    folder = shutil.copytree(saved / "clip", tmp_path / "clip")
    tensors = load_file(folder / "model.safetensors")
    tensors["text_model.embeddings.position_ids"] = torch.arange(40)[None]
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    VitaClipModel.from_pretrained(folder)


def save_as_pickle(folder, tensors):
    (folder / "model.safetensors").unlink()
    torch.save(tensors, folder / "pytorch_model.bin")
    return folder / "pytorch_model.bin"


def test_shapes_are_the_same_from_one_file_from_shards_and_from_a_pickle(saved, tmp_path):
    model = VitaClipModel.from_pretrained(saved / "full")
    expected = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    assert stored_shapes(saved / "full", {}) == expected
    model.save_pretrained(tmp_path / "shards", max_shard_size="20KB")
    assert stored_shapes(tmp_path / "shards", {}) == expected
    shutil.copytree(saved / "full", tmp_path / "pickle")
    save_as_pickle(tmp_path / "pickle", model.state_dict())
    assert stored_shapes(tmp_path / "pickle", {}) == expected
    assert VitaClipModel.from_pretrained(tmp_path / "pickle").config.label_names == LABELS


@pytest.mark.parametrize("shards", [{}, {"max_shard_size": "20KB"}], ids=["whole", "shards"])
def test_a_variant_loads_from_one_file_and_from_shards(saved, tmp_path, shards):
    model = VitaClipModel.from_pretrained(saved / "full")
    model.save_pretrained(tmp_path, variant="fp16", **shards)
    assert VitaClipModel.from_pretrained(tmp_path, variant="fp16").config.label_names == LABELS
    with pytest.raises(
        OSError, match=r"has no weights; expected model\.bf16\.safetensors or pytorch_model\.bf16\.bin"
    ):
        VitaClipModel.from_pretrained(tmp_path, variant="bf16")


def test_the_file_that_is_checked_is_the_one_that_is_loaded(saved, tmp_path):
    shutil.copytree(saved / "full", tmp_path, dirs_exist_ok=True)
    tensors = load_file(tmp_path / "model.safetensors")
    torch.save({name: tensor[..., None] for name, tensor in tensors.items()}, tmp_path / "pytorch_model.bin")
    VitaClipModel.from_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"has the shape .*expected|holds"):
        VitaClipModel.from_pretrained(tmp_path, use_safetensors=False)


def test_a_pickle_that_is_compressed_or_repeats_a_small_memory_is_an_error(saved, tmp_path, monkeypatch):
    shutil.copytree(saved / "full", tmp_path / "full")
    tensors = load_file(saved / "full" / "model.safetensors")
    path = save_as_pickle(tmp_path / "full", tensors)
    with zipfile.ZipFile(path) as archive:
        parts = {part.filename: archive.read(part) for part in archive.infolist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    with pytest.raises(ValueError, match=r"pytorch_model\.bin cannot be used: it is a compressed archive"):
        VitaClipModel.from_pretrained(tmp_path / "full")
    monkeypatch.setattr(stored_weights, "MOST_BYTES_BEYOND_FILE", 2**20)
    torch.save({**tensors, "x": torch.zeros(1).expand(2**20)}, path)
    with pytest.raises(ValueError, match="would take"):
        VitaClipModel.from_pretrained(tmp_path / "full")


def test_a_pickle_with_code_is_an_error_and_not_run(saved, tmp_path):
    shutil.copytree(saved / "full", tmp_path / "full")
    (tmp_path / "full" / "model.safetensors").unlink()

    class Payload:
        def __reduce__(self):
            return (open, (str(tmp_path / "ran"), "w"))

    torch.save({"x": Payload()}, tmp_path / "full" / "pytorch_model.bin")
    with pytest.raises(ValueError, match=r"pytorch_model\.bin cannot be used"):
        VitaClipModel.from_pretrained(tmp_path / "full")
    assert not (tmp_path / "ran").exists()


def test_a_folder_without_weights_and_a_lost_shard_are_errors_that_name_them(saved, tmp_path):
    shutil.copytree(saved / "full", tmp_path / "full")
    (tmp_path / "full" / "model.safetensors").unlink()
    with pytest.raises(OSError, match="has no weights"):
        VitaClipModel.from_pretrained(tmp_path / "full")
    VitaClipModel.from_pretrained(saved / "full").save_pretrained(tmp_path / "shards", max_shard_size="20KB")
    sorted((tmp_path / "shards").glob("model-*"))[1].unlink()
    with pytest.raises(OSError, match="model-00002-of"):
        VitaClipModel.from_pretrained(tmp_path / "shards")
    (tmp_path / "shards" / "model.safetensors.index.json").write_text('{"weight_map": 3}')
    with pytest.raises(ValueError, match=r"index\.json cannot be used"):
        VitaClipModel.from_pretrained(tmp_path / "shards")


@pytest.mark.parametrize("place", ["../elsewhere.safetensors", "/tmp/elsewhere.safetensors"])
def test_an_index_names_files_beside_it_alone(saved, tmp_path, place):
    folder = shutil.copytree(saved / "full", tmp_path / "full")
    (folder / "model.safetensors").unlink()
    index = {"metadata": {}, "weight_map": {"logit_scale": place}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(
        ValueError, match=r"full/model\.safetensors\.index\.json cannot be used: it names .*not beside it"
    ):
        VitaClipModel.from_pretrained(folder)


def test_a_pickle_that_holds_more_than_tensors_is_refused_without_advice_to_run_it(saved, tmp_path):
    folder = shutil.copytree(saved / "full", tmp_path / "full")
    save_as_pickle(folder, {"logit_scale": shutil.rmtree})
    with pytest.raises(ValueError, match=r"pytorch_model\.bin cannot be used: it holds more than tensors") as caught:
        VitaClipModel.from_pretrained(folder)
    assert "weights_only" not in str(caught.value)


@pytest.mark.parametrize("kind", ["adapter", "full"])
def test_a_header_that_is_longer_than_that_of_any_model_is_not_read(saved, tmp_path, kind):
    folder = shutil.copytree(saved / kind, tmp_path / kind)
    header = json.dumps(
        {f"t{index}": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]} for index in range(10**5)}
    )
    path = next(folder.glob("*.safetensors"))
    path.write_bytes(len(header).to_bytes(8, "little") + header.encode())
    with pytest.raises(
        OSError, match=r"safetensors is not a readable .* its header says that it has \d,\d+,\d+ bytes"
    ):
        VitaClipModel.from_pretrained(folder)


@pytest.mark.parametrize("kind", ["adapter", "full"])
@pytest.mark.parametrize("found", [{"quant_method": "torchao"}, {"quant_method": "none such"}, {"bits": 4}, [3]])
def test_a_stored_quantization_that_is_none_is_an_error_that_names_the_folder(saved, tmp_path, kind, found):
    folder = shutil.copytree(saved / kind, tmp_path / kind)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "quantization_config": found}))
    with pytest.raises(ValueError, match=rf"{kind}: its (quantization_config|config\.json)") as caught:
        VitaClipModel.from_pretrained(folder)
    assert "\n" not in str(caught.value)
