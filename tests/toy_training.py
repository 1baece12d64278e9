"""A training run of a second: toy model, random clips, every option that keeps state of its own."""

from pathlib import Path
from typing import Any

import torch
from toy_vita_clip import IMAGE_SIZE, NUM_FRAMES, toy_tokenizer
from vita_clip_hf.modeling.video_processing_vita_clip import VitaClipVideoProcessor

from vita_clip_hf import VitaClipForVideoClassification
from vita_clip_hf.data import DecodedClips
from vita_clip_hf.training import VitaClipTrainer, VitaClipTrainingArguments

NUM_CLIPS = 10
# The start of `vita-clip train` on the tiny CLIP.
TINY = ("--base", "package://vita_clip_hf/demo/tiny_clip", "--use_cpu", "--report_to", "none")
TINY += ("--disable_tqdm", "True")
LABELS = ["ride bike", "swim", "tai chi", "run", "jump", "sit", "eat", "wave", "kick"]


def toy_data(num_clips: int = NUM_CLIPS, seed: int = 0) -> DecodedClips:
    generator = torch.Generator().manual_seed(seed)
    shape = (num_clips, NUM_FRAMES, 3, IMAGE_SIZE, IMAGE_SIZE)
    pixels = torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)
    return DecodedClips(pixels, torch.arange(num_clips) % len(LABELS))


class ChangingClips(DecodedClips):
    """Clips that are others in each epoch, as augmented ones are."""

    epoch = 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __getitems__(self, indices):
        batch = super().__getitems__(indices)
        return {**batch, "pixel_values": batch["pixel_values"].roll(self.epoch, dims=-1)}


def toy_arguments(folder: Path | str, **settings: Any) -> VitaClipTrainingArguments:
    defaults = {
        "output_dir": str(folder),
        "report_to": "none",
        "use_cpu": True,
        "disable_tqdm": True,
        "max_steps": 12,
        "per_device_train_batch_size": 4,
        "learning_rate": 0.01,
        "save_strategy": "no",
        "logging_steps": 1,
    }
    return VitaClipTrainingArguments(**{**defaults, **settings})


def toy_trainer(
    clip: Path | str, args: VitaClipTrainingArguments, base_dtype: torch.dtype = torch.float32, **kwargs: Any
) -> VitaClipTrainer:
    torch.manual_seed(0)
    model = VitaClipForVideoClassification.from_pretrained(
        clip, id2label=dict(enumerate(LABELS)), num_frames=NUM_FRAMES, tokenizer=toy_tokenizer()
    )
    model.cast_base(base_dtype)
    size = {"height": IMAGE_SIZE, "width": IMAGE_SIZE}
    processor = VitaClipVideoProcessor(size={"shortest_edge": IMAGE_SIZE}, crop_size=size, num_frames=NUM_FRAMES)
    kwargs = {"train_dataset": toy_data(), "processing_class": processor, **kwargs}
    return VitaClipTrainer(model=model, args=args, **kwargs)


def losses_of(trainer: VitaClipTrainer) -> torch.Tensor:
    return torch.tensor([entry["loss"] for entry in trainer.state.log_history if "loss" in entry], dtype=torch.double)
