"""CLIP and Vita-CLIP in transformers' common tests of models and configurations; `run.py` runs this file."""

import unittest
from typing import Any

import torch
from transformers import (
    CLIPConfig,
    CLIPModel,
    CLIPTextConfig,
    CLIPTextModel,
    CLIPVisionConfig,
    CLIPVisionModel,
    set_seed,
)
from transformers_tests.test_configuration_common import ConfigTester
from transformers_tests.test_modeling_common import (
    ModelTesterMixin,
    floats_tensor,
    global_rng,
    ids_tensor,
    random_attention_mask,
)
from vita_clip_hf.modeling.configuration_vita_clip import VitaClipTextConfig, VitaClipVisionConfig
from vita_clip_hf.modeling.text_vita_clip import VitaClipTextModel
from vita_clip_hf.modeling.vision_vita_clip import VitaClipVisionModel

from vita_clip_hf import VitaClipConfig, VitaClipForVideoClassification, VitaClipModel

PATCHES = 4
BATCH, FRAMES, SIDE, PATCH, LENGTH, VOCABULARY = 3, 2, 16, 8, 7, 99
TOWER = {"hidden_size": 32, "intermediate_size": 37, "num_attention_heads": 4, "num_hidden_layers": 2}
TOWER |= {"dropout": 0.0, "attention_dropout": 0.0, "projection_dim": 32}
VISION = {**TOWER, "image_size": SIDE, "patch_size": PATCH}
TEXT = {**TOWER, "vocab_size": VOCABULARY, "max_position_embeddings": 32}
TEXT |= {"bos_token_id": VOCABULARY - 2, "eos_token_id": VOCABULARY - 1, "pad_token_id": 1}
LABELS = {0: "archery", 1: "tai chi", 2: "swim"}


class Toy:
    """What the common tests ask of a model: a small configuration and inputs, the same in every run."""

    batch_size, seq_length, num_hidden_layers, num_attention_heads = BATCH, LENGTH, 2, 4
    hidden_size, image_size, patch_size, is_training = 32, SIDE, PATCH, False
    vision_config, text_config = VISION, TEXT

    def __init__(self, config: Any, inputs: Any, **sizes: Any):
        self._config, self._inputs = config, inputs
        vars(self).update(sizes)
        set_seed(0)
        global_rng.seed(0)

    def get_config(self) -> Any:
        return self._config()

    def prepare_config_and_inputs_for_common(self) -> tuple[Any, dict[str, Any]]:
        return self._config(), self._inputs()


def texts() -> dict[str, torch.Tensor]:
    input_ids = ids_tensor([BATCH, LENGTH], VOCABULARY - 3)
    attention_mask = random_attention_mask([BATCH, LENGTH])
    for row in range(BATCH):  # the text ends where its mask does, and both start at 0
        length = max(int(attention_mask[row].sum()), 2)
        attention_mask[row] = (torch.arange(LENGTH) < length).long()
        input_ids[row, length - 1] = VOCABULARY - 1
    return {"input_ids": input_ids, "attention_mask": attention_mask}


def images() -> torch.Tensor:
    return floats_tensor([BATCH, 3, SIDE, SIDE])


def clips() -> torch.Tensor:
    return floats_tensor([BATCH, FRAMES, 3, SIDE, SIDE])


def vita_config(**fields: Any) -> VitaClipConfig:
    sizes = {"num_frames": FRAMES, "text_prompt_length": 2, "num_global_prompts": 2}
    labels = {"id2label": LABELS, "label_token_ids": [[VOCABULARY - 2, 5, 6, VOCABULARY - 1]] * len(LABELS)}
    return VitaClipConfig(text_config=TEXT, vision_config=VISION, projection_dim=32, **labels, **sizes, **fields)


class TwoTowers(ModelTesterMixin):
    """Settings that any model of two towers needs: its outputs nest those of the towers."""

    test_resize_embeddings = False
    test_attention_outputs = False
    _is_composite = True
    additional_model_inputs = ("pixel_values",)
    config: Any = None
    inputs: Any = None

    def setUp(self) -> None:
        halves = {
            "text": texts,
            "vision": lambda: {"pixel_values": images()},
            "video": lambda: {"pixel_values": clips()},
        }
        towers = {f"{half}_model_tester": Toy(type(self).config, inputs) for half, inputs in halves.items()}
        self.model_tester = Toy(type(self).config, type(self).inputs, **towers)

    @unittest.skip("hidden states are those of the towers")
    def test_hidden_states_output(self): ...

    @unittest.skip("the model takes ids")
    def test_inputs_embeds(self): ...

    @unittest.skip("the model takes ids")
    def test_inputs_embeds_matches_input_ids(self): ...

    @unittest.skip("hidden states are those of the towers")
    def test_retain_grad_hidden_states_attentions(self): ...

    @unittest.skip("the model has two kinds of embeddings")
    def test_model_get_set_embeddings(self): ...


class OneTower(ModelTesterMixin):
    test_resize_embeddings = False
    has_attentions = True
    config: Any = None
    inputs: Any = None

    sizes: Any = {}  # noqa: RUF012

    def setUp(self) -> None:
        self.model_tester = Toy(type(self).config, type(self).inputs, **self.sizes)

    @unittest.skip("the model takes no embeddings")
    def test_inputs_embeds(self): ...

    @unittest.skip("the model takes no embeddings")
    def test_inputs_embeds_matches_input_ids(self): ...


class CLIPModelTest(TwoTowers, unittest.TestCase):
    all_model_classes = (CLIPModel,)
    config = staticmethod(lambda: CLIPConfig(text_config=TEXT, vision_config=VISION, projection_dim=32))
    inputs = staticmethod(lambda: {**texts(), "pixel_values": images(), "return_loss": False})


class VitaClipModelTest(TwoTowers, unittest.TestCase):
    all_model_classes = (VitaClipModel,)
    config = staticmethod(vita_config)
    inputs = staticmethod(lambda: {**texts(), "pixel_values": clips()})


class VitaClipForVideoClassificationTest(TwoTowers, unittest.TestCase):
    all_model_classes = (VitaClipForVideoClassification,)
    config = staticmethod(vita_config)
    inputs = staticmethod(lambda: {"pixel_values": clips()})


class CLIPVisionModelTest(OneTower, unittest.TestCase):
    all_model_classes = (CLIPVisionModel,)
    config = staticmethod(lambda: CLIPVisionConfig(**VISION))
    sizes: Any = {"seq_length": PATCHES + 1}  # noqa: RUF012
    inputs = staticmethod(lambda: {"pixel_values": images()})


class VitaClipVisionModelTest(OneTower, unittest.TestCase):
    all_model_classes = (VitaClipVisionModel,)
    config = staticmethod(lambda: VitaClipVisionConfig(**VISION, num_frames=FRAMES, num_global_prompts=2))
    # Keys are tokens and prompts: a summary token, the global ones and a local one for each frame.
    sizes: Any = {"seq_length": PATCHES + 1, "key_length": PATCHES + 1 + 1 + 2 + FRAMES}  # noqa: RUF012
    inputs = staticmethod(lambda: {"pixel_values": clips()})


class CLIPTextModelTest(OneTower, unittest.TestCase):
    all_model_classes = (CLIPTextModel,)
    config = staticmethod(lambda: CLIPTextConfig(**TEXT))
    inputs = staticmethod(texts)


class VitaClipTextModelTest(OneTower, unittest.TestCase):
    all_model_classes = (VitaClipTextModel,)
    config = staticmethod(lambda: VitaClipTextConfig(**TEXT))
    inputs = staticmethod(texts)


class CLIPConfigTest(unittest.TestCase):
    config_class: type = CLIPConfig

    def setUp(self) -> None:
        config = vita_config if self.config_class is VitaClipConfig else CLIPModelTest.config
        self.model_tester = Toy(config, None)

    def test_config(self) -> None:
        ConfigTester(self, config_class=self.config_class, has_text_modality=False).run_common_tests()


class VitaClipConfigTest(CLIPConfigTest):
    config_class = VitaClipConfig
