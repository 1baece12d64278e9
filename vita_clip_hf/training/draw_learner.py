"""
Efficient-Prompt on few-shot episodes: for each draw its text vectors and temporal Transformer are trained anew on the
features of frames, which the frozen CLIP computes once for all draws. The authors train from stored features too.
"""

import difflib
import os
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch
import yaml
from torch.nn.functional import cross_entropy
from transformers import CLIPModel

from ..evaluation.features import FeatureStore
from ..evaluation.learned_draws import DrawLearner, Task
from ..modeling.configuration_efficient_prompt import EfficientPromptConfig
from ..modeling.configuration_vita_clip import read_config_fields
from ..modeling.labels_vita_clip import load_tokenizer_of
from ..modeling.modeling_efficient_prompt import EfficientPromptModel, SharedContexts, TemporalTransformer
from ..modeling.remote_code_vita_clip import locate_base
from ..models import VideoFeatures
from ..models.interface import cosine_logits
from .number_ranges import check_number

_CLIPS_AT_ONCE = 1024  # of features: bounds memory where a draw has thousands of videos to test on


@dataclass(frozen=True)
class DrawRecipe:
    """
    How each draw is trained. Vectors, layers, optimizer, learning rate and decay are those of the published run on
    HMDB51; the number of steps for a draw is not published.

    Args:
        prefix_length, suffix_length: learned vectors before and behind a class name.
        num_temporal_layers, num_temporal_heads: of the Transformer over the frames.
        max_steps: of AdamW, each on all videos of the draw, of every video one of its views.
        learning_rate, weight_decay: constant.

    Raises:
        ValueError: a value is out of bounds.
    """

    prefix_length: int = 16
    suffix_length: int = 16
    num_temporal_layers: int = 1
    num_temporal_heads: int = 8
    max_steps: int = 200
    learning_rate: float = 1e-4
    weight_decay: float = 0.01

    def __post_init__(self) -> None:
        for name in ("prefix_length", "suffix_length", "num_temporal_layers"):
            check_number(name, getattr(self, name), 0, whole=True)
        for name in ("num_temporal_heads", "max_steps"):
            check_number(name, getattr(self, name), 1, whole=True)
        check_number("learning_rate", self.learning_rate, above=0)
        check_number("weight_decay", self.weight_decay, 0)
        if not (self.prefix_length or self.suffix_length or self.num_temporal_layers):
            raise ValueError("There is nothing to learn without vectors and temporal layers.")


def load_recipe(path: str | os.PathLike | None) -> DrawRecipe:
    """
    A recipe from a YAML file of some of its fields; the default without one.

    Raises:
        OSError: the file is not there.
        ValueError: it is no YAML, or a field is not known or out of bounds.
    """
    if path is None:
        return DrawRecipe()
    try:
        given = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not YAML: {error}") from error
    known = [field.name for field in fields(DrawRecipe)]
    if not isinstance(given, dict):
        raise ValueError(f"{path}: expected lines of `name: value`, found {type(given).__name__}.")
    for name in given:
        if name not in known:
            near = difflib.get_close_matches(str(name), known, 1)
            hint = f"is {near[0]!r} meant?" if near else f"expected some of {', '.join(known)}."
            raise ValueError(f"{path}: a draw has no setting {name!r}; {hint}")
    try:
        return DrawRecipe(**given)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


class EfficientPromptLearner(DrawLearner):
    """
    Args:
        base: the CLIP whose frame features are in the cache, a folder or Hub id.
        num_frames: of a clip.
        recipe: how each draw is trained.
        device: of the training; by default the CPU.
        revision: of a Hub id.

    Raises:
        OSError: there is no such checkpoint.
        ValueError: it is no CLIP, or the recipe does not fit it.
    """

    def __init__(
        self,
        base: str | os.PathLike,
        num_frames: int,
        recipe: DrawRecipe | None = None,
        device: str | torch.device | None = None,
        revision: str | None = None,
    ):
        self.recipe = recipe or DrawRecipe()
        settings: dict[str, Any] = {} if revision is None else {"revision": revision}
        kind = read_config_fields(locate_base(base), **settings).get("model_type")
        if kind != CLIPModel.config_class.model_type:
            raise ValueError(
                f"{base} is a model of the type {kind!r}; Efficient-Prompt learns from the frames of a plain CLIP. "
                "For Vita-CLIP see examples/few_shot.py --five-way."
            )
        prompts = {name: v for name, v in asdict(self.recipe).items() if name in EfficientPromptConfig.prompt_fields}
        loaded = EfficientPromptModel.from_pretrained(base, num_frames=num_frames, **prompts, **settings)
        self._tokenizer = load_tokenizer_of(locate_base(base), **settings)
        del loaded.vision_model, loaded.visual_projection  # its features are in the cache
        self.model = loaded.eval().to(device or "cpu")

    @property
    def facts(self) -> dict[str, Any]:
        """The method, its recipe and the number of parameters that are trained."""
        trained = sum(parameter.numel() for parameter in self._trained())
        return {"method": "efficient_prompt", **asdict(self.recipe), "trained_parameters": trained}

    def learn(self, task: Task, store: FeatureStore) -> torch.Tensor:
        """As [`DrawLearner.learn`]. It draws its first values and the views of the steps from the task's seed."""
        self.renew(task.seed)
        frames, labels = self._frames(store, task.train), torch.tensor(task.train_labels, device=self.model.device)
        token_ids = self._tokenizer(task.class_names)["input_ids"]
        optimizer = torch.optim.AdamW(
            self._trained(), lr=self.recipe.learning_rate, weight_decay=self.recipe.weight_decay
        )
        generator = torch.Generator().manual_seed(task.seed)
        rows = torch.arange(len(frames))
        for _ in range(self.recipe.max_steps):
            views = torch.randint(frames.shape[1], (len(frames),), generator=generator)
            texts = self.model.get_class_features(label_token_ids=token_ids).pooler_output
            loss = cross_entropy(self._logits(frames[rows, views], texts), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        with torch.no_grad():
            texts = self.model.get_class_features(label_token_ids=token_ids).pooler_output
            frames = self._frames(store, task.test)
            logits = [self._logits(chunk, texts) for chunk in frames.flatten(0, 1).split(_CLIPS_AT_ONCE)]
        return torch.cat(logits).unflatten(0, frames.shape[:2]).cpu()

    def renew(self, seed: int) -> None:
        """New first values of all that is learned, as a model that starts from CLIP has them."""
        model, config = self.model, self.model.config
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            fresh: dict[str, torch.nn.Module] = {"class_prompts": SharedContexts(config.text_config, None)}
            if config.num_temporal_layers:
                fresh["temporal_transformer"] = TemporalTransformer(config)
            for name, module in fresh.items():
                module.apply(model._init_weights)
                setattr(model, name, module.to(model.device))

    def _logits(self, frames: torch.Tensor, texts: torch.Tensor) -> torch.Tensor:
        """`(N, T, D')` of clips, and `(C, D')` of classes, to `(N, C)`."""
        if self.model.temporal_transformer is not None:
            frames = self.model.temporal_transformer(frames)
        return cosine_logits(VideoFeatures(frames, frames.mean(dim=1)), texts, self.model.logit_scale)

    def _frames(self, store: FeatureStore, videos: list[str]) -> torch.Tensor:
        """Features of the frames of all views, `(N, V, T, D')`."""
        found: list[torch.Tensor] = [torch.empty(0)] * len(videos)
        for stored in store.read(videos):
            for position, frames in zip(stored.positions, stored.features.frame_embeds, strict=True):
                found[position] = frames
        return torch.stack(found).to(self.model.device)

    def _trained(self) -> list[torch.nn.Parameter]:
        modules: list[torch.nn.Module | None] = [self.model.class_prompts, self.model.temporal_transformer]
        return [parameter for module in modules if module is not None for parameter in module.parameters()]


__all__ = ["DrawRecipe", "EfficientPromptLearner", "load_recipe"]
