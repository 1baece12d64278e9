"""The settings of a training run beside the Trainer's own arguments: which model, which data."""

import difflib
import inspect
import re
from dataclasses import dataclass, field, fields, make_dataclass
from typing import Any

from ..data.rows import check_on_bad_video
from ..data.sampling import resolve_sampling
from ..modeling.configuration_efficient_prompt import EfficientPromptConfig, EfficientPromptTextConfig
from ..modeling.configuration_vita_clip import VitaClipTextConfig, VitaClipVisionConfig
from .number_ranges import check_number
from .zero_shot_source import ZeroShotSource, parse_zero_shot_sources

AUTO = "auto"
# Not float16: rounded to it, the base is no longer recognised by its fingerprint, and gradients need a scale.
BASE_DTYPES = ("float32", "bfloat16")
VITA_CLIP, EFFICIENT_PROMPT, FINETUNE = "vita_clip", "efficient_prompt", "finetune"
METHODS = (VITA_CLIP, EFFICIENT_PROMPT, FINETUNE)
CLASS_TEMPLATE = "a photo of a {}."  # as ViFi-CLIP's released code has it


def _option(default: Any, meaning: str, **metadata: Any) -> Any:
    return field(default=default, metadata={"help": meaning, **metadata})


@dataclass
class BaseOptions:
    """Which method, on which CLIP."""

    method: str = _option(
        VITA_CLIP,
        "vita_clip trains Vita-CLIP's prompts; efficient_prompt the vectors and the temporal Transformer of "
        "Efficient-Prompt; finetune all of CLIP, as ViFi-CLIP does, on the mean of its frames",
    )
    base: str = _option(
        "openai/clip-vit-base-patch16", "CLIP, or a checkpoint of the method to go on from: Hub id or folder"
    )
    base_dtype: str = _option(
        "float32", "the frozen CLIP's weights: float32, or bfloat16 for half the memory; prompts are float32 with both"
    )
    attn_implementation: str | None = _option(
        None, "sdpa, eager, flash_attention_2, ...; chosen by transformers if not given"
    )
    class_template: str = _option(CLASS_TEMPLATE, "finetune: the text of a class, with {} for its name")

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            near = difflib.get_close_matches(str(self.method), METHODS, 1)
            raise ValueError(
                f"method is {self.method!r}; expected one of {', '.join(METHODS)}"
                + (f"; is {near[0]!r} meant?" if near else ".")
            )
        if self.base_dtype not in BASE_DTYPES:
            raise ValueError(f"base_dtype is {self.base_dtype!r}; expected one of {', '.join(BASE_DTYPES)}.")
        if self.method == FINETUNE and self.base_dtype != "float32":
            raise ValueError(
                f"base_dtype is {self.base_dtype!r}, but --method {FINETUNE} trains the whole CLIP, and small steps "
                "of its weights would be lost: leave it at float32, and give --bf16 for autocast."
            )
        if self.class_template.count("{}") != 1:
            raise ValueError(
                f"class_template is {self.class_template!r}; expected one {{}} for the name, as in {CLASS_TEMPLATE!r}."
            )
        self._refuse_settings_of_other_methods()

    def _refuse_settings_of_other_methods(self) -> None:
        for method, options in _options_by_method().items():
            for name, _, option in options:
                if method != self.method and getattr(self, name) != option.default:
                    raise ValueError(
                        f"{name} is {getattr(self, name)!r}, which is a setting of --method {method}; the method here "
                        f"is {self.method}. Leave {name} out, or give --method {method}."
                    )

    def prompt_fields(self) -> dict[str, Any]:
        """The arguments of the model's `from_pretrained` beside the base: which prompts the method has."""
        return {name: getattr(self, name) for name, _, _ in _prompt_options(self.method)}


def _prompt_options(method: str) -> list[tuple[str, Any, Any]]:
    """The configuration's fields that say which prompts there are: name, type, and default with its meaning."""
    options = []
    for part in _CONFIGS.get(method, ()):
        meanings = _documented_fields(part)
        for name, kind in part.__annotations__.items():
            if name != "num_frames":  # it is the clips' too, and stands with them
                options.append((name, kind, _option(getattr(part, name), f"{method}: {meanings[name]}")))
    return options


def _options_by_method() -> dict[str, list[tuple[str, Any, Any]]]:
    """The settings that one method alone has."""
    of_finetune = [option for option in fields(BaseOptions) if option.name == "class_template"]
    named = {FINETUNE: [(option.name, option.type, option) for option in of_finetune]}
    return named | {method: _prompt_options(method) for method in _CONFIGS}


def _documented_fields(config_class: type) -> dict[str, str]:
    """The meaning of each field, from the `Args` of a configuration's docstring, as transformers writes them."""
    _, _, documented = inspect.cleandoc(config_class.__doc__ or "").partition("Args:\n")
    entries = re.split(r"^ +(\w+) \(.*\):\n", documented, flags=re.MULTILINE)[1:]
    return {name: " ".join(text.split()) for name, text in zip(entries[::2], entries[1::2], strict=True)}


# The parts of the configurations whose fields say which prompts there are.
_CONFIGS: dict[str, tuple[type, ...]] = {
    VITA_CLIP: (VitaClipVisionConfig, VitaClipTextConfig),
    EFFICIENT_PROMPT: (EfficientPromptConfig, EfficientPromptTextConfig),
}
# Which CLIP, and which prompts on it; the defaults are the configurations'.
ModelOptions: type[BaseOptions] = make_dataclass(
    "ModelOptions", [option for method in _CONFIGS for option in _prompt_options(method)], bases=(BaseOptions,)
)


@dataclass
class DataOptions:
    """The videos, the way to take clips from them, and the sets to evaluate on."""

    train: str = _option(
        "", "videos to train on: a list, a folder of one folder per class, tar files, or a Hub data set"
    )
    validation: str | None = _option(None, "videos to evaluate on, likewise; classes are those of --train")
    train_split: str | None = _option(None, "split of --train if it has several, such as train or train1")
    validation_split: str | None = _option(None, "split of --validation, such as val or test1")
    format: str = _option("auto", "list, kinetics, ssv2, ucf101, hmdb51, folder, webdataset or hub; found out if auto")
    root: str | None = _option(None, "folder that video paths start from; the list's own if not given")
    class_names: str | None = _option(None, "file of class names in the order of their ids, or k400")
    shots: int | None = _option(None, "train on so many videos of each class, drawn from a seed; all if not given")
    shots_seed: int | None = _option(None, "seed of that draw; --seed if not given")
    streaming: bool = _option(False, "read row by row: tar files and Hub data sets are not downloaded first")
    shuffle_buffer: int = _option(1000, "rows that a stream is shuffled among")
    num_frames: int = _option(8, "frames of a clip")
    sampling: str = _option(
        "dense", "strided or dense (frames a stride apart), tsn (one at random of each segment) or uniform"
    )
    sampling_stride: str = _option(
        "16", "frames between two of a strided clip; auto: the largest that fits the videos"
    )
    augment: bool = _option(True, "random crop, flip and RandAugment; without, the centre")
    rand_augment: str = _option(
        "rand-m7-n4-mstd0.5-inc1", "changes and their strength, by timm's notation; '' for none"
    )
    crop_scale_min: float = _option(0.08, "least share of a frame that a random crop keeps")
    horizontal_flip: bool | None = _option(
        None, "mirror half of the clips; by default if no class tells left from right"
    )
    erasing_probability: float = _option(0.0, "of covering a box of a clip")
    on_bad_video: str = _option("raise", "raise stops at a video that cannot be read, skip takes another")
    temporal_views: int = _option(3, "clips of each video in evaluation; the paper's tables have 4")
    spatial_views: int = _option(1, "crops of each in evaluation; the paper's tables have 3")
    eval_zero_shot: list[str] = field(
        default_factory=list,
        metadata={
            "help": "further sets, with classes of their own, evaluated by templates: ucf101=LIST hmdb51=LIST, where "
            "root=FOLDER, classes=FILE, format, split, sampling, sampling_stride, class_texts may follow: "
            "ucf101=LIST,root=FOLDER"
        },
    )

    def __post_init__(self) -> None:
        if not self.train:
            raise ValueError("There is nothing to train on: give --train a list or a folder of videos.")
        word, _ = resolve_sampling(self.sampling)
        check_on_bad_video(self.on_bad_video)
        self.sampling_stride = str(self.sampling_stride)  # a file of settings gives a number
        if self.sampling_stride == AUTO:
            if word != "strided":
                raise ValueError(
                    f"sampling_stride is {AUTO!r}, but clips of the sampling {self.sampling!r} have no stride."
                )
        elif not self.sampling_stride.isdecimal() or int(self.sampling_stride) < 1:
            raise ValueError(
                f"sampling_stride is {self.sampling_stride!r}; expected a whole number at least 1, or {AUTO!r}."
            )
        self._check_shots()
        for name in ("num_frames", "shuffle_buffer", "temporal_views", "spatial_views"):
            check_number(name, getattr(self, name), 1, whole=True)
        check_number("crop_scale_min", self.crop_scale_min, most=1, above=0)
        check_number("erasing_probability", self.erasing_probability, 0, 1)
        if isinstance(self.eval_zero_shot, str):
            self.eval_zero_shot = [self.eval_zero_shot]
        if not isinstance(self.eval_zero_shot, list) or any(not isinstance(set_, str) for set_ in self.eval_zero_shot):
            raise ValueError(f"eval_zero_shot is {self.eval_zero_shot!r}; expected a list of texts NAME=LIST.")
        self.zero_shot_sources()

    def _check_shots(self) -> None:
        if self.shots is None:
            if self.shots_seed is not None:
                raise ValueError(
                    f"shots_seed is {self.shots_seed}, but no videos are drawn: give --shots, or leave it out."
                )
            return
        check_number("shots", self.shots, 1, whole=True)
        if self.shots_seed is not None:
            check_number("shots_seed", self.shots_seed, 0, whole=True)
        if self.streaming:
            raise ValueError("shots cannot be drawn from a stream, whose videos are not known: leave --streaming out.")

    def stride(self) -> int | None:
        """`sampling_stride` as a number; `None` if it is to be fitted to the videos."""
        return None if self.sampling_stride == AUTO else int(self.sampling_stride)

    def zero_shot_sources(self) -> list[ZeroShotSource]:
        """
        Raises:
            ValueError: an entry of `eval_zero_shot` makes no sense.
        """
        return parse_zero_shot_sources(self.eval_zero_shot)
