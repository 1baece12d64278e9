"""The card of a checkpoint, rendered from the files of the checkpoint and what its author adds."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCard
from safetensors import safe_open

from ..modeling.adapter_storage_vita_clip import ADAPTER_FILE, SCALE, is_prompt
from ..modeling.adapter_vita_clip import BASE_IN_PACKAGE
from ..modeling.configuration_vita_clip import VitaClipConfig
from ..modeling.publishing_vita_clip import CARD_IS_GENERATED, PROCESSOR_FILE, WEIGHT_PATTERNS, card_metadata, hub_base

TEMPLATE = "model_card.md.jinja"
DESCRIPTION = (
    "A [Vita-CLIP](https://arxiv.org/abs/2304.03307): a frozen CLIP that reads videos by prompts alone. It names what "
    "happens in a video, among the classes it was trained on or among any others that are given as text."
)
# The first pattern that a parameter's name fits says which part of the model it belongs to.
PARTS = {
    r"^class_prompts\.": "class contexts",
    r"\.prompts\.global_prompts$": "global prompts",
    r"\.prompts\.local_prompts$": "local prompts",
    r"\.prompts\.summary": "summary attention",
    r"\.prompts\.cls_projection": "projection of the class tokens",
    r"temporal_embedding$": "temporal embedding",
    r"^logit_scale$": "logit scale",
    r"": "CLIP",
}


@dataclass(frozen=True)
class CardDetails:
    """
    What a card says beyond the checkpoint's own files.

    Args:
        license: of the weights, by the Hub's name for it, such as `"apache-2.0"`. Left out where it is not given:
            it is the author's to choose.
        language: of the class names, such as `"en"`.
        tags: beside those that every card has.
        datasets: Hub ids of what it was trained on.
        results: evaluations; they become the card's `model-index` too.
        training: names and values of the recipe.
        description: in place of the general one.
    """

    license: str | None = None
    language: str | None = None
    tags: Sequence[str] = ()
    datasets: Sequence[str] = ()
    results: Sequence[EvalResult] = ()
    training: Mapping[str, Any] = field(default_factory=dict)
    description: str = DESCRIPTION


def render_card(folder: str | Path, repo_id: str, details: CardDetails | None = None) -> str:
    """
    The text of a card (README.md) for a saved checkpoint.

    Args:
        folder: where the model, and its processor if it has one, were saved.
        repo_id: where they are going to be published; its last part names the model.
        details: what the author adds.

    Raises:
        OSError: the folder holds no checkpoint.
        ValueError: `details` are not valid metadata.
    """
    folder, details = Path(folder), details or CardDetails()
    config = VitaClipConfig.from_pretrained(folder)
    is_adapter = (folder / ADAPTER_FILE).is_file()
    name = repo_id.rpartition("/")[2]
    metadata = card_metadata(
        config,
        is_adapter,
        license=details.license,
        language=details.language,
        tags=list(details.tags),
        datasets=list(details.datasets) or None,
        metrics=sorted({result.metric_type for result in details.results}) or None,
        model_name=name if details.results else None,
        eval_results=list(details.results) or None,
    )
    weights = [path for pattern in WEIGHT_PATTERNS for path in folder.glob(pattern) if path.suffix == ".safetensors"]
    if not weights:
        raise OSError(f"{folder}: has no weights; expected a folder that a model was saved into.")
    card = ModelCard.from_template(
        metadata,
        template_str=files("vita_clip_hf.hub_cards").joinpath(TEMPLATE).read_text(encoding="utf-8"),
        generated=CARD_IS_GENERATED,
        name=name,
        repo_id=repo_id,
        description=details.description,
        is_adapter=is_adapter,
        base_package=_base_package(config),
        base_text=_base_text(config),
        base_fingerprint=config.base_model_fingerprint if is_adapter else None,
        weights_size=format_size(sum(path.stat().st_size for path in weights)),
        settings=[(setting, in_table(value)) for setting, value in prompt_settings(config, folder)],
        parameters=[(part, f"{count:,}") for part, count in count_parameters(weights).items()],
        eval_rows=[_result_row(result) for result in details.results],
        training=[(in_table(setting), in_table(value)) for setting, value in details.training.items()],
        labels=[" ".join(label.split()) for label in config.label_names] if config.label_token_ids else [],
        num_frames=config.num_frames,
    )
    return re.sub(r"\n{3,}", "\n\n", str(card)).rstrip() + "\n"


def prompt_settings(config: VitaClipConfig, folder: Path) -> list[tuple[str, str]]:
    """The prompts of the model and how clips are sampled for it, as rows of the card's table."""
    vision, text = config.vision_config, config.text_config
    side = vision.image_size
    rows = [("frames of a clip", f"{vision.num_frames} of {side} x {side} pixels")]
    sampling = _sampling(folder)
    if sampling:
        rows.append(("sampling", sampling))
    rows += [
        ("temporal embedding", _switch(vision.use_temporal_embedding)),
        ("summary token", _switch(vision.use_summary_token, vision.summary_attention_dim, "{} wide")),
        ("global prompts", _switch(vision.use_global_prompts, vision.num_global_prompts, "{} in each layer")),
        ("local prompts", _switch(vision.use_local_prompts, vision.num_frames, "{} in each layer")),
    ]
    scope = {"class": "for each class", "unified": "for all classes"}[text.text_prompt_scope]
    contexts = f"{text.text_prompt_length} {scope}, name at the {text.text_prompt_position}"
    return [*rows, ("learned contexts", contexts if text.text_prompt_length else "off")]


def _switch(on: bool, number: int | None = None, form: str = "{}") -> str:
    return ("on" if number is None else form.format(number)) if on else "off"


def _sampling(folder: Path) -> str | None:
    """How the saved processor takes frames from a video; `None` without one."""
    path = folder / PROCESSOR_FILE
    settings = json.loads(path.read_text(encoding="utf-8")).get("video_processor", {}) if path.is_file() else {}
    if "sampling" not in settings:
        return None
    views = settings.get("num_temporal_views", 1) * settings.get("num_spatial_views", 1)
    stride = f", every {settings['frame_stride']}th frame" if settings["sampling"] == "strided" else ""
    return f"{settings['sampling']}{stride}, {views} view{'s' * (views > 1)} of each video"


def count_parameters(weights: Sequence[Path]) -> dict[str, int]:
    """Numbers in safetensors files by the part of the model that they belong to, and in all."""
    counts = dict.fromkeys(PARTS.values(), 0)
    for path in weights:
        with safe_open(path, framework="pt") as file:
            for name in file.keys():  # noqa: SIM118 - it is not a dict
                shape = file.get_slice(name).get_shape()
                if name.endswith(SCALE) and is_prompt(name.removesuffix(SCALE)):
                    continue  # of int8 storage, no parameter
                part = next(part for pattern, part in PARTS.items() if re.search(pattern, name))
                size = 1
                for length in shape:
                    size *= length
                counts[part] += size
    found = {part: count for part, count in counts.items() if count}
    return {**found, "in all": sum(found.values())}


def _base_package(config: VitaClipConfig) -> str | None:
    """How to install the package that the base is part of, where it is in one: `some_package` -> `some-package`."""
    base = config.base_model_name_or_path or ""
    if not base.startswith(BASE_IN_PACKAGE):
        return None
    return base.removeprefix(BASE_IN_PACKAGE).partition("/")[0].partition(".")[0].replace("_", "-")


def _base_text(config: VitaClipConfig) -> str | None:
    base = hub_base(config)
    if base is not None:
        commit = f" at commit `{config.base_model_revision}`" if config.base_model_revision else ""
        return f"[{base}](https://huggingface.co/{base}){commit}"
    if _base_package(config) is not None:
        return f"`{config.base_model_name_or_path}`"
    # A folder: its name is of no use to others, and none of their business.
    return None if config.base_model_name_or_path is None else "a CLIP that is not published"


def _result_row(result: EvalResult) -> tuple[str, str, str]:
    value = f"{result.metric_value:.4g}" if isinstance(result.metric_value, float) else str(result.metric_value)
    split = f" ({result.dataset_split})" if result.dataset_split else ""
    return in_table(result.dataset_name + split), in_table(result.metric_name or result.metric_type), in_table(value)


def format_size(num_bytes: int) -> str:
    """Bytes for people, in powers of 1000 as the Hub shows them: `142 MB`."""
    for unit, factor in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if num_bytes >= factor:
            return f"{num_bytes / factor:.3g} {unit}"
    return f"{num_bytes} bytes"


def in_table(value: Any) -> str:
    """Text that stays within its cell of a Markdown table."""
    return " ".join(str(value).split()).replace("|", "\\|")


__all__ = ["CardDetails", "render_card"]
