"""transformers' own classes from files of strangers: checked as those of Vita-CLIP, and never completed at random."""

from typing import Any

import torch
from transformers import PreTrainedModel

from ..modeling.adapter_file_vita_clip import check_finite, check_same_shapes
from ..modeling.configuration_vita_clip import errors_naming, read_config_fields
from ..modeling.quantization_vita_clip import check_stored_quantization
from ..modeling.stored_weights_vita_clip import expected_shapes, stored_shapes

# Numbers of layers of X-CLIP, beside those of the towers.
MORE_LAYERS = ("mit_num_hidden_layers", "prompt_layers")


def load_whole(model_class: Any, place: str, dtype: torch.dtype, settings: dict[str, Any]) -> PreTrainedModel:
    """
    A CLIP or an X-CLIP.

    Args:
        model_class: `CLIPModel` or `XCLIPModel`.
        place: a folder or a Hub id.
        dtype: of the weights.
        settings: how to reach the Hub.

    Raises:
        OSError: a file is missing or damaged.
        ValueError: weights are missing, which transformers would draw at random, are not finite or of other sizes
            than the configuration says; or a field of it makes no sense.
    """
    with errors_naming(f"{place}: its config.json"):
        config = model_class.config_class.from_dict(read_config_fields(place, **settings))
    quantization = getattr(config, "quantization_config", None)
    check_stored_quantization(quantization, place, is_adapter=False)
    if quantization is None:
        _check_sizes(model_class, config, place, settings)
    model, report = model_class.from_pretrained(
        place, config=config, dtype=dtype, output_loading_info=True, **settings
    )
    missing = sorted(report["missing_keys"])
    if missing:
        raise ValueError(f"{place} does not hold a whole model: missing {missing[:3]} ({len(missing)} tensors).")
    check_finite(model.state_dict(), place)
    return model


def _check_sizes(model_class: Any, config: Any, place: str, settings: dict[str, Any]) -> None:
    """Raises `ValueError` if stored tensors are not of the sizes in the configuration, before memory is taken."""
    shapes = stored_shapes(place, settings)
    for field in MORE_LAYERS:
        layers = getattr(config.vision_config, field, 0)
        if not isinstance(layers, int) or not 0 <= layers <= len(shapes):
            raise ValueError(f"{place}: vision_config.{field} is {layers!r:.100}, and it has {len(shapes)} tensors.")
    expected = expected_shapes(model_class, config, shapes, place)
    shared = [name for name in expected if name in shapes]
    check_same_shapes({name: expected[name] for name in shared}, {name: shapes[name] for name in shared}, place)


__all__ = ["load_whole"]
