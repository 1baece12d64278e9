"""Publishing with a whole card: one call for a model in memory, one for a saved folder."""

import os
from functools import partial
from pathlib import Path
from typing import Any

from huggingface_hub import CommitInfo

from ..modeling.modeling_vita_clip import VitaClipModel
from ..modeling.processing_vita_clip import VitaClipProcessor
from ..modeling.publishing_vita_clip import upload_checkpoint
from .cards import CardDetails, render_card


def publish(
    model: VitaClipModel,
    repo_id: str,
    processor: VitaClipProcessor | None = None,
    details: CardDetails | None = None,
    **options: Any,
) -> CommitInfo:
    """
    Uploads a model with its processor, its code and a card in one commit: `model.push_to_hub` with details.

    Args:
        model: adapter or full checkpoint.
        repo_id: `"name"` or `"owner/name"`; made if it does not exist.
        processor: by default, where the repository has none, that of the base.
        details: what the card says beyond the checkpoint's own files: licence, data sets, results.
        options: as for `push_to_hub`: `adapter_only`, `adapter_dtype`, `commit_message`, `private`, `token`,
            `revision`, `create_pr`.

    Raises:
        ValueError: the adapter names a base that others cannot load, or `details` are not valid metadata.
    """
    return model.push_to_hub(repo_id, processor=processor, card=partial(render_card, details=details), **options)


def publish_folder(
    folder: str | os.PathLike, repo_id: str, details: CardDetails | None = None, **options: Any
) -> CommitInfo:
    """
    Uploads what `save_pretrained` wrote into a folder in one commit. A README.md there is written anew, unless the
    repository has one that somebody changed.

    Args:
        folder: of model and processor; files that belong to neither stay behind.
        repo_id, details: as for [`publish`].
        options: `commit_message`, `commit_description`, `private`, `token`, `revision`, `create_pr`, and
            `run_as_future` to upload in the background and get a `Future`.

    Raises:
        OSError: the folder holds no checkpoint.
        ValueError: the adapter names a base that others cannot load, or `details` are not valid metadata.
    """
    return upload_checkpoint(Path(folder), repo_id, partial(render_card, details=details), **options)


__all__ = ["publish", "publish_folder"]
