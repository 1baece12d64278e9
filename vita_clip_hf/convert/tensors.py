"""The authors' tensors to ours and back. Facts of their layout: `visual.*`, `textual.*`, `prompt_learner.*`."""

import os
import re
from typing import Any

import torch

from ..modeling.adapter_file_vita_clip import check_same_shapes, is_quantized, shapes_of
from ..modeling.configuration_vita_clip import VitaClipConfig, errors_naming
from ..modeling.modeling_vita_clip import VitaClipModel
from ..modeling.stored_weights_vita_clip import expected_shapes

# Their name, our name. A layer's own names stand under `visual.blocks.{i}.` and `textual.transformer.resblocks.{i}.`.
VISION_NAMES = {
    "cls_token": "embeddings.class_embedding",
    "time_embed": "embeddings.temporal_embedding",
    "patch_embed.proj.weight": "embeddings.patch_embedding.weight",
    "pos_embed": "embeddings.position_embedding.weight",
    "ln_pre.weight": "pre_layrnorm.weight",
    "ln_pre.bias": "pre_layrnorm.bias",
    "ln_post.weight": "post_layernorm.weight",
    "ln_post.bias": "post_layernorm.bias",
}
VISION_LAYER_MODULES = {
    "norm1": "layer_norm1",
    "norm2": "layer_norm2",
    "mlp.fc1": "mlp.fc1",
    "mlp.fc2": "mlp.fc2",
    "cls_proj": "prompts.cls_projection",
    "summary_ln": "prompts.summary_layer_norm",
    **{f"attn.{part}_proj": f"self_attn.{part}_proj" for part in ("q", "k", "v", "out")},
    **{f"summary_attn_layer.{part}_proj": f"prompts.summary_attn.{part}_proj" for part in ("q", "k", "v", "out")},
}
TEXT_NAMES = {
    "token_embedding.weight": "embeddings.token_embedding.weight",
    "positional_embedding": "embeddings.position_embedding.weight",
    "ln_final.weight": "final_layer_norm.weight",
    "ln_final.bias": "final_layer_norm.bias",
}
TEXT_LAYER_MODULES = {
    "ln_1": "layer_norm1",
    "ln_2": "layer_norm2",
    "mlp.c_fc": "mlp.fc1",
    "mlp.c_proj": "mlp.fc2",
    "attn.out_proj": "self_attn.out_proj",
}
DERIVED = ("prompt_learner.token_prefix", "prompt_learner.token_suffix")
CLIP_HEAD_WIDTH = 64


def vita_clip_from_original(
    state_dict: dict[str, torch.Tensor],
    *,
    class_input_ids: torch.Tensor,
    num_attention_heads: int | None = None,
    text_num_attention_heads: int | None = None,
    text_prompt_position: str = "end",
    id2label: dict[int, str] | None = None,
) -> VitaClipModel:
    """
    Builds a model from the weights of a released checkpoint.

    Args:
        state_dict: the checkpoint's `"model"`, with or without the prefix `module.` on its keys.
        class_input_ids: tokens of `"X X .. X name."` of each class, one X for each context, `(C, S)`, padded after
            the end token.
        num_attention_heads: of the vision transformer, which the file does not say; by default width / 64.
        text_num_attention_heads: of the text transformer; by default width / 64.
        text_prompt_position: `"end"`, `"front"` or `"middle"`, which the file does not say.
        id2label: class names; by default `LABEL_0`, ...

    Returns:
        A model in evaluation mode whose gradients are as released: prompts, contexts, temporal embedding and
        `logit_scale`, and not the projection of the class tokens.

    Raises:
        ValueError: a tensor is missing, unknown or of another shape than the others imply.
    """
    original = {name.removeprefix("module."): tensor for name, tensor in state_dict.items()}
    original = {name: tensor for name, tensor in original.items() if name not in DERIVED}
    with errors_naming("The checkpoint"):
        config = config_from_shapes(original, num_attention_heads, text_num_attention_heads)
        tensors = tensors_from_original(original)
    config.text_config.text_prompt_position = text_prompt_position
    config.label_token_ids = strip_placeholders(class_input_ids, config.text_prompt_length)
    names = id2label or {index: f"LABEL_{index}" for index in range(len(config.label_token_ids))}
    config.id2label = {int(index): name for index, name in names.items()}
    config.label2id = {name: index for index, name in config.id2label.items()}
    check_is_whole(config, tensors, "The checkpoint")

    model = VitaClipModel(config)
    load_strictly(model, tensors)
    return model.eval()


def tensors_from_original(original: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The tensors of a released checkpoint under our names; see the tables of this module."""
    renamed = {}
    for name, tensor in original.items():
        if is_quantized(tensor) or tensor.is_meta:
            raise ValueError(f"{name} is of the type {tensor.dtype} on {tensor.device}; expected floats in memory.")
        renamed.update(_rename(name, tensor))
    bias = original.get("visual.patch_embed.proj.bias")
    if bias is not None:
        # CLIP's patch convolution has no bias. Added to every patch, it can as well be part of the patches' positions.
        positions = renamed["vision_model.embeddings.position_embedding.weight"].clone()
        positions[1:] += bias
        renamed["vision_model.embeddings.position_embedding.weight"] = positions
    return renamed


def _rename(name: str, tensor: torch.Tensor) -> dict[str, torch.Tensor]:
    if name == "logit_scale":
        return {name: tensor}
    if name == "prompt_learner.ctx":
        return {"class_prompts.contexts": tensor}
    # Their projections multiply from the right, a Linear from the left.
    if name == "visual.proj":
        return {"visual_projection.weight": tensor.t()}
    if name == "textual.text_projection":
        return {"text_projection.weight": tensor.t()}
    if name == "visual.patch_embed.proj.bias":
        return {}
    if name == "visual.global_prompts":
        return {f"{_vision_layer(i)}.prompts.global_prompts": prompts for i, prompts in enumerate(tensor)}
    if layer := re.fullmatch(r"visual\.blocks\.(\d+)\.(.+)", name):
        return _rename_vision_layer(int(layer[1]), layer[2], name, tensor)
    if layer := re.fullmatch(r"textual\.transformer\.resblocks\.(\d+)\.(.+)", name):
        return _rename_text_layer(int(layer[1]), layer[2], name, tensor)
    tower, _, rest = name.partition(".")
    if tower == "visual" and rest in VISION_NAMES:
        return {f"vision_model.{VISION_NAMES[rest]}": tensor}
    if tower == "textual" and rest in TEXT_NAMES:
        return {f"text_model.{TEXT_NAMES[rest]}": tensor}
    raise ValueError(f"It holds {name}, which no released Vita-CLIP checkpoint has.")


def _vision_layer(index: int) -> str:
    return f"vision_model.encoder.layers.{index}"


def _rename_vision_layer(index: int, rest: str, name: str, tensor: torch.Tensor) -> dict[str, torch.Tensor]:
    if rest == "local_prompts":
        return {f"{_vision_layer(index)}.prompts.local_prompts": tensor[0]}
    module, _, kind = rest.rpartition(".")
    if module not in VISION_LAYER_MODULES:
        raise ValueError(f"It holds {name}, which no released Vita-CLIP checkpoint has.")
    return {f"{_vision_layer(index)}.{VISION_LAYER_MODULES[module]}.{kind}": tensor}


def _rename_text_layer(index: int, rest: str, name: str, tensor: torch.Tensor) -> dict[str, torch.Tensor]:
    prefix = f"text_model.encoder.layers.{index}"
    renamed = rename_in_torch_layer(prefix, rest, name, tensor)
    if renamed is None:
        raise ValueError(f"It holds {name}, which no released Vita-CLIP checkpoint has.")
    return renamed


def rename_in_torch_layer(prefix: str, rest: str, name: str, tensor: torch.Tensor) -> dict[str, torch.Tensor] | None:
    """
    A tensor of a layer around torch's `nn.MultiheadAttention`, as OpenAI's CLIP has it, in the layer `prefix` of ours.

    Args:
        prefix: our name of the layer.
        rest: the tensor's name in theirs.
        name: its whole name, for messages.
        tensor: queries, keys and values in one, or another tensor.

    Returns:
        The tensors by our names; `None` if such a layer has no tensor of that name.

    Raises:
        ValueError: the tensor does not hold queries, keys and values.
    """
    if rest in ("attn.in_proj_weight", "attn.in_proj_bias"):
        if tensor.ndim == 0 or len(tensor) % 3:
            raise ValueError(f"{name} has the shape {tuple(tensor.shape)}; expected queries, keys and values in rows.")
        kind = rest.rpartition("_")[2]
        parts = zip(("q", "k", "v"), tensor.chunk(3), strict=True)
        return {f"{prefix}.self_attn.{part}_proj.{kind}": piece for part, piece in parts}
    module, _, kind = rest.rpartition(".")
    if module not in TEXT_LAYER_MODULES:
        return None
    return {f"{prefix}.{TEXT_LAYER_MODULES[module]}.{kind}": tensor}


def config_from_shapes(
    original: dict[str, torch.Tensor], num_attention_heads: int | None, text_num_attention_heads: int | None
) -> VitaClipConfig:
    """The configuration that the shapes of a checkpoint's tensors imply."""

    def shape(name: str, dimensions: int = 2) -> torch.Size:
        if name not in original:
            raise ValueError(f"It has no {name}, which every released Vita-CLIP checkpoint has.")
        found = original[name].shape
        if len(found) != dimensions or 0 in found:
            raise ValueError(f"{name} has the shape {tuple(found)}; expected {dimensions} dimensions.")
        return found

    def count_layers(pattern: str) -> int:
        """Layers whose MLP has the size of the first one's: their number says how much is made."""
        first = shape(pattern.format(0))
        count = 0
        while pattern.format(count) in original and original[pattern.format(count)].shape == first:
            count += 1
        return count

    width, _, patch_size, _ = shape("visual.patch_embed.proj.weight", 4)
    patches_per_side = round((shape("visual.pos_embed")[0] - 1) ** 0.5)
    vocab_size, text_width = shape("textual.token_embedding.weight")
    vision: dict[str, Any] = {
        "hidden_size": width,
        "patch_size": patch_size,
        "image_size": patch_size * patches_per_side,
        "intermediate_size": shape("visual.blocks.0.mlp.fc1.weight")[0],
        "num_hidden_layers": count_layers("visual.blocks.{}.mlp.fc1.weight"),
        "num_attention_heads": num_attention_heads or max(1, width // CLIP_HEAD_WIDTH),
        "projection_dim": shape("visual.proj")[1],
        "use_temporal_embedding": "visual.time_embed" in original,
        "use_summary_token": "visual.blocks.0.summary_ln.weight" in original,
        "use_local_prompts": "visual.blocks.0.local_prompts" in original,
        "use_global_prompts": "visual.global_prompts" in original,
        "train_cls_projection": False,
    }
    if vision["use_temporal_embedding"]:
        vision["num_frames"] = shape("visual.time_embed")[0]
    if vision["use_global_prompts"]:
        vision["num_global_prompts"] = shape("visual.global_prompts", 3)[1]
    text: dict[str, Any] = {
        "vocab_size": vocab_size,
        "hidden_size": text_width,
        "intermediate_size": shape("textual.transformer.resblocks.0.mlp.c_fc.weight")[0],
        "max_position_embeddings": shape("textual.positional_embedding")[0],
        "num_hidden_layers": count_layers("textual.transformer.resblocks.{}.mlp.c_fc.weight"),
        "num_attention_heads": text_num_attention_heads or max(1, text_width // CLIP_HEAD_WIDTH),
        "projection_dim": shape("textual.text_projection")[1],
        "text_prompt_length": 0,
    }
    if "prompt_learner.ctx" in original:
        contexts = original["prompt_learner.ctx"]
        text["text_prompt_length"] = contexts.shape[-2]
        text["text_prompt_scope"] = "class" if contexts.ndim == 3 else "unified"
    return VitaClipConfig(vision_config=vision, text_config=text, projection_dim=vision["projection_dim"])


def strip_placeholders(class_input_ids: torch.Tensor, num_contexts: int) -> list[list[int]]:
    """Tokens of `"X X .. X name."` `(C, S)` -> for each class those of `"name."` with start and end, unpadded."""
    stripped = []
    for index, ids in enumerate(class_input_ids.tolist()):
        end = ids.index(max(ids))  # CLIP's end token is its largest
        if end < num_contexts + 2:
            raise ValueError(
                f"class_input_ids of class {index} has {end - 1} tokens between start and end; expected "
                f"{num_contexts} placeholders and a name."
            )
        stripped.append([ids[0], *ids[1 + num_contexts : end + 1]])
    return stripped


def load_strictly(model: VitaClipModel, tensors: dict[str, torch.Tensor]) -> None:
    """Loads a whole model's weights; raises `ValueError` if they are not exactly the model's in name and shape."""
    check_same_shapes(shapes_of(model.state_dict()), shapes_of(tensors), "The checkpoint", "a whole Vita-CLIP")
    model.load_state_dict(tensors)


def check_is_whole(config: VitaClipConfig, tensors: dict[str, torch.Tensor], source: str | os.PathLike) -> None:
    """
    Raises `ValueError` if `tensors` (our names) of `source` are not exactly those of a model of this configuration, in
    name and shape. No memory is taken for the model.
    """
    expected = expected_shapes(VitaClipModel, config, shapes_of(tensors), source)
    check_same_shapes(expected, shapes_of(tensors), source, "a whole Vita-CLIP")


def vita_clip_to_original(model: VitaClipModel) -> dict[str, torch.Tensor]:
    """
    The model's weights under the names of a released checkpoint, without its prefix `module.` and without the tensors
    that are derived from others. The patch bias is zero: ours is part of the patches' positions.

    Raises:
        ValueError: the model is of the compact variant, which the released code does not have.
    """
    config = model.config.vision_config
    if config.cls_projection_rank is not None or config.summary_attention_dim is not None:
        raise ValueError("The compact variant has no counterpart among the original checkpoints.")
    ours = {name: tensor.detach().cpu() for name, tensor in model.state_dict().items()}
    original: dict[str, torch.Tensor] = {"logit_scale": ours["logit_scale"]}
    if "class_prompts.contexts" in ours:
        original["prompt_learner.ctx"] = ours["class_prompts.contexts"]
    original["visual.proj"] = ours["visual_projection.weight"].t().contiguous()
    original["textual.text_projection"] = ours["text_projection.weight"].t().contiguous()
    original["visual.patch_embed.proj.bias"] = torch.zeros(config.hidden_size)
    for theirs, name in VISION_NAMES.items():
        if f"vision_model.{name}" in ours:
            original[f"visual.{theirs}"] = ours[f"vision_model.{name}"]
    for theirs, name in TEXT_NAMES.items():
        original[f"textual.{theirs}"] = ours[f"text_model.{name}"]
    _vision_layers_to_original(ours, config.num_hidden_layers, original)
    _text_layers_to_original(ours, model.config.text_config.num_hidden_layers, original)
    return original


def _vision_layers_to_original(
    ours: dict[str, torch.Tensor], num_layers: int, original: dict[str, torch.Tensor]
) -> None:
    global_prompts = []
    for index in range(num_layers):
        layer = _vision_layer(index)
        for theirs, name in VISION_LAYER_MODULES.items():
            for kind in ("weight", "bias"):
                if f"{layer}.{name}.{kind}" in ours:
                    original[f"visual.blocks.{index}.{theirs}.{kind}"] = ours[f"{layer}.{name}.{kind}"]
        if f"{layer}.prompts.local_prompts" in ours:
            original[f"visual.blocks.{index}.local_prompts"] = ours[f"{layer}.prompts.local_prompts"][None]
        if f"{layer}.prompts.global_prompts" in ours:
            global_prompts.append(ours[f"{layer}.prompts.global_prompts"])
    if global_prompts:
        original["visual.global_prompts"] = torch.stack(global_prompts)


def _text_layers_to_original(
    ours: dict[str, torch.Tensor], num_layers: int, original: dict[str, torch.Tensor]
) -> None:
    for index in range(num_layers):
        layer, block = f"text_model.encoder.layers.{index}", f"textual.transformer.resblocks.{index}"
        for theirs, name in TEXT_LAYER_MODULES.items():
            for kind in ("weight", "bias"):
                original[f"{block}.{theirs}.{kind}"] = ours[f"{layer}.{name}.{kind}"]
        for kind in ("weight", "bias"):
            parts = [ours[f"{layer}.self_attn.{part}_proj.{kind}"] for part in ("q", "k", "v")]
            original[f"{block}.attn.in_proj_{kind}"] = torch.cat(parts)


__all__ = ["vita_clip_from_original", "vita_clip_to_original"]
