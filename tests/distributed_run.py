"""
What several processes do together: `accelerate launch ... distributed_run.py CLIP FOLDER` trains and evaluates, and
the first process writes `result.json`: losses, and the figures of an evaluation over a number of clips that does not
divide evenly.
"""

import json
import sys
from pathlib import Path

import torch
from toy_training import losses_of, toy_arguments, toy_data, toy_trainer

from vita_clip_hf.data import DecodedClips

NUM_EVALUATED, NUM_VIEWS, GLOBAL_BATCH = 7, 3, 4


def views() -> DecodedClips:
    """7 videos of 3 views each: uint8 `(7, 3, T, 3, H, W)`."""
    clips = toy_data(NUM_EVALUATED * NUM_VIEWS, seed=1)
    return DecodedClips(clips.pixel_values.unflatten(0, (NUM_EVALUATED, NUM_VIEWS)), clips.labels[:NUM_EVALUATED])


def main(clip: str, folder: Path, world: int) -> None:
    arguments = toy_arguments(
        folder, per_device_train_batch_size=GLOBAL_BATCH // world, per_device_eval_batch_size=2, max_steps=10
    )
    trainer = toy_trainer(clip, arguments, train_dataset=toy_data(12), eval_dataset=views())
    assert trainer.args.world_size == world
    trainer.train()
    figures = trainer.evaluate()
    trainer.save_model()
    if trainer.is_world_process_zero():
        kept = {name: value for name, value in figures.items() if "top" in name or name == "eval_loss"}
        (folder / "result.json").write_text(json.dumps({"losses": losses_of(trainer).tolist(), "figures": kept}))


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
