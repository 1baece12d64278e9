"""transformers' own Trainer on an adapter: it goes on from a checkpoint and loads the best one at the end."""

import pytest
import torch
from safetensors.torch import load_file
from tolerance import assert_stored_equal
from torch.utils.data import Dataset
from toy_vita_clip import LABELS, save_toy_clip, toy_clips
from transformers import Trainer, TrainingArguments
from vita_clip_hf.modeling.adapter_file_vita_clip import ADAPTER_FILE, is_prompt

from vita_clip_hf import VitaClipModel
from vita_clip_hf.training.callbacks import AdapterCheckpoints


class Clips(Dataset):
    """Eight clips of three classes."""

    def __len__(self) -> int:
        return 8

    def __getitem__(self, index: int) -> dict:
        return {"pixel_values": toy_clips(1, seed=index)[0], "labels": index % len(LABELS)}


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return save_toy_clip(tmp_path_factory.mktemp("clip"))


def make_trainer(clip, folder, callbacks, **arguments) -> Trainer:
    torch.manual_seed(0)
    model = VitaClipModel.from_pretrained(clip, id2label=dict(enumerate(LABELS)), num_frames=4)
    settings = {
        **{"per_device_train_batch_size": 4, "per_device_eval_batch_size": 4, "report_to": "none"},
        **{"save_strategy": "steps", "save_steps": 1, "use_cpu": True, "disable_tqdm": True, "learning_rate": 0.05},
        **arguments,
    }
    args = TrainingArguments(str(folder), **settings)
    return Trainer(model, args, train_dataset=Clips(), eval_dataset=Clips(), callbacks=callbacks)


def prompts_of(model) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items() if is_prompt(name)}


def test_the_best_checkpoint_is_the_model_at_the_end(clip, tmp_path):
    best = {"eval_strategy": "steps", "eval_steps": 1, "load_best_model_at_end": True, "greater_is_better": True}
    trainer = make_trainer(
        clip, tmp_path, [AdapterCheckpoints()], max_steps=3, metric_for_best_model="eval_loss", **best
    )
    base = {name: tensor.clone() for name, tensor in trainer.model.state_dict().items() if not is_prompt(name)}
    trainer.train()
    folder = trainer.state.best_model_checkpoint
    stored = load_file(f"{folder}/{ADAPTER_FILE}")
    assert_stored_equal(prompts_of(trainer.model), stored)
    last = load_file(tmp_path / "checkpoint-3" / ADAPTER_FILE)
    assert folder.endswith("checkpoint-3") or not torch.equal(last["logit_scale"], stored["logit_scale"])
    assert_stored_equal({name: trainer.model.state_dict()[name] for name in base}, base)
    assert_stored_equal(prompts_of(VitaClipModel.from_pretrained(folder)), stored)


def test_a_run_goes_on_from_an_adapter_checkpoint(clip, tmp_path):
    whole = make_trainer(clip, tmp_path / "whole", [AdapterCheckpoints()], max_steps=3)
    whole.train()
    again = make_trainer(clip, tmp_path / "whole", [AdapterCheckpoints()], max_steps=3)
    again.train(resume_from_checkpoint=str(tmp_path / "whole" / "checkpoint-2"))
    expected = prompts_of(whole.model)
    for name, tensor in prompts_of(again.model).items():
        torch.testing.assert_close(tensor, expected[name], atol=1e-5, rtol=0)
