"""Several adapters on one base: switching puts other prompts on it, and copies and reloads nothing."""

import copy
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from transformers.initialization import no_init_weights

from .adapter_storage_vita_clip import ADAPTER_FILE, is_prompt
from .adapter_vita_clip import HUB_ARGUMENTS, find_file, load_adapter_weights
from .configuration_vita_clip import PROMPT_FIELDS, VitaClipConfig
from .text_vita_clip import ClassPrompts
from .vision_vita_clip import VisualPrompts

DEFAULT_ADAPTER = "default"
CONFIG_FIELDS = (
    *PROMPT_FIELDS,
    "id2label",
    "label2id",
    "label_token_ids",
    "base_model_name_or_path",
    "base_model_revision",
)
NO_PROMPTS: dict[str, Any] = {
    "use_temporal_embedding": False,
    "use_summary_token": False,
    "use_global_prompts": False,
    "use_local_prompts": False,
    "text_prompt_length": 0,
}


class PromptSet(nn.Module):
    """
    All that an adapter puts on a base: modules and parameters, and the fields of the configuration that say which.

    Args:
        fields: of [`VitaClipConfig`], those of `CONFIG_FIELDS`.
        layers: the prompts of each vision layer.
        temporal_embedding: `(T, D)`, or `None` where it is switched off.
        class_prompts: the classes and their contexts.
        logit_scale: `()`.
    """

    def __init__(
        self,
        fields: dict[str, Any],
        layers: list[VisualPrompts],
        temporal_embedding: nn.Parameter | None,
        class_prompts: ClassPrompts,
        logit_scale: nn.Parameter,
    ):
        super().__init__()
        self.fields = fields
        self.layers = nn.ModuleList(layers)
        self.temporal_embedding = temporal_embedding
        self.class_prompts = class_prompts
        self.logit_scale = logit_scale

    @classmethod
    def of(cls, model: Any) -> "PromptSet":
        """What is on the model now."""
        vision = model.vision_model
        return cls(
            {field: getattr(model.config, field) for field in CONFIG_FIELDS},
            [layer.prompts for layer in vision.encoder.layers],
            vision.embeddings.temporal_embedding,
            model.class_prompts,
            model.logit_scale,
        )

    @classmethod
    def empty(cls, model: Any, fields: dict[str, Any]) -> "PromptSet":
        """A set for the model's base whose weights are still to be filled in."""
        config = copy.deepcopy(model.config)
        for field, value in fields.items():
            setattr(config, field, value)
        config.check_prompts()
        config.check_labels()
        text, vision = config.text_config, config.vision_config
        with no_init_weights():
            layers = [VisualPrompts(vision) for _ in range(vision.num_hidden_layers)]
            class_prompts = ClassPrompts(text, config.label_token_ids, config.label_names)
        temporal_embedding = None
        if vision.use_temporal_embedding:
            temporal_embedding = nn.Parameter(torch.empty(vision.num_frames, vision.hidden_size))
        prompts = cls(fields, layers, temporal_embedding, class_prompts, nn.Parameter(torch.empty(())))
        for name, weight in prompts.named_parameters():
            weight.requires_grad_(vision.train_cls_projection or ".cls_projection." not in name)
        prompts.to(device=model.logit_scale.device, dtype=model.logit_scale.dtype)
        for layer, its_prompts in zip(model.vision_model.encoder.layers, layers, strict=True):
            its_prompts.to(layer.layer_norm1.weight.device)  # a device_map may spread the layers
        return prompts

    def put_on(self, model: Any) -> None:
        """Makes these the model's prompts, in place of those it has."""
        config = model.config
        for field, value in self.fields.items():
            setattr(config, field, value)
        for layer, prompts in zip(model.vision_model.encoder.layers, self.layers, strict=True):
            layer.prompts = _with_config(prompts, config.vision_config)
        model.vision_model.embeddings.temporal_embedding = self.temporal_embedding
        model.class_prompts = _with_config(self.class_prompts, config.text_config)
        model.drop_class_features()
        model.logit_scale = self.logit_scale
        for part in (*self.layers, self.class_prompts):
            if part.training != model.training:
                part.train(model.training)


def _with_config(module: nn.Module, config: Any) -> nn.Module:
    """The module, reading `config`: the model's own, which says the attention backend and follows the adapter."""
    for part in module.modules():
        if hasattr(part, "config"):
            part.config = config
    return module


class SwitchesAdapters:
    """
    The part of [`VitaClipModel`] that holds several adapters of its base and puts one of them on.

    The methods have the names and meanings of those that transformers gives every model for adapters of `peft`, and do
    not need `peft`. The adapter that a model was loaded with, or its new prompts, is called `"default"`.
    """

    config: VitaClipConfig
    logit_scale: nn.Parameter
    state_dict: Callable[..., dict[str, torch.Tensor]]
    _active_adapter: str | None = DEFAULT_ADAPTER
    _last_adapter: str = DEFAULT_ADAPTER

    def _init_adapters(self) -> None:
        # In a plain dict: torch must not count the prompts that are not on among the model's weights.
        self._other_adapters: dict[str, PromptSet] = {}
        self._base_logit_scale: float | None = None

    def remember_base(self) -> None:
        """Keeps what the base has and an adapter replaces, for [`disable_adapters`]: CLIP's `logit_scale`."""
        self._base_logit_scale = None if self.logit_scale.is_meta else self.logit_scale.item()

    @property
    def adapter_names(self) -> list[str]:
        """The names of all adapters, the active one among them."""
        active = [] if self._active_adapter is None else [self._active_adapter]
        return sorted([*active, *self._other_adapters])

    def active_adapters(self) -> list[str]:
        """The name of the active adapter; nothing where adapters are disabled."""
        return [] if self._active_adapter is None else [self._active_adapter]

    def load_adapter(
        self,
        peft_model_id: str | os.PathLike,
        adapter_name: str | None = None,
        is_trainable: bool = True,
        adapter_kwargs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """
        Loads an adapter of the same base beside those that are loaded, and makes it the active one.

        Args:
            peft_model_id: a Hub id or a folder.
            adapter_name: what to call it; `"default"` is the one that the model was loaded with.
            is_trainable: whether its prompts get gradients, as those of a model that was loaded with them.
            adapter_kwargs, kwargs: `revision`, `token`, `cache_dir` and what else tells how to reach the Hub.

        Raises:
            OSError: there is no adapter, or its file cannot be read.
            ValueError: the name is taken, the adapter was trained on another base or does not fit its configuration,
                or an argument is for adapters of `peft`. The model is then as it was.
        """
        hub = {**(adapter_kwargs or {}), **kwargs}
        foreign = sorted(hub.keys() - set(HUB_ARGUMENTS))
        if foreign:
            raise ValueError(f"A Vita-CLIP adapter is loaded by {', '.join(HUB_ARGUMENTS)}; found {foreign[0]}.")
        name = DEFAULT_ADAPTER if adapter_name is None else adapter_name
        if name in self.adapter_names:
            raise ValueError(
                f"There is an adapter {name!r} already; give another adapter_name, or call delete_adapter({name!r})."
            )
        path = find_file(peft_model_id, ADAPTER_FILE, hub)
        if path is None:
            raise OSError(f"{peft_model_id} has no {ADAPTER_FILE}, and is no Vita-CLIP adapter.")
        config = VitaClipConfig.from_pretrained(peft_model_id, **hub)
        prompts = PromptSet.empty(self, {field: getattr(config, field) for field in CONFIG_FIELDS})
        if not is_trainable:
            prompts.requires_grad_(False)

        before, active_before = PromptSet.of(self), self._active_adapter
        prompts.put_on(self)
        try:
            load_adapter_weights(self, path)
        except BaseException:
            before.put_on(self)
            raise
        if active_before is not None:
            self._other_adapters[active_before] = before
        self._active_adapter = name

    def set_adapter(self, adapter_name: str | list[str]) -> None:
        """
        Makes a loaded adapter the active one. Configuration and labels are then that adapter's.

        Raises:
            ValueError: there is no adapter of this name.
        """
        [name] = [adapter_name] if isinstance(adapter_name, str) else adapter_name
        if name == self._active_adapter:
            return
        self._require_adapter(name)
        self._park_active()
        self._other_adapters.pop(name).put_on(self)
        self._active_adapter = name

    def delete_adapter(self, adapter_names: str | list[str]) -> None:
        """
        Forgets loaded adapters.

        Raises:
            ValueError: there is no adapter of this name, or it is the active one.
        """
        for name in [adapter_names] if isinstance(adapter_names, str) else adapter_names:
            if name == self._active_adapter:
                raise ValueError(f"The adapter {name!r} is active; call set_adapter or disable_adapters first.")
            self._require_adapter(name)
            del self._other_adapters[name]

    def disable_adapters(self) -> None:
        """
        Takes all prompts off: what is left is CLIP, that compares the mean of its frame features with `"name."` of
        each of the active adapter's classes, at its own `logit_scale`. A full checkpoint does not know CLIP's and
        keeps its own.
        """
        if self._active_adapter is None:
            return
        fields = {**{field: getattr(self.config, field) for field in CONFIG_FIELDS}, **NO_PROMPTS}
        bare = PromptSet.empty(self, fields)
        scale = self._base_logit_scale
        with torch.no_grad():
            bare.logit_scale.copy_(self.logit_scale if scale is None else torch.tensor(scale))
        self._last_adapter = self._active_adapter
        self._park_active()
        bare.put_on(self)

    def enable_adapters(self) -> None:
        """Puts the adapter back on that was active before [`disable_adapters`]."""
        if self._active_adapter is None:
            self.set_adapter(self._last_adapter)

    @contextmanager
    def disable_adapter(self) -> Iterator[None]:
        """A context in which all prompts are off; see [`disable_adapters`]."""
        before = self._active_adapter
        self.disable_adapters()
        try:
            yield
        finally:
            if before is not None:
                self.set_adapter(before)

    def get_adapter_state_dict(
        self, adapter_name: str | None = None, state_dict: dict[str, torch.Tensor] | None = None
    ) -> dict[str, torch.Tensor]:
        """
        The tensors of the active adapter, by the names in its file.

        Raises:
            ValueError: `adapter_name` is not the active one.
        """
        if adapter_name is not None and adapter_name != self._active_adapter:
            raise ValueError(f"The active adapter is {self._active_adapter!r}, found {adapter_name!r}; switch first.")
        tensors = self.state_dict() if state_dict is None else state_dict
        return {name: tensor for name, tensor in tensors.items() if is_prompt(name)}

    def _park_active(self) -> None:
        if self._active_adapter is not None:
            self._other_adapters[self._active_adapter] = PromptSet.of(self)
            self._active_adapter = None

    def _require_adapter(self, name: str) -> None:
        if name not in self._other_adapters:
            names = ", ".join(map(repr, self.adapter_names)) or "none"
            raise ValueError(f"There is no adapter {name!r}; loaded are {names}.")

    def _apply(self, fn: Any, *args: Any, **kwargs: Any) -> Any:
        # Behind `to()`, `half()`, `cuda()`: prompts that are not on go where the model goes.
        for prompts in self._other_adapters.values():
            prompts._apply(fn, *args, **kwargs)
        return super()._apply(fn, *args, **kwargs)  # type: ignore[misc]
