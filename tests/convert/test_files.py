"""The authors' files: converted to adapters and full checkpoints, written again, and never executed."""

import pickle
import resource
import zipfile

import pytest
import torch
from golden_files import GOLDEN_NAMES, load_golden
from tolerance import assert_computed_equal, assert_stored_equal
from toy_checkpoint import toy_adapter_on, toy_processor
from toy_vita_clip import LABELS, save_toy_clip, toy_clips
from transformers import CLIPConfig, CLIPModel, CLIPTokenizer
from vita_clip_hf.modeling.adapter_file_vita_clip import ADAPTER_FILE, is_prompt

from vita_clip_hf import VitaClipModel, VitaClipProcessor
from vita_clip_hf.convert import (
    convert_checkpoint,
    files,
    read_original,
    vita_clip_from_original,
    vita_clip_to_original,
    write_original,
)


def save_original(path, weights: dict, **more):
    """As the authors' training code writes a checkpoint."""
    content = {"model": {f"module.{name}": tensor for name, tensor in weights.items()}, "next_step": 5, **more}
    torch.save(content, path)
    return path


def compress(path):
    """The same archive, compressed."""
    with zipfile.ZipFile(path) as archive:
        parts = {part.filename: archive.read(part) for part in archive.infolist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in parts.items():
            archive.writestr(name, content)


@pytest.fixture
def base(tmp_path):
    """A toy CLIP with the released checkpoints' rule for heads, tokenizer and image settings."""
    folder = save_toy_clip(tmp_path / "base")
    toy_processor().save_pretrained(folder)
    return folder


@pytest.fixture
def trained(base) -> VitaClipModel:
    """A model as released: the projection of the class tokens was not trained."""
    return toy_adapter_on(base, train_cls_projection=False)


@pytest.fixture
def original(trained, tmp_path):
    return write_original(trained, tmp_path / "original.pth")


class TestConversion:
    def test_on_its_own_base_it_becomes_an_adapter_with_the_same_weights(self, original, base, trained, tmp_path):
        report = convert_checkpoint(original, base, LABELS, tmp_path / "out")
        assert (report.is_adapter, report.max_difference) == (True, 0.0)
        assert (tmp_path / "out" / ADAPTER_FILE).is_file()
        assert not (tmp_path / "out" / "model.safetensors").exists()
        converted = VitaClipModel.from_pretrained(tmp_path / "out")
        assert_stored_equal(converted.state_dict(), trained.state_dict())
        assert converted.config.label_names == LABELS
        with torch.no_grad():
            assert_computed_equal(converted(toy_clips()).logits_per_video, trained(toy_clips()).logits_per_video)

    def test_the_report_says_what_was_written(self, original, base, trained, tmp_path):
        report = str(convert_checkpoint(original, base, LABELS, tmp_path / "out"))
        count = sum(tensor.numel() for name, tensor in trained.named_parameters() if is_prompt(name))
        assert f"an adapter of {count:,} parameters" in report
        assert "the largest difference is 0" in report

    def test_another_backbone_becomes_a_full_checkpoint_with_a_note(self, base, trained, tmp_path):
        with torch.no_grad():
            trained.vision_model.post_layernorm.bias[3] += 0.5
        original = write_original(trained, tmp_path / "original.pth")
        report = convert_checkpoint(original, base, LABELS, tmp_path / "out")
        assert not report.is_adapter
        assert report.max_difference == pytest.approx(0.5)
        assert "differs by up to 0.5, in vision_model.post_layernorm.bias" in str(report)
        assert not (tmp_path / "out" / ADAPTER_FILE).exists()
        converted = VitaClipModel.from_pretrained(tmp_path / "out")
        assert_stored_equal(converted.state_dict(), trained.state_dict())
        with torch.no_grad():
            assert_computed_equal(converted(toy_clips()).logits_per_video, trained(toy_clips()).logits_per_video)

    def test_a_backbone_of_other_sizes_becomes_a_full_checkpoint(self, trained, original, tmp_path):
        other = save_toy_clip(tmp_path / "other", num_hidden_layers=2)
        report = convert_checkpoint(original, other, LABELS, tmp_path / "out")
        assert (report.is_adapter, report.max_difference, report.has_processor) == (False, None, False)
        assert "text_config.num_hidden_layers is 3, the base's 2" in str(report)
        assert "save a VitaClipProcessor into the folder" in str(report)
        assert_stored_equal(VitaClipModel.from_pretrained(tmp_path / "out").state_dict(), trained.state_dict())

    def test_a_patch_bias_is_folded_and_then_the_backbone_is_another(self, base, trained, tmp_path):
        weights = vita_clip_to_original(trained)
        weights["visual.patch_embed.proj.bias"] = torch.full_like(weights["visual.patch_embed.proj.bias"], 0.25)
        report = convert_checkpoint(save_original(tmp_path / "o.pth", weights), base, LABELS, tmp_path / "out")
        assert report.largest_in == "vision_model.embeddings.position_embedding.weight"
        assert report.max_difference == pytest.approx(0.25)

    def test_the_processor_takes_frames_as_the_released_models_do(self, original, base, tmp_path):
        convert_checkpoint(original, base, LABELS, tmp_path / "out")
        settings = VitaClipProcessor.from_pretrained(tmp_path / "out").video_processor
        assert (settings.num_frames, settings.sampling, settings.frame_stride) == (4, "strided", 16)
        assert settings.crop_size.height == 16

    @pytest.mark.parametrize("fields", [{"text_prompt_scope": "unified"}, {"text_prompt_length": 0}])
    def test_other_prompts_convert_too(self, base, fields, tmp_path):
        trained = toy_adapter_on(base, train_cls_projection=False, use_global_prompts=False, **fields)
        original = write_original(trained, tmp_path / "original.pth")
        convert_checkpoint(original, base, LABELS, tmp_path / "out")
        converted = VitaClipModel.from_pretrained(tmp_path / "out")
        assert_stored_equal(converted.state_dict(), trained.state_dict())
        with torch.no_grad():
            assert_computed_equal(converted(toy_clips()).logits_per_video, trained(toy_clips()).logits_per_video)

    def test_the_place_of_the_class_name_can_be_told(self, original, base, tmp_path):
        convert_checkpoint(original, base, LABELS, tmp_path / "out", text_prompt_position="middle")
        assert VitaClipModel.from_pretrained(tmp_path / "out").config.text_prompt_position == "middle"

    @pytest.mark.parametrize("name", GOLDEN_NAMES)
    def test_golden_weights_convert_to_an_adapter_with_the_originals_outputs(self, name, shared_dir, tmp_path):
        golden = load_golden(name)
        save_clip_of(golden, tmp_path / "base", shared_dir / "data" / "clip_tokenizer")
        original = save_original(tmp_path / "golden.pth", golden.state, optimizer={"state": {0: torch.ones(2)}})
        classes, position = golden.config["classes"], golden.config["text_prompt_pos"]
        report = convert_checkpoint(original, tmp_path / "base", classes, tmp_path / "out", position)
        assert report.is_adapter
        model = VitaClipModel.from_pretrained(tmp_path / "out")
        with torch.no_grad():
            outputs = model(golden.inputs["pixel_values"].transpose(1, 2))
        torch.testing.assert_close(outputs.logits_per_video, golden.outputs["logits"], atol=1e-5, rtol=0)
        weights = read_original(write_original(model, tmp_path / "again.pth"))
        assert golden.state.keys() <= weights.keys()


def save_clip_of(golden, folder, tokenizer_folder) -> None:
    """The CLIP inside of a golden model, as a base."""
    whole = vita_clip_from_original(
        golden.state,
        class_input_ids=golden.inputs["tokenized_prompts"],
        num_attention_heads=golden.config["num_heads"],
        text_num_attention_heads=golden.config["text_heads"],
    )
    halves = (whole.config.text_config.to_dict(), whole.config.vision_config.to_dict())
    text, vision = ({k: v for k, v in half.items() if k != "model_type"} for half in halves)
    clip = CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=whole.config.projection_dim))
    weights = {name: tensor for name, tensor in whole.state_dict().items() if not is_prompt(name)}
    clip.load_state_dict(weights, strict=False)
    clip.save_pretrained(folder)
    CLIPTokenizer.from_pretrained(tokenizer_folder).save_pretrained(folder)


class TestWayBack:
    def test_there_and_back_is_exact(self, original, base, tmp_path):
        convert_checkpoint(original, base, LABELS, tmp_path / "out")
        again = write_original(VitaClipModel.from_pretrained(tmp_path / "out"), tmp_path / "again.pth")
        assert_stored_equal(read_original(again), read_original(original))

    def test_the_file_has_the_released_layout(self, original, trained):
        content = torch.load(original, weights_only=True)
        assert set(content) == {"model"}
        assert all(name.startswith("module.") for name in content["model"])
        prefix, suffix = (content["model"][f"module.prompt_learner.token_{part}"] for part in ("prefix", "suffix"))
        width, contexts = 24, 8
        assert prefix.shape == (len(LABELS), 1, width)
        assert suffix.shape == (len(LABELS), 40 - 1 - contexts, width)

    def test_the_compact_variant_has_no_way_back(self, base, tmp_path):
        model = toy_adapter_on(base, cls_projection_rank=4)
        with pytest.raises(ValueError, match="compact variant"):
            write_original(model, tmp_path / "original.pth")
        assert list(tmp_path.glob("original*")) == []


class TestLabels:
    def test_another_number_of_classes_is_an_error(self, original, base, tmp_path):
        with pytest.raises(ValueError, match="was trained on 3 classes; the list of labels has 2"):
            convert_checkpoint(original, base, LABELS[:2], tmp_path / "out")
        assert not (tmp_path / "out").exists()

    @pytest.mark.parametrize("labels", [["tai chi", "ride_bike", "swim"], ["ride_bike", "tai chi", "swimming"]])
    def test_other_names_or_another_order_are_recognised_and_refused(self, original, base, labels, tmp_path):
        with pytest.raises(ValueError, match=r"trained on other classes: class \d is not"):
            convert_checkpoint(original, base, labels, tmp_path / "out")

    def test_a_file_of_labels_and_a_known_list_are_read(self, original, base, tmp_path):
        (tmp_path / "labels.txt").write_text("\n".join(LABELS))
        convert_checkpoint(original, base, tmp_path / "labels.txt", tmp_path / "out")
        with pytest.raises(ValueError, match="3 classes; the list of labels has 400"):
            convert_checkpoint(original, base, "k400", tmp_path / "out")


class Malicious:
    """Unpickled, it would write a file."""

    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return (open, (str(self.target), "w"))


class TestReading:
    @pytest.mark.parametrize("zipped", [True, False])
    def test_a_malicious_file_is_refused_and_does_nothing(self, tmp_path, base, zipped):
        target, path = tmp_path / "created", tmp_path / "malicious.pth"
        torch.save({"model": Malicious(target)}, path, _use_new_zipfile_serialization=zipped)
        with pytest.raises(ValueError, match=r"malicious\.pth was not loaded: .* could run any code"):
            convert_checkpoint(path, base, LABELS, tmp_path / "out")
        assert not target.exists()
        # The file is what it says: loaded without care, it does its work.
        torch.load(path, weights_only=False)
        assert target.exists()

    @pytest.mark.filterwarnings("ignore:Detected pickle protocol")
    def test_a_plain_malicious_pickle_is_refused_too(self, tmp_path):
        target, path = tmp_path / "created", tmp_path / "plain.pth"
        path.write_bytes(pickle.dumps({"model": Malicious(target)}))
        with pytest.raises(ValueError, match=r"plain\.pth was not loaded"):
            read_original(path)
        assert not target.exists()

    def test_files_of_old_torch_versions_are_read(self, tmp_path):
        weights = {"module.a": torch.arange(3.0)}
        torch.save({"model": weights}, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
        assert torch.equal(read_original(tmp_path / "old.pth")["a"], weights["module.a"])

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (b"", "is not a checkpoint written by torch.save, or is damaged"),
            (b"PK\x03\x04 cut off", "is not a checkpoint|was not loaded"),
            (b"plain text", "is not a checkpoint|was not loaded"),
        ],
    )
    def test_what_is_no_checkpoint_is_an_error(self, tmp_path, content, message):
        (tmp_path / "bad.pth").write_bytes(content)
        with pytest.raises(ValueError, match=rf"bad\.pth.*({message})"):
            read_original(tmp_path / "bad.pth")

    @pytest.mark.parametrize("content", [{"model": {}}, {"optimizer": 3}, [1, 2], {"model": {"a": "b"}}])
    def test_a_file_without_weights_is_an_error(self, tmp_path, content):
        torch.save(content, tmp_path / "bad.pth")
        with pytest.raises(ValueError, match=r"bad\.pth has no weights: expected tensors by name under 'model'"):
            read_original(tmp_path / "bad.pth")

    def test_a_file_that_is_cut_off_is_an_error(self, original):
        original.write_bytes(original.read_bytes()[:20000])
        with pytest.raises(
            ValueError, match=r"original\.pth is not a checkpoint written by torch\.save, or is damaged"
        ):
            read_original(original)

    def test_a_compressed_archive_is_read_as_it_was(self, original):
        """Mapped into memory, it would give the compressed bytes for weights."""
        expected = {name: tensor.clone() for name, tensor in read_original(original).items()}
        compress(original)
        assert_stored_equal(read_original(original), expected)

    def test_an_archive_that_unpacks_to_much_more_than_it_has_is_an_error(self, tmp_path, monkeypatch):
        monkeypatch.setattr(files, "MOST_BYTES_BEYOND_FILE", 2**20)
        torch.save({"model": {"a": torch.zeros(2**20)}}, tmp_path / "bomb.pth")
        compress(tmp_path / "bomb.pth")
        with pytest.raises(
            ValueError, match=r"bomb\.pth .* has [\d,]+ bytes and unpacks to 4,19[\d,]+; expected at most"
        ):
            read_original(tmp_path / "bomb.pth")

    def test_tensors_that_repeat_a_small_memory_are_an_error(self, tmp_path):
        torch.save({"model": {"a": torch.zeros(1).expand(2**40)}}, tmp_path / "view.pth")
        with pytest.raises(ValueError, match=r"view\.pth has [\d,]+ bytes and would take 4,398,046,511,104"):
            read_original(tmp_path / "view.pth")

    def test_values_that_are_not_finite_are_an_error(self, tmp_path):
        torch.save({"model": {"a": torch.tensor([1.0, torch.nan])}}, tmp_path / "nan.pth")
        with pytest.raises(ValueError, match=r"nan\.pth: a has NaN or infinite values"):
            read_original(tmp_path / "nan.pth")

    def test_names_of_layers_without_weights_make_no_layers(self, trained, base, tmp_path):
        weights = vita_clip_to_original(trained)
        weights["visual.blocks.1000000.norm1.weight"] = torch.zeros(1)
        path = save_original(tmp_path / "layers.pth", weights)
        with pytest.raises(ValueError, match=r"unexpected \['vision_model\.encoder\.layers\.1000000"):
            convert_checkpoint(path, base, LABELS, tmp_path / "out")

    @pytest.mark.parametrize(
        "name", ["visual.patch_embed.proj.weight", "textual.token_embedding.weight", "visual.proj"]
    )
    def test_a_tensor_of_other_dimensions_is_named(self, trained, base, tmp_path, name):
        weights = {**vita_clip_to_original(trained), name: torch.zeros(3)}
        with pytest.raises(ValueError, match=name):
            convert_checkpoint(save_original(tmp_path / "flat.pth", weights), base, LABELS, tmp_path / "out")

    @pytest.mark.parametrize("name", ["visual.blocks.1.mlp.fc1.bias", "textual.ln_final.weight", "visual.cls_token"])
    @pytest.mark.parametrize(
        "change",
        [
            lambda tensor: tensor[None],
            lambda tensor: tensor[:-1],
            lambda tensor: torch.zeros(0),
            lambda tensor: tensor[:1].expand(10**6),
            lambda tensor: tensor.bool(),
            lambda tensor: tensor.to(torch.complex64),
            lambda tensor: tensor.to("meta"),
            pytest.param(
                lambda tensor: torch.quantize_per_tensor(tensor, 0.1, 0, torch.qint8),
                marks=pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor"),
            ),
        ],
        ids=["more dimensions", "shorter", "empty", "stretched", "bool", "complex", "meta", "quantized"],
    )
    def test_a_tensor_that_is_not_the_bases_is_an_error_of_the_file(self, trained, base, tmp_path, name, change):
        weights = vita_clip_to_original(trained)
        path = save_original(tmp_path / "odd.pth", {**weights, name: change(weights[name])})
        with pytest.raises(ValueError, match=r"odd\.pth.*(has the shape|is of the type|has no weights|expected)"):
            convert_checkpoint(path, base, LABELS, tmp_path / "out")
        assert not (tmp_path / "out").exists()

    def test_a_width_that_one_tensor_alone_has_takes_no_memory(self, trained, base, tmp_path):
        weights = vita_clip_to_original(trained)
        projection = weights["visual.patch_embed.proj.weight"]
        weights["visual.patch_embed.proj.weight"] = projection[:1].expand(10**6, *projection.shape[1:])
        path = save_original(tmp_path / "wide.pth", weights)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        with pytest.raises(ValueError, match=r"wide\.pth"):
            convert_checkpoint(path, base, LABELS, tmp_path / "out")
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2**20, "in kB: less than 1 GiB"

    def test_what_is_no_vita_clip_is_an_error_that_names_the_file(self, base, tmp_path):
        for weights in ({"x": torch.ones(2)}, {"visual.cls_token": torch.ones(2)}, {"logit_scale": torch.ones(())}):
            with pytest.raises(ValueError, match=r"other\.pth cannot be used: It (has no|holds) "):
                convert_checkpoint(save_original(tmp_path / "other.pth", weights), base, LABELS, tmp_path / "out")

    def test_missing_files_are_named(self, tmp_path, base):
        with pytest.raises(OSError, match=r"absent\.pth: no such file"):
            convert_checkpoint(tmp_path / "absent.pth", base, LABELS, tmp_path / "out")

    def test_missing_unknown_and_misshapen_tensors_are_named(self, trained, base, tmp_path):
        weights = vita_clip_to_original(trained)
        del weights["visual.blocks.1.summary_ln.bias"]
        with pytest.raises(ValueError, match=r"missing .*layers\.1\.prompts\.summary_layer_norm\.bias"):
            convert_checkpoint(save_original(tmp_path / "a.pth", weights), base, LABELS, tmp_path / "out")
        weights["visual.blocks.1.summary_ln.bias"] = torch.zeros(5)
        with pytest.raises(ValueError, match=r"summary_layer_norm\.bias has the shape \(5,\), expected \(32,\)"):
            convert_checkpoint(save_original(tmp_path / "b.pth", weights), base, LABELS, tmp_path / "out")
        weights["visual.surprise"] = torch.zeros(5)
        with pytest.raises(ValueError, match=r"holds visual\.surprise"):
            convert_checkpoint(save_original(tmp_path / "c.pth", weights), base, LABELS, tmp_path / "out")
        assert not (tmp_path / "out").exists()


def test_a_disk_that_is_full_is_an_error_that_names_the_file(trained, tmp_path, monkeypatch):
    def fail(*_):
        raise RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 26112 vs 26064")

    monkeypatch.setattr(torch, "save", fail)
    with pytest.raises(OSError, match=r"back\.pth could not be written: .*unexpected pos"):
        write_original(trained, tmp_path / "back.pth")
    assert not list(tmp_path.glob("*back*"))
