"""Several adapters on one base: switching puts other prompts on it, and copies and reloads nothing."""

import copy
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedConfig
from transformers.initialization import no_init_weights

from .adapter_file_vita_clip import ADAPTER_FILE, LoadedBase, is_learned, is_prompt, places_of_prompts
from .checkpoint_vita_clip import HUB_ARGUMENTS, load_adapter_weights, refuse_adapter_of_peft
from .configuration_vita_clip import PromptedClipConfig, find_file, stored_name

DEFAULT_ADAPTER = "default"
CONFIG_FIELDS = (
    *("id2label", "label2id", "label_token_ids"),
    *("base_model_name_or_path", "base_model_revision", "name_or_path"),
)


@dataclass
class PromptSet:
    """
    All that an adapter puts on a base.

    Args:
        fields: of the configuration, its `prompt_fields` and those of `CONFIG_FIELDS`.
        parts: modules and parameters, `None` for one that is switched off, in the order of [`places_of_prompts`].
    """

    fields: dict[str, Any]
    parts: list[nn.Module | nn.Parameter | None]

    @classmethod
    def of(cls, model: Any) -> "PromptSet":
        """The prompts that are on the model now."""
        parts = [getattr(holder, part.name) for holder, part in places_of_prompts(model)]
        return cls(_fields_of(model.config), parts)

    @classmethod
    def empty(cls, model: Any, fields: dict[str, Any]) -> "PromptSet":
        """A set for the model's base whose weights are still to be filled in."""
        config = copy.deepcopy(model.config)
        for field, value in fields.items():
            setattr(config, field, value)
        config.check_prompts()
        config.check_labels()
        with no_init_weights():
            return cls(fields, [part.build(config) for _, part in places_of_prompts(model)])

    def put_on(self, model: Any) -> None:
        """
        Makes these the model's prompts, in place of those it has: on the device of the module that holds them, as a
        `device_map` may spread the layers, and in the precision of the prompts in place.
        """
        for field, value in self.fields.items():
            setattr(model.config, field, value)
        model.name_or_path = model.config.name_or_path  # peft names it as the base of its own adapters
        dtype = model.logit_scale.dtype
        for (holder, place), part in zip(places_of_prompts(model), self.parts, strict=True):
            if part is not None:
                part = _fit(part, model, next(holder.parameters()).device, dtype)
            setattr(holder, place.name, part)
        model.drop_class_features()


def _fit(part: nn.Module | nn.Parameter, model: Any, device: torch.device, dtype: torch.dtype) -> Any:
    """Moves a part to the device and type, and gives it the model's mode and configuration, attention included."""
    module = nn.ParameterList([part]) if isinstance(part, nn.Parameter) else part
    if device.type != "meta":  # weights of a layer that is offloaded do not say where it runs
        module.to(device=device, dtype=dtype)
    if module.training != model.training:
        module.train(model.training)
    for inner in module.modules():
        if hasattr(inner, "config"):
            inner.config = getattr(model.config, inner.config.base_config_key)
    return module[0] if isinstance(module, nn.ParameterList) else module


def _fields_of(config: PromptedClipConfig) -> dict[str, Any]:
    return {field: getattr(config, field) for field in (*config.prompt_fields, *CONFIG_FIELDS)}


class SwitchesAdapters:
    """
    The part of [`VitaClipModel`] that holds several adapters of its base and puts one of them on.

    The methods have the names and meanings of those that transformers gives every model for adapters of `peft`, and do
    not need `peft`. The adapter that a model was loaded with, or its new prompts, is called `"default"`.
    """

    config: PromptedClipConfig
    logit_scale: nn.Parameter
    state_dict: Callable[..., dict[str, torch.Tensor]]
    named_parameters: Callable[..., Iterator[tuple[str, nn.Parameter]]]
    _active_adapter: str | None = DEFAULT_ADAPTER
    _last_adapter: str = DEFAULT_ADAPTER

    def _init_adapters(self) -> None:
        self._other_adapters: dict[str, PromptSet] = {}  # no module: they are not among the model's weights
        self._base_logit_scale: float | None = None
        self.loaded_base: LoadedBase | None = None

    def remember_base(self) -> None:
        """Keeps CLIP's `logit_scale`, which an adapter replaces, for [`disable_adapters`]."""
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
            adapter_name: its name; `"default"` is the one that the model was loaded with.
            is_trainable: whether its prompts get gradients, as those of a model that was loaded with them.
            adapter_kwargs, kwargs: how to reach the Hub: `revision`, `token`, `cache_dir` and so on.

        Raises:
            OSError: there is no adapter, or its file cannot be read.
            ValueError: the name is taken, the adapter was trained on another base or does not fit its configuration,
                or an argument is for adapters of `peft`. The model is then as it was.
        """
        refuse_adapter_of_peft(peft_model_id)
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
        config = self._config_of(peft_model_id, hub)
        config.name_or_path = stored_name(peft_model_id)
        prompts = PromptSet.empty(self, _fields_of(config))
        before, active_before = PromptSet.of(self), self._active_adapter
        prompts.put_on(self)
        try:
            load_adapter_weights(self, path, config.base_model_fingerprint)
        except BaseException:
            before.put_on(self)
            raise
        for parameter_name, weight in self.named_parameters():
            if is_prompt(parameter_name):
                weight.requires_grad_(is_trainable and is_learned(parameter_name, self.config))
        if active_before is not None:
            self._other_adapters[active_before] = before
        self._active_adapter = name

    def add_adapter(self, adapter_config: Any, adapter_name: str | None = None) -> None:
        """
        transformers' way to put layers of peft into a model, which this one does not have.

        Raises:
            ValueError: always; the message says what takes its place.
        """
        raise ValueError(
            f"{type(self).__name__} holds adapters of prompts. Put layers of peft into it by "
            "peft.get_peft_model(model, ...), and load other prompts by load_adapter(...)."
        )

    def _config_of(self, name_or_path: str | os.PathLike, hub: dict[str, Any]) -> PromptedClipConfig:
        """The configuration of an adapter, which must be one of this kind of model."""
        own = type(self.config)
        found = PreTrainedConfig.get_config_dict(name_or_path, **hub)[0].get("model_type")
        if found != own.model_type:
            raise ValueError(f"{name_or_path} holds a model of the type {found!r}; expected a {own.method} adapter.")
        return own.from_pretrained(name_or_path, **hub)

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
        Takes all prompts off and leaves CLIP, which compares the mean of its frame features with `"name."` of each of
        the active adapter's classes, at its own `logit_scale`. A full checkpoint does not know CLIP's and keeps its
        own.
        """
        if self._active_adapter is None:
            return
        bare = PromptSet.empty(self, {**_fields_of(self.config), **self.config.no_prompts})
        scale = self.logit_scale if self._base_logit_scale is None else torch.tensor(self._base_logit_scale)
        self._last_adapter = self._active_adapter
        self._park_active()
        bare.put_on(self)
        with torch.no_grad():
            self.logit_scale.copy_(scale)

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
