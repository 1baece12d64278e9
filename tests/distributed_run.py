"""
What several processes do together: `accelerate launch ... distributed_run.py CLIP FOLDER WORLD BASE_DTYPE` trains,
saves, goes on from a checkpoint and evaluates 7 videos of 3 views each, a number that does not divide evenly. The
first process writes `result.json`: the losses, and the evaluation's figures and logits.
"""

import json
import sys
from pathlib import Path

import torch
from toy_training import ChangingClips, losses_of, toy_arguments, toy_data, toy_trainer

from vita_clip_hf.data import DecodedClips
from vita_clip_hf.evaluation import predict
from vita_clip_hf.models import VitaClip
from vita_clip_hf.training.process_group import close_process_group

NUM_EVALUATED, NUM_VIEWS, GLOBAL_BATCH, STEPS = 7, 3, 4, 10


def views() -> DecodedClips:
    """uint8 `(7, 3, T, 3, H, W)`."""
    clips = toy_data(NUM_EVALUATED * NUM_VIEWS, seed=1)
    return DecodedClips(clips.pixel_values.unflatten(0, (NUM_EVALUATED, NUM_VIEWS)), clips.labels[:NUM_EVALUATED])


def main(clip: str, folder: Path, world: int, base_dtype: torch.dtype) -> None:
    settings = {
        "per_device_train_batch_size": GLOBAL_BATCH // world,
        "save_strategy": "steps",
        "save_steps": STEPS // 2,
    }
    for resume in (False, True):  # the second time the last half is trained again
        arguments = toy_arguments(folder, per_device_eval_batch_size=2, max_steps=STEPS, **settings)
        data = toy_data(12)
        changing = ChangingClips(data.pixel_values, data.labels)
        trainer = toy_trainer(clip, arguments, base_dtype, train_dataset=changing, eval_dataset=views())
        if trainer.args.world_size != world:
            raise RuntimeError(f"{trainer.args.world_size} processes came up; expected {world}.")
        trainer.train(resume_from_checkpoint=str(folder / f"checkpoint-{STEPS // 2}") if resume else None)
        trainer.save_model(str(folder / ("resumed" if resume else "straight")))
    figures = trainer.evaluate()
    logits = None
    if not trainer.is_fsdp_enabled:
        model = VitaClip(trainer.accelerator.unwrap_model(trainer.model))
        accelerator, processor = trainer.accelerator, trainer.processing_class
        logits = predict(model, views(), processor, batch_size=2, accelerator=accelerator).logits.tolist()
    if trainer.is_world_process_zero():
        kept = {name: value for name, value in figures.items() if "top" in name or name == "eval_loss"}
        result = {"losses": losses_of(trainer).tolist(), "figures": kept, "logits": logits}
        (folder / "result.json").write_text(json.dumps(result))


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), getattr(torch, sys.argv[4]))
    close_process_group()
