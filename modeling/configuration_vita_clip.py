"""Configuration of Vita-CLIP (Wasim et al., CVPR 2023): CLIP's own configuration plus one switch for every prompt."""

import copy
import json
import math
import os
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

from huggingface_hub.dataclasses import strict
from transformers import CLIPConfig, CLIPTextConfig, CLIPVisionConfig, configuration_utils
from transformers.utils import CONFIG_NAME, cached_file, logging

logger = logging.get_logger(__name__)

# Fields by which a file would choose code to run or another file to load. They are arguments of the caller alone.
CHOICES_OF_THE_CALLER = frozenset(
    (
        *("attn_implementation", "_attn_implementation", "_attn_implementation_internal"),
        *("experts_implementation", "_experts_implementation", "_experts_implementation_internal"),
        *("fusion_config", "kernel_config", "use_kernels", "distributed_config", "transformers_weights"),
        *("per_layer_config", "return_dict"),
    )
)
LARGEST_SIZE = 2**31 - 1
# Type, least and greatest value of numbers by which memory is taken, or which make scores of none.
RANGES: dict[str, tuple[type[int | float], float, float]] = {
    **dict.fromkeys(("hidden_size", "intermediate_size", "num_hidden_layers"), (int, 1, LARGEST_SIZE)),
    **dict.fromkeys(("num_attention_heads", "projection_dim", "image_size", "patch_size"), (int, 1, LARGEST_SIZE)),
    **dict.fromkeys(("num_channels", "vocab_size", "max_position_embeddings"), (int, 1, LARGEST_SIZE)),
    "num_labels": (int, 0, 100_000),  # each gets a name
    "layer_norm_eps": (float, 0.0, 1.0),
}
SWITCHES = ("output_attentions", "output_hidden_states", "tie_word_embeddings")
HALVES = ("text_config", "vision_config", "text_config_dict", "vision_config_dict")
DTYPES = ("float32", "float16", "bfloat16", "float64")
PLACEHOLDER = re.compile(r"LABEL_\d+")  # transformers' names for classes that were not named
# Files that are read whole, whatever they hold; in memory JSON may take twenty times its size.
READ_WHOLE = re.compile(
    r"((.*_)?config|tokenizer.*|special_tokens_map|added_tokens|vocab|.*\.index.*)\.json|(merges|vocab)\.txt|.*\.jinja"
)
MOST_BYTES_OF_SETTINGS, MOST_BYTES_OF_CONFIG = 2**25, 2**23


# ---- what stands in a file ----


@contextmanager
def errors_naming(source: str | os.PathLike) -> Iterator[None]:
    """
    A context for reading `source`, in which whatever its content causes, such as a `TypeError` of a library, becomes a
    `ValueError` of one line that names it. `OSError` and lack of memory or of a package stay as they are.
    """
    try:
        yield
    except (OSError, ImportError, MemoryError):
        raise
    except Exception as error:
        reason = " ".join(str(error).split())
        if type(error) is ValueError and str(error) == reason and str(source) in reason:
            raise
        kind = "" if isinstance(error, ValueError) else f" ({type(error).__name__})"
        raise ValueError(f"{source} cannot be used: {reason:.400}{kind}") from error


def check_small_files(name_or_path: str | os.PathLike) -> None:
    """
    Checks the files of a folder that are read whole: settings, and the words of a tokenizer. Of a Hub id none is
    looked at.

    Raises:
        OSError: one is a link that leads nowhere.
        ValueError: one is no file, such as a device that never ends, or has more bytes than `MOST_BYTES_OF_SETTINGS`,
            or, of the configuration, than `MOST_BYTES_OF_CONFIG`.
    """
    names = os.listdir(name_or_path) if os.path.isdir(name_or_path) else ()
    for path in (Path(name_or_path, name) for name in sorted(names) if READ_WHOLE.fullmatch(name)):
        size, most = path.stat().st_size, MOST_BYTES_OF_CONFIG if path.name == CONFIG_NAME else MOST_BYTES_OF_SETTINGS
        if not path.is_file() or size > most:
            kind = f"has {size:,} bytes" if path.is_file() else "is a folder, a device or a pipe"
            raise ValueError(f"{path} {kind}; expected a file of at most {most:,} bytes.")


def find_file(name_or_path: str | os.PathLike, file_name: str, hub: dict[str, Any]) -> str | None:
    """The path of a file of a folder or Hub repository, `None` if it has none."""
    return cached_file(name_or_path, file_name, _raise_exceptions_for_missing_entries=False, **hub)


def read_config_fields(name_or_path: str | os.PathLike, **hub: Any) -> dict[str, Any]:
    """
    The fields in the `config.json` of a folder or Hub repository, by [`checked_fields`].

    Raises:
        OSError: there is none.
        ValueError: it is damaged or too large, names a field twice, or has one that makes no sense.
    """
    check_small_files(name_or_path)

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        name, times = Counter(name for name, _ in pairs).most_common(1)[0] if pairs else ("", 0)
        if times > 1:
            raise ValueError(f"the field {name!r} stands in it twice")
        return dict(pairs)

    path = find_file(name_or_path, CONFIG_NAME, hub)
    if path is None:
        raise OSError(f"{name_or_path} has no {CONFIG_NAME}, and is no model.")
    check_small_files(os.path.dirname(path))  # what the cache holds of a Hub repository
    with errors_naming(path):
        fields = json.loads(Path(path).read_text(encoding="utf-8"), object_pairs_hook=unique)
        if not isinstance(fields, dict):
            raise ValueError(f"it holds {fields!r:.50}, expected an object with the fields of a model")
        return checked_fields(fields)


def checked_fields(fields: dict[str, Any], place: str = "") -> dict[str, Any]:
    """
    Stored fields without `CHOICES_OF_THE_CALLER`.

    Raises:
        ValueError: a field is not of its type, or has a number that makes no sense.
    """
    checked = {}
    for name, value in fields.items():
        field = f"{place}{name}"
        if name in CHOICES_OF_THE_CALLER:
            if isinstance(value, (str, dict)):
                logger.warning_once(
                    f"{field}={value!r:.100} of {CONFIG_NAME} is ignored: only an argument can choose it."
                )
            continue
        if name in (*HALVES, "id2label", "label2id", "auto_map") and not isinstance(value, (dict, type(None))):
            raise ValueError(f"{field} must be an object, found {value!r:.100}.")
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError(f"{field} must be a finite number, found {value}.")
        if name in SWITCHES and not isinstance(value, (bool, type(None))):
            raise ValueError(f"{field} must be true or false, found {value!r:.100}.")
        if name in RANGES and value is not None:
            kind, least, most = RANGES[name]
            numbers = value if isinstance(value, (list, tuple)) else [value]
            if not all(type(number) is kind and least <= number <= most for number in numbers):
                whole = "whole " if kind is int else ""
                raise ValueError(f"{field} must be a {whole}number from {least} to {most}, found {value!r:.100}.")
        if name in ("dtype", "torch_dtype") and str(value).removeprefix("torch.") not in (*DTYPES, "None"):
            raise ValueError(f"{field} must be one of {', '.join(DTYPES)}; found {value!r}.")
        checked[name] = checked_fields(value, f"{field}.") if value and name in HALVES else value
    return checked


def _is_reserved(attribute: Any) -> bool:
    return callable(attribute) or (isinstance(attribute, property) and attribute.fset is None)


def stored_name(name_or_path: str | os.PathLike) -> str:
    """The name under which any process finds the same model: of a folder its absolute path, else as it is."""
    name = os.fspath(name_or_path)
    return os.path.abspath(name) if os.path.isdir(name) else name


class ChecksStoredFields:
    """The part of a configuration that checks stored fields by [`checked_fields`] before anything is made of them."""

    model_type = ""

    @classmethod
    def get_config_dict(cls, pretrained_model_name_or_path, **kwargs):
        """As in transformers; a CLIP checkpoint's configuration counts as ours without a warning."""
        check_small_files(pretrained_model_name_or_path)
        with errors_naming(f"{pretrained_model_name_or_path}: its {CONFIG_NAME}"):
            fields, kwargs = super().get_config_dict(pretrained_model_name_or_path, **kwargs)  # type: ignore[misc]
            fields = cls._as_ours(fields)
            if issubclass(cls, PromptedClipConfig):
                cls.from_dict(copy.deepcopy(fields))  # without arguments: what is wrong here stands in the file
        return fields, kwargs

    @classmethod
    def _as_ours(cls, fields: dict[str, Any]) -> dict[str, Any]:
        if fields.get("model_type") != CLIPConfig.model_type:
            return fields
        whole = cls if issubclass(cls, PromptedClipConfig) else VitaClipConfig
        halves = {
            name: {**fields[name], "model_type": half.model_type}
            for name, half in whole.sub_configs.items()
            if isinstance(fields.get(name), dict)
        }
        return {**fields, **halves, "model_type": whole.model_type, "architectures": None}

    @classmethod
    def from_dict(cls, config_dict: dict[str, Any], **kwargs: Any) -> Any:
        """As in transformers; fields of a wrong type are a `ValueError`, and labels that contradict each other."""
        place = kwargs.get("name_or_path")  # of Auto classes
        source = f"{place}: its {CONFIG_NAME}" if place else "The configuration"
        with errors_naming(source):
            fields = checked_fields(config_dict)
            reserved = next((name for name in fields if _is_reserved(getattr(cls, name, None))), None)
            if reserved is not None:
                raise ValueError(f"{CONFIG_NAME} holds {reserved!r}, which is no field of a configuration.")
        given = {name: kwargs.pop(name) for name in ("id2label", "label2id") if kwargs.get(name) is not None}
        if given:
            labels = labels_of(**given, num_labels=kwargs.pop("num_labels", None))
            stored = fields.get("id2label")
            if stored is None or labels != labels_of(stored):
                fields.pop("label_token_ids", None)  # those of other names
            fields.pop("num_labels", None)
            fields |= {"id2label": dict(enumerate(labels)), "label2id": None}
        if kwargs.get("base_model_name_or_path"):
            kwargs["base_model_name_or_path"] = stored_name(kwargs["base_model_name_or_path"])
        with errors_naming(source):
            return super().from_dict(fields, **kwargs)  # type: ignore[misc]


# ---- the two halves ----


@strict
class VitaClipVisionConfig(ChecksStoredFields, CLIPVisionConfig):
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
        require_positive(self, "num_frames", "cls_projection_rank", "summary_attention_dim")
        if self.use_global_prompts:
            require_positive(self, "num_global_prompts")
        require_choice(self, "local_prompt_condition", ("projection", "class_token"))
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
class VitaClipTextConfig(ChecksStoredFields, CLIPTextConfig):
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
        if self.text_prompt_length > self.max_position_embeddings:
            raise ValueError(
                f"text_prompt_length={self.text_prompt_length} is more than the {self.max_position_embeddings} tokens "
                "that the text encoder takes."
            )
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


def _delegated(sub_config: str, field: str) -> property:
    """A property of the whole configuration that reads and writes `field` of one of its two halves."""

    def read(self: "PromptedClipConfig") -> Any:
        return getattr(getattr(self, sub_config), field)

    def write(self: "PromptedClipConfig", value: Any) -> None:
        setattr(getattr(self, sub_config), field, value)

    return property(read, write, doc=f"`{sub_config}.{field}`.")


@strict
class PromptedClipConfig(ChecksStoredFields, CLIPConfig):
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
    # The fields that say which prompts there are, and those of them that switch every prompt off. Fields of a half are
    # read and written here too.
    prompt_fields: ClassVar[tuple[str, ...]] = ()
    no_prompts: ClassVar[dict[str, Any]] = {}
    # What stands behind a class name in its text.
    label_ending: ClassVar[str] = "."

    label_token_ids: list | None = None  # of whole numbers: `check_token_ids` takes a hundredth of strict's time
    base_model_name_or_path: str | None = None
    base_model_revision: str | None = None
    base_model_fingerprint: str | None = None

    def __init_subclass__(cls, **kwargs):
        for sub_config, half_class in cls.sub_configs.items():
            for field in set(cls.prompt_fields) & set(half_class.__annotations__):
                setattr(cls, field, _delegated(sub_config, field))
        super().__init_subclass__(**kwargs)

    def __post_init__(self, **kwargs):
        if not __name__.startswith("transformers_modules."):
            # Installed, the package has registered its pipelines. Where a checkpoint names them as well, transformers
            # would ask for trust_remote_code before it runs them.
            kwargs.pop("custom_pipelines", None)
        for name in self.sub_configs:
            half = getattr(self, name)
            if isinstance(half, dict):
                setattr(self, name, {key: value for key, value in half.items() if key != "model_type"})
        if self.id2label is not None or self.label2id is not None:
            label2id = self.label2id
            if self.id2label is not None and all(PLACEHOLDER.fullmatch(str(name)) for name in label2id or ()):
                label2id = None  # transformers leaves its own names there beside an id2label that is set later
            self.set_label_names(labels_of(self.id2label, label2id, kwargs.get("num_labels")))
        super().__post_init__(**kwargs)
        # CLIP's own halves are accepted: they hold every field but the prompts, which take their defaults.
        for name, half_class in self.sub_configs.items():
            half = getattr(self, name)
            if not isinstance(half, half_class):
                fields = {key: value for key, value in half.to_dict().items() if key != "model_type"}
                setattr(self, name, half_class(**fields))
                getattr(self, name)._attn_implementation = half._attn_implementation
        self.check_labels()
        self.check_prompts()

    def set_label_names(self, labels: list[str]) -> None:
        """Names the classes, in the order of their ids."""
        self.id2label = dict(enumerate(labels))
        self.label2id: dict[str, int] | None = {name: index for index, name in enumerate(labels)}

    def check_labels(self) -> None:
        """
        Raises `ValueError` for label names that are empty or repeated, ids with gaps, or token ids that do not match
        them or are not in the vocabulary.
        """
        labels_of(self.id2label)
        if self.label_token_ids is not None and len(self.label_token_ids) != self.num_labels:
            raise ValueError(
                f"label_token_ids has {len(self.label_token_ids)} entries but id2label has {self.num_labels} labels."
            )
        check_token_ids(self.label_token_ids or [], self.text_config.vocab_size)

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


def labels_of(
    id2label: dict[Any, str] | None = None, label2id: dict[str, Any] | None = None, num_labels: int | None = None
) -> list[str]:
    """
    The class names in the order of their ids.

    Raises:
        ValueError: there are none, a name is empty or repeated, the ids are not 0, 1, 2, ..., or two of the arguments
            contradict each other.
    """
    for field, names in (("id2label", id2label), ("label2id", label2id)):
        if not (names is None or isinstance(names, dict)):
            raise ValueError(f"{field} must be a dict, such as id2label=dict(enumerate(names)), found {names!r:.100}.")
    by_name = None if label2id is None else {str(index): name for name, index in label2id.items()}
    by_id = by_name or {} if id2label is None else {str(index): name for index, name in id2label.items()}
    check_label_names(list(by_id.values()))
    size = len(label2id or {}) if id2label is None else len(id2label)
    labels = [by_id.get(str(index), "") for index in range(size)]
    if "" in labels:
        raise ValueError(f"The ids of labels must be 0 to {size - 1}; found {list(by_id)[:10]}.")
    if by_name not in (None, by_id):
        raise ValueError(f"id2label and label2id contradict each other: {id2label!r:.100} and {label2id!r:.100}.")
    if num_labels not in (None, size):
        raise ValueError(f"num_labels={num_labels!r} contradicts the {size} names of labels; leave it out.")
    return labels


def check_token_ids(texts: list[list[int]], vocab_size: int) -> None:
    """Raises `ValueError` for texts without a start and an end token, or of another vocabulary."""
    for index, ids in enumerate(texts):
        if (
            not isinstance(ids, list)
            or set(map(type, ids)) != {int}
            or len(ids) < 2
            or min(ids) < 0
            or max(ids) >= vocab_size
        ):
            raise ValueError(
                f"The token ids of text {index} must be a start token, a name and an end token, of the "
                f"vocabulary's 0 to {vocab_size - 1}; found {ids!r:.100}."
            )


def check_class_names(labels: list[str]) -> None:
    """As [`check_label_names`]; also raises `ValueError` for `LABEL_0`, which says nothing to a text encoder."""
    check_label_names(labels)
    placeholder = next((name for name in labels if PLACEHOLDER.fullmatch(name)), None)
    if placeholder is not None:
        raise ValueError(f"{placeholder!r} is a placeholder of transformers; expected the name of a class, in words.")


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
    for index, name in enumerate(labels):
        # Halves of characters, which no file can hold, are left out by encoding.
        if not isinstance(name, str) or not name.strip() or name.encode(errors="ignore").decode() != name:
            raise ValueError(f"Labels must be non-empty names; found {name!a:.100} at position {index}.")
    most_common, times = Counter(labels).most_common(1)[0]
    if times > 1:
        raise ValueError(f"Labels must be distinct; found {most_common!r} more than once.")


def require_positive(config: Any, *fields: str) -> None:
    for field in fields:
        value = getattr(config, field)
        if value is not None and value < 1:
            raise ValueError(f"{field} must be at least 1, found {value}.")


def require_choice(config: Any, field: str, choices: tuple[str, ...]) -> None:
    if getattr(config, field) not in choices:
        raise ValueError(f"{field} must be one of {', '.join(choices)}; found {getattr(config, field)!r}.")


__all__ = ["VitaClipConfig", "VitaClipTextConfig", "VitaClipVisionConfig"]
