"""Checkpoints of an adapter as transformers' own Trainer reads them."""

import shutil
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR
from transformers.utils import SAFE_WEIGHTS_NAME

from ...modeling.adapter_file_vita_clip import ADAPTER_FILE, written_whole


class AdapterCheckpoints(TrainerCallback):
    """
    Lets transformers' own [`Trainer`] use `load_best_model_at_end` and `resume_from_checkpoint` on an adapter:

    ```python
    >>> trainer = Trainer(model, args, callbacks=[AdapterCheckpoints()], ...)
    ```

    That Trainer looks for `model.safetensors` in a checkpoint. This puts the prompts there under that name too; the
    frozen base stays as it was loaded. [`VitaClipTrainer`] reads adapters itself and needs no such file.
    """

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Copies the prompts of the checkpoint that was just written."""
        folder = Path(args.output_dir) / f"{PREFIX_CHECKPOINT_DIR}-{state.global_step}"
        if args.should_save and (folder / ADAPTER_FILE).is_file():
            with written_whole(folder / SAFE_WEIGHTS_NAME) as path:
                shutil.copyfile(folder / ADAPTER_FILE, path)
