"""Configuration of Vita-CLIP (Wasim et al., CVPR 2023): CLIP's own configuration plus one switch for every prompt."""

from typing import Any, ClassVar

from huggingface_hub.dataclasses import strict
from transformers import CLIPConfig, CLIPTextConfig, CLIPVisionConfig, configuration_utils


@strict
class VitaClipVisionConfig(CLIPVisionConfig):
    r"""
    CLIP's vision configuration and the visual prompts of each of its layers.

    Args:
        num_frames (`int`, defaults to 8):
            Frames of a training clip, T: the length of the temporal embedding and the number of local prompts.
            Clips of another length are accepted; both are then resampled along time.
        use_temporal_embedding (`bool`, defaults to `True`):
            Add a learned embedding of the frame's place in the clip to every token of the frame.
        use_summary_token (`bool`, defaults to `True`):
            Add the summary token: attention over the class tokens of all frames, one result for each frame.
        use_global_prompts (`bool`, defaults to `True`):
            Add `num_global_prompts` learned tokens, the same for every frame.
        num_global_prompts (`int`, defaults to 8):
            Global prompts of each layer, M_v.
        use_local_prompts (`bool`, defaults to `True`):
            Add one learned token per frame, conditioned on that frame; every frame sees those of all frames.
        local_prompt_condition (`str`, defaults to `"projection"`):
            What a local prompt is conditioned on: `"projection"` of the class token (the released code) or the
            `"class_token"` itself (the paper's equation).
        train_cls_projection (`bool`, defaults to `True`):
            Whether the projection of the class tokens is learned. The paper counts it as learned; the released
            training code leaves it at its random initialisation (`False`).
        cls_projection_rank (`int`, *optional*):
            Compact variant: factor that projection through this many dimensions. `None` is the paper's full matrix.
        summary_attention_dim (`int`, *optional*):
            Compact variant: width of the summary attention's queries, keys and values. `None` is the paper's
            `hidden_size`.
    """

    model_type = "vita_clip_vision_model"
    base_config_key = "vision_config"

    num_frames: int = 8
    use_temporal_embedding: bool = True
    use_summary_token: bool = True
    use_global_prompts: bool = True
    num_global_prompts: int = 8
    use_local_prompts: bool = True
    local_prompt_condition: str = "projection"
    train_cls_projection: bool = True
    cls_projection_rank: int | None = None
    summary_attention_dim: int | None = None

    def __post_init__(self, **kwargs):
        super().__post_init__(**kwargs)
        self.check_visual_prompts()

    def check_visual_prompts(self) -> None:
        """Raises `ValueError` for a field outside its range; checked at construction and when a model is built."""
        require_positive(self, "num_frames")
        if self.use_global_prompts:
            require_positive(self, "num_global_prompts")
        require_choice(self, "local_prompt_condition", ("projection", "class_token"))
        for field in ("cls_projection_rank", "summary_attention_dim"):
            if getattr(self, field) is not None:
                require_positive(self, field)
        if self.summary_attention_dim is not None and self.summary_attention_dim % self.summary_attention_heads:
            raise ValueError(
                f"summary_attention_dim={self.summary_attention_dim} is not a multiple of the "
                f"{self.summary_attention_heads} heads that it would have."
            )

    @property
    def summary_attention_heads(self) -> int:
        """Heads of the summary attention: CLIP's own count, or fewer of the same width in the compact variant."""
        if self.summary_attention_dim is None:
            return self.num_attention_heads
        return max(1, self.summary_attention_dim * self.num_attention_heads // self.hidden_size)

    @property
    def uses_cls_projection(self) -> bool:
        """Whether any prompt reads the projected class tokens."""
        return self.use_summary_token or (self.use_local_prompts and self.local_prompt_condition == "projection")


@strict
class VitaClipTextConfig(CLIPTextConfig):
    r"""
    CLIP's text configuration and the learned contexts of the class names.

    Args:
        text_prompt_length (`int`, defaults to 8):
            Learned context vectors of a class, M_c; 0 switches them off and leaves `"name."`.
        text_prompt_scope (`str`, defaults to `"class"`):
            `"class"`: every class has contexts of its own. `"unified"`: all classes share them, so that they apply
            to classes never trained on.
        text_prompt_position (`str`, defaults to `"end"`):
            Where the class name stands: at the `"end"` of the contexts, in `"front"` of them or in their `"middle"`.
        text_prompt_init (`str`, *optional*):
            Words to start the contexts from, such as `"a video of a person"`. By default they start from N(0, 0.02).
    """

    model_type = "vita_clip_text_model"
    base_config_key = "text_config"

    text_prompt_length: int = 8
    text_prompt_scope: str = "class"
    text_prompt_position: str = "end"
    text_prompt_init: str | None = None

    def __post_init__(self, **kwargs):
        super().__post_init__(**kwargs)
        self.check_text_prompts()

    def check_text_prompts(self) -> None:
        """Raises `ValueError` for a field outside its range; checked at construction and when a model is built."""
        if self.text_prompt_length < 0:
            raise ValueError(f"text_prompt_length must be 0 or more, found {self.text_prompt_length}.")
        require_choice(self, "text_prompt_scope", ("class", "unified"))
        require_choice(self, "text_prompt_position", ("end", "front", "middle"))


# The fields that say which prompts there are.
PROMPT_FIELDS = (*VitaClipVisionConfig.__annotations__, *VitaClipTextConfig.__annotations__)
NO_PROMPTS: dict[str, Any] = {
    "use_temporal_embedding": False,
    "use_summary_token": False,
    "use_global_prompts": False,
    "use_local_prompts": False,
    "text_prompt_length": 0,
}


def sub_config_spec(config_class: type) -> Any:
    """A half's class as this version of transformers wants it declared."""
    wrap = getattr(configuration_utils, "SubConfigSpec", None)
    return config_class if wrap is None else wrap(config_class=config_class)


def delegated(sub_config: str, field: str) -> property:
    """A property of the whole configuration that reads and writes `field` of one of its two halves."""

    def read(self: "PromptedClipConfig") -> Any:
        return getattr(getattr(self, sub_config), field)

    def write(self: "PromptedClipConfig", value: Any) -> None:
        setattr(getattr(self, sub_config), field, value)

    return property(read, write, doc=f"`{sub_config}.{field}`.")


@strict
class PromptedClipConfig(CLIPConfig):
    r"""
    The configuration of a CLIP with named classes and learned prompts: what Vita-CLIP and its neighbours share.

    Args:
        text_config, vision_config (`dict` or configuration, *optional*):
            The two halves; CLIP's own are accepted.
        label_token_ids (`list[list[int]]`, *optional*):
            For each class, the tokens of `"name."` with start and end token, as the base's tokenizer gives them. They
            let the model encode its classes without a tokenizer.
        base_model_name_or_path (`str`, *optional*):
            The CLIP checkpoint that the prompts were trained on: a Hub id, a folder, or `package://name/folder` for
            one that ships inside an installed Python package.
        base_model_revision (`str`, *optional*):
            Its revision on the Hub.
        base_model_fingerprint (`str`, *optional*):
            A hash over its tensors, checked when an adapter is put on a base.
    """

    method: ClassVar[str] = "prompted CLIP"
    # The fields that say which prompts there are, and those of them that switch every prompt off.
    prompt_fields: ClassVar[tuple[str, ...]] = ()
    no_prompts: ClassVar[dict[str, Any]] = {}
    # What stands behind a class name in its text.
    label_ending: ClassVar[str] = "."

    label_token_ids: list[list[int]] | None = None
    base_model_name_or_path: str | None = None
    base_model_revision: str | None = None
    base_model_fingerprint: str | None = None

    def __post_init__(self, **kwargs):
        if not __name__.startswith("transformers_modules."):
            # Installed, the package has registered its pipelines. Where a checkpoint names them as well, transformers
            # would ask for trust_remote_code before it runs them.
            kwargs.pop("custom_pipelines", None)
        for name in self.sub_configs:
            half = getattr(self, name)
            if isinstance(half, dict):
                setattr(self, name, {key: value for key, value in half.items() if key != "model_type"})
        super().__post_init__(**kwargs)
        # CLIP's own halves are accepted: they hold every field but the prompts, which take their defaults.
        for name, half_class in self.sub_configs.items():
            half = getattr(self, name)
            if not isinstance(half, half_class):
                fields = {key: value for key, value in half.to_dict().items() if key != "model_type"}
                setattr(self, name, half_class(**fields))
                getattr(self, name)._attn_implementation = half._attn_implementation
        if kwargs.get("num_labels") is None and self.id2label is not None and self.label2id is None:
            self.label2id: dict[str, int] | None = {name: index for index, name in self.id2label.items()}
        self.check_labels()
        self.check_prompts()

    def set_label_names(self, labels: list[str]) -> None:
        """Names the classes, in the order of their ids."""
        self.id2label = dict(enumerate(labels))
        self.label2id = {name: index for index, name in enumerate(labels)}

    def check_labels(self) -> None:
        """Raises `ValueError` for empty or duplicated label names, or token ids that do not match them."""
        check_label_names([self.id2label[index] for index in sorted(self.id2label)])
        if self.label_token_ids is not None and len(self.label_token_ids) != self.num_labels:
            raise ValueError(
                f"label_token_ids has {len(self.label_token_ids)} entries but id2label has {self.num_labels} labels."
            )

    def check_prompts(self) -> None:
        """Raises `ValueError` for a field of a prompt outside its range."""
        raise NotImplementedError

    @property
    def fixed_prompts(self) -> tuple[str, ...]:
        """Parts of the names of those prompts that are not learned."""
        return ()

    @property
    def label_names(self) -> list[str]:
        """The class names in the order of their ids."""
        return [self.id2label[index] for index in range(self.num_labels)]

    @property
    def has_named_labels(self) -> bool:
        """Whether the classes were named, rather than transformers' default of `LABEL_0`, `LABEL_1`."""
        return self.label_names != [f"LABEL_{index}" for index in range(self.num_labels)]

    @classmethod
    def get_config_dict(cls, pretrained_model_name_or_path, **kwargs):
        """As in transformers; a CLIP checkpoint's configuration counts as ours without a warning."""
        config_dict, kwargs = super().get_config_dict(pretrained_model_name_or_path, **kwargs)
        if config_dict.get("model_type") == CLIPConfig.model_type:
            config_dict = {**config_dict, "model_type": cls.model_type, "architectures": None}
        return config_dict, kwargs


@strict
class VitaClipConfig(PromptedClipConfig):
    r"""
    The whole model's configuration: the fields of [`PromptedClipConfig`]. Those of [`VitaClipVisionConfig`] and
    [`VitaClipTextConfig`] that switch prompts can be read, written and given here too:
    `VitaClipConfig(num_frames=16, use_summary_token=False)`.

    A configuration of plain CLIP is a valid start: `VitaClipConfig.from_pretrained("openai/clip-vit-base-patch16")`.
    """

    model_type = "vita_clip"
    method = "Vita-CLIP"
    # The same under the two names that transformers has had for it.
    sub_configs = {  # noqa: RUF012 - a class variable by transformers' contract
        "vision_config": VitaClipVisionConfig,
        "text_config": VitaClipTextConfig,
    }
    # transformers 5.20 takes these wrapped only, 5.21 and later in either form, older ones have neither.
    sub_configs_defaults = {name: sub_config_spec(half) for name, half in sub_configs.items()}  # noqa: RUF012
    prompt_fields = PROMPT_FIELDS
    no_prompts = NO_PROMPTS

    num_frames = delegated("vision_config", "num_frames")
    use_temporal_embedding = delegated("vision_config", "use_temporal_embedding")
    use_summary_token = delegated("vision_config", "use_summary_token")
    use_global_prompts = delegated("vision_config", "use_global_prompts")
    num_global_prompts = delegated("vision_config", "num_global_prompts")
    use_local_prompts = delegated("vision_config", "use_local_prompts")
    local_prompt_condition = delegated("vision_config", "local_prompt_condition")
    train_cls_projection = delegated("vision_config", "train_cls_projection")
    cls_projection_rank = delegated("vision_config", "cls_projection_rank")
    summary_attention_dim = delegated("vision_config", "summary_attention_dim")
    text_prompt_length = delegated("text_config", "text_prompt_length")
    text_prompt_scope = delegated("text_config", "text_prompt_scope")
    text_prompt_position = delegated("text_config", "text_prompt_position")
    text_prompt_init = delegated("text_config", "text_prompt_init")

    def check_prompts(self) -> None:
        """Checks both halves; `from_pretrained(..., field=value)` sets fields after they were constructed."""
        self.vision_config.check_visual_prompts()
        self.text_config.check_text_prompts()

    @property
    def fixed_prompts(self) -> tuple[str, ...]:
        """The projection of the class tokens, if it is configured so."""
        return () if self.train_cls_projection else (".cls_projection.",)


def check_label_names(labels: list[str]) -> None:
    """Raises `ValueError` unless `labels` are distinct, non-empty names, at least one of them."""
    if not labels:
        raise ValueError("The list of labels is empty; expected at least one class name.")
    empty = [index for index, name in enumerate(labels) if not isinstance(name, str) or not name.strip()]
    if empty:
        raise ValueError(f"Labels must be non-empty names; found {labels[empty[0]]!r} at position {empty[0]}.")
    seen: set[str] = set()
    duplicates = [name for name in labels if name in seen or seen.add(name)]  # type: ignore[func-returns-value]
    if duplicates:
        raise ValueError(f"Labels must be distinct; found {duplicates[0]!r} more than once.")


def require_positive(config: Any, field: str) -> None:
    if getattr(config, field) < 1:
        raise ValueError(f"{field} must be at least 1, found {getattr(config, field)}.")


def require_choice(config: Any, field: str, choices: tuple[str, ...]) -> None:
    if getattr(config, field) not in choices:
        raise ValueError(f"{field} must be one of {', '.join(choices)}; found {getattr(config, field)!r}.")


__all__ = ["VitaClipConfig", "VitaClipTextConfig", "VitaClipVisionConfig"]
