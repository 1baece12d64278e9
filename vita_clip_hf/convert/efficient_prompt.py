"""Efficient-Prompt's released tensors to ours. Facts of their layout: OpenAI's CLIP under `clipmodel.*`."""

import re
from collections.abc import Mapping

import torch

from ..modeling.adapter_file_vita_clip import check_same_shapes, shapes_of
from ..modeling.configuration_efficient_prompt import EfficientPromptConfig
from ..modeling.modeling_efficient_prompt import LOGIT_SCALE, EfficientPromptModel
from .tensors import CLIP_HEAD_WIDTH, rename_in_torch_layer, strip_placeholders

# Their name, our name.
NAMES = {
    "clipmodel.visual.class_embedding": "vision_model.embeddings.class_embedding",
    "clipmodel.visual.conv1.weight": "vision_model.embeddings.patch_embedding.weight",
    "clipmodel.visual.positional_embedding": "vision_model.embeddings.position_embedding.weight",
    "clipmodel.visual.ln_pre.weight": "vision_model.pre_layrnorm.weight",
    "clipmodel.visual.ln_pre.bias": "vision_model.pre_layrnorm.bias",
    "clipmodel.visual.ln_post.weight": "vision_model.post_layernorm.weight",
    "clipmodel.visual.ln_post.bias": "vision_model.post_layernorm.bias",
    "clipmodel.token_embedding.weight": "text_model.embeddings.token_embedding.weight",
    "clipmodel.positional_embedding": "text_model.embeddings.position_embedding.weight",
    "clipmodel.ln_final.weight": "text_model.final_layer_norm.weight",
    "clipmodel.ln_final.bias": "text_model.final_layer_norm.bias",
    "embedding.weight": "class_prompts.contexts",
    "temporalEmbedding.weight": "temporal_transformer.temporal_embedding",
}
# Their projections multiply from the right, a Linear from the left.
TRANSPOSED = {
    "clipmodel.visual.proj": "visual_projection.weight",
    "clipmodel.text_projection": "text_projection.weight",
}
# The layers of their three transformers have the same names inside.
LAYERS = {
    "clipmodel.visual.transformer": "vision_model.encoder.layers",
    "clipmodel.transformer": "text_model.encoder.layers",
    "temporalModelling": "temporal_transformer.layers",
}
UNUSED = ("clipmodel.logit_scale",)  # the logits are cosines divided by a fixed temperature


def efficient_prompt_from_original(
    state_dict: dict[str, torch.Tensor],
    *,
    class_input_ids: torch.Tensor,
    prefix_length: int,
    suffix_length: int,
    num_attention_heads: int | None = None,
    text_num_attention_heads: int | None = None,
    temporal_num_attention_heads: int = 8,
    id2label: dict[int, str] | None = None,
) -> EfficientPromptModel:
    """
    Builds a model from the weights of a released checkpoint of Efficient-Prompt.

    Args:
        state_dict: the checkpoint's `"state_dict"`, with or without the prefix `module.` on its keys.
        class_input_ids: tokens of each class name, without learned vectors and full stop, `(C, S)`, padded behind the
            end token.
        prefix_length: learned vectors before a name, P, which the file does not say.
        suffix_length: learned vectors behind it, Q, which the file does not say.
        num_attention_heads: of the vision transformer, which the file does not say; by default width / 64.
        text_num_attention_heads: of the text transformer; by default width / 64.
        temporal_num_attention_heads: of the Transformer over frames.
        id2label: class names; by default `LABEL_0`, ...

    Returns:
        A model in evaluation mode, in which the learned vectors and the temporal Transformer have gradients.

    Raises:
        ValueError: a tensor is missing, unknown or of another shape than the others imply, or a name is too long.
    """
    original = {name.removeprefix("module."): tensor for name, tensor in state_dict.items()}
    config = _config_from_shapes(
        original,
        prompts={"prefix_length": prefix_length, "suffix_length": suffix_length},
        heads=(num_attention_heads, text_num_attention_heads, temporal_num_attention_heads),
    )
    config.label_token_ids = strip_placeholders(class_input_ids, 0)
    names = id2label or {index: f"LABEL_{index}" for index in range(len(config.label_token_ids))}
    config.id2label = {int(index): name for index, name in names.items()}
    config.label2id = {name: index for index, name in config.id2label.items()}

    tensors = efficient_prompt_tensors(original)
    tensors["logit_scale"] = torch.tensor(LOGIT_SCALE)
    # Tables that the original carries and does not read.
    if not config.num_temporal_layers:
        tensors.pop("temporal_transformer.temporal_embedding", None)
    if not config.text_prompt_length:
        tensors.pop("class_prompts.contexts", None)
    with torch.device("meta"):  # compared before memory is taken
        expected = shapes_of(EfficientPromptModel(config).state_dict())
    check_same_shapes(expected, shapes_of(tensors), "The checkpoint", "a whole Efficient-Prompt")
    model = EfficientPromptModel(config)
    model.load_state_dict(tensors)
    return model.eval()


def efficient_prompt_tensors(original: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """
    The tensors of a released checkpoint, or some of them, under our names.

    Raises:
        ValueError: a name is unknown.
    """
    renamed: dict[str, torch.Tensor] = {}
    for name, tensor in original.items():
        if name in NAMES:
            renamed[NAMES[name]] = tensor
        elif name in TRANSPOSED:
            renamed[TRANSPOSED[name]] = tensor.t()
        elif name not in UNUSED:
            renamed.update(_rename_of_layer(name, tensor))
    return renamed


def _rename_of_layer(name: str, tensor: torch.Tensor) -> dict[str, torch.Tensor]:
    found = re.fullmatch(r"(.+)\.resblocks\.(\d+)\.(.+)", name)
    if found is None or found[1] not in LAYERS:
        raise ValueError(f"The checkpoint holds {name}, which no released Efficient-Prompt checkpoint has.")
    renamed = rename_in_torch_layer(f"{LAYERS[found[1]]}.{found[2]}", found[3], name, tensor)
    if renamed is None:
        raise ValueError(f"The checkpoint holds {name}, which no released Efficient-Prompt checkpoint has.")
    return renamed


def _config_from_shapes(
    original: Mapping[str, torch.Tensor], prompts: dict[str, int], heads: tuple[int | None, int | None, int]
) -> EfficientPromptConfig:
    """The configuration that the shapes of a checkpoint's tensors imply, with the numbers that they do not say."""

    def shape(name: str, dimensions: int) -> torch.Size:
        if name not in original:
            raise ValueError(f"The checkpoint has no {name}, which every released Efficient-Prompt checkpoint has.")
        found = original[name].shape
        if len(found) != dimensions or 0 in found:
            raise ValueError(f"{name} has the shape {tuple(found)}; expected {dimensions} dimensions.")
        return found

    width, num_channels, patch_size, _ = shape("clipmodel.visual.conv1.weight", 4)
    patches_per_side = round((shape("clipmodel.visual.positional_embedding", 2)[0] - 1) ** 0.5)
    vocab_size, text_width = shape("clipmodel.token_embedding.weight", 2)
    projection_dim = shape("clipmodel.visual.proj", 2)[1]
    vision = {
        "hidden_size": width,
        "num_channels": num_channels,
        "patch_size": patch_size,
        "image_size": patch_size * patches_per_side,
        "intermediate_size": shape("clipmodel.visual.transformer.resblocks.0.mlp.c_fc.weight", 2)[0],
        "num_hidden_layers": _count_layers(original, "clipmodel.visual.transformer"),
        "num_attention_heads": _heads("num_attention_heads", heads[0], width),
        "projection_dim": projection_dim,
    }
    text = {
        "vocab_size": vocab_size,
        "hidden_size": text_width,
        "intermediate_size": shape("clipmodel.transformer.resblocks.0.mlp.c_fc.weight", 2)[0],
        "max_position_embeddings": shape("clipmodel.positional_embedding", 2)[0],
        "num_hidden_layers": _count_layers(original, "clipmodel.transformer"),
        "num_attention_heads": _heads("text_num_attention_heads", heads[1], text_width),
        "projection_dim": projection_dim,
        **prompts,
    }
    num_temporal_layers = _count_layers(original, "temporalModelling")
    fields = {"num_temporal_layers": num_temporal_layers, "num_temporal_heads": heads[2]}
    if num_temporal_layers or "temporalEmbedding.weight" in original:
        fields["num_frames"] = shape("temporalEmbedding.weight", 2)[0]
    return EfficientPromptConfig(vision_config=vision, text_config=text, projection_dim=projection_dim, **fields)


def _count_layers(original: Mapping[str, torch.Tensor], transformer: str) -> int:
    """Layers whose MLP has the size of the first one's: their number says how much is made."""
    name = f"{transformer}.resblocks.{{}}.mlp.c_fc.weight"
    first, count = original.get(name.format(0)), 0
    while first is not None and name.format(count) in original and original[name.format(count)].shape == first.shape:
        count += 1
    return count


def _heads(argument: str, heads: int | None, width: int) -> int:
    """The number of heads of a transformer, by default CLIP's."""
    heads = max(1, width // CLIP_HEAD_WIDTH) if heads is None else heads
    if heads < 1 or width % heads:
        raise ValueError(f"{argument}={heads} does not divide the width {width} of that transformer.")
    return heads


__all__ = ["efficient_prompt_from_original", "efficient_prompt_tensors"]
