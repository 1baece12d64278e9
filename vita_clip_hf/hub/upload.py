"""To the Hub: a checkpoint with its processor, its code and its card, in one commit."""

import logging
import os
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import CommitInfo, HfApi

from ..modeling.adapter_file_vita_clip import ADAPTER_FILE
from ..modeling.configuration_vita_clip import PromptedClipConfig
from ..modeling.modeling_vita_clip import VitaClipModel
from ..modeling.processing_vita_clip import VitaClipProcessor
from ..modeling.remote_code_vita_clip import BASE_IN_PACKAGE, locate_base
from ..modeling.video_processing_vita_clip import VitaClipVideoProcessor
from .cards import CARD_IS_GENERATED, PROCESSOR_FILE, WEIGHT_PATTERNS, CardDetails, hub_base, render_card
from .methods import read_config

logger = logging.getLogger(__name__)

CardRenderer = Callable[[Path, str], str]

CARD_FILE = "README.md"
CODE_PATTERNS = ("*_vita_clip.py", "*_efficient_prompt.py")
PROCESSOR_PATTERNS = (
    *(PROCESSOR_FILE, "preprocessor_config.json", "video_preprocessor_config.json"),
    *("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"),
    *("vocab.json", "merges.txt"),
)
PUBLISHED = ("config.json", *WEIGHT_PATTERNS, *CODE_PATTERNS, *PROCESSOR_PATTERNS, CARD_FILE)


def push_to_hub(
    model: VitaClipModel,
    repo_id: str,
    *,
    processor: VitaClipProcessor | None = None,
    card: CardRenderer | None = None,
    adapter_only: bool | None = None,
    adapter_dtype: str | torch.dtype | None = None,
    state_dict: dict[str, torch.Tensor] | None = None,
    max_shard_size: int | str | None = "50GB",
    commit_message: str | None = None,
    commit_description: str | None = None,
    private: bool | None = None,
    token: bool | str | None = None,
    revision: str | None = None,
    create_pr: bool = False,
) -> CommitInfo:
    """
    Uploads adapter (or full checkpoint), configuration, processor, the files that run it, and a card: one commit, from
    which `trust_remote_code` or the installed package loads everything. Weights of an earlier push that this one does
    not have are deleted in the same commit. Importing the package makes this the `push_to_hub` of [`VitaClipModel`].

    Args:
        model: adapter or full checkpoint.
        repo_id: `"name"` or `"owner/name"`; made if it does not exist.
        processor: the [`VitaClipProcessor`]. By default, if the repository has none, the one beside the checkpoint
            that the model was loaded from; else, with a warning, that of the base for clips of the model's length.
        card: writes the card, from the folder that is about to be uploaded and the repository's id; by default
            [`render_card`]. A card in the repository without its mark of being generated is left alone.
        adapter_only, adapter_dtype, state_dict: as in `save_pretrained`.
        max_shard_size: of the files of a full checkpoint.
        commit_message, commit_description: of the commit.
        private: whether a new repository is private.
        token: of the Hub; by default the one logged in with.
        revision: the branch to commit to, made if it does not exist.
        create_pr: open a pull request in place of a commit to the branch.

    Returns:
        The commit.

    Raises:
        ValueError: the adapter names a base that others cannot load: a folder of this machine.
    """
    if adapter_only is None:
        adapter_only = model.config.base_model_name_or_path is not None
    if adapter_only:
        check_base_is_public(model.config)
    api = HfApi(token=token)
    with tempfile.TemporaryDirectory() as folder:
        options: dict[str, Any] = (
            {"adapter_dtype": adapter_dtype} if adapter_only else {"max_shard_size": max_shard_size}
        )
        model.save_pretrained(folder, adapter_only=adapter_only, state_dict=state_dict, **options)
        repo_id = _create_repo(api, repo_id, private, revision)
        if processor is None and not api.file_exists(repo_id, PROCESSOR_FILE, revision=revision):
            processor = processor_for(model.config)
        if processor is not None:
            processor.save_pretrained(folder)
        commit = {"commit_message": commit_message, "commit_description": commit_description}
        return _upload(
            Path(folder), repo_id, card or render_card, api, revision=revision, create_pr=create_pr, **commit
        )


def publish(
    model: VitaClipModel,
    repo_id: str,
    processor: VitaClipProcessor | None = None,
    details: CardDetails | None = None,
    **options: Any,
) -> CommitInfo:
    """
    Uploads a model with its processor, its code and a card in one commit: [`push_to_hub`] with details.

    Args:
        model: adapter or full checkpoint.
        repo_id: `"name"` or `"owner/name"`; made if it does not exist.
        processor: by default, if the repository has none, the checkpoint's or the base's; see [`push_to_hub`].
        details: what the card says beyond the checkpoint's own files: licence, data sets, results.
        options: as for `push_to_hub`: `adapter_only`, `adapter_dtype`, `commit_message`, `private`, `token`,
            `revision`, `create_pr`.

    Raises:
        ValueError: the adapter names a base that others cannot load, or `details` are not valid metadata.
    """
    return push_to_hub(model, repo_id, processor=processor, card=partial(render_card, details=details), **options)


def publish_folder(
    folder: str | os.PathLike,
    repo_id: str,
    details: CardDetails | None = None,
    *,
    private: bool | None = None,
    token: bool | str | None = None,
    revision: str | None = None,
    **commit: Any,
) -> CommitInfo:
    """
    Uploads what `save_pretrained` wrote into a folder in one commit: of the folder's files those that belong to a
    checkpoint, and nothing else. A README.md there is written anew, unless the repository has one that its author
    changed.

    Args:
        folder: of model and processor; files that belong to neither stay behind.
        repo_id, details: as for [`publish`].
        private, token, revision: as for [`push_to_hub`].
        commit: `commit_message`, `commit_description`, `create_pr`, and `run_as_future` to upload in the background
            and get a `Future`.

    Raises:
        OSError: the folder holds no checkpoint.
        ValueError: the adapter names a base that others cannot load, or `details` are not valid metadata.
    """
    folder = Path(folder)
    if not (folder / "config.json").is_file():
        raise OSError(f"{folder}: has no config.json; expected a folder that a model was saved into.")
    if (folder / ADAPTER_FILE).is_file():
        check_base_is_public(read_config(folder))
    api = HfApi(token=token)
    repo_id = _create_repo(api, repo_id, private, revision)
    return _upload(folder, repo_id, partial(render_card, details=details), api, revision=revision, **commit)


def upload_processor(processor: VitaClipProcessor, repo_id: str, **commit: Any) -> CommitInfo:
    """
    Uploads a processor and the files that run it, in one commit; the card and the model stay as they are. Importing
    the package makes this the `push_to_hub` of [`VitaClipProcessor`].

    Args:
        processor: tokenizer and video processor.
        repo_id: made if it does not exist.
        commit: `commit_message`, `commit_description`, `private`, `token`, `revision`, `create_pr`.
    """
    api = HfApi(token=commit.pop("token", None))
    repo_id = _create_repo(api, repo_id, commit.pop("private", None), commit.get("revision"))
    commit["commit_message"] = commit.get("commit_message") or "Upload processor"
    with tempfile.TemporaryDirectory() as folder:
        processor.save_pretrained(folder)
        return api.upload_folder(repo_id=repo_id, folder_path=folder, **commit)


def _create_repo(api: HfApi, repo_id: str, private: bool | None, revision: str | None) -> str:
    """Makes the repository and the branch if they do not exist yet; returns the repository's full id."""
    repo_id = api.create_repo(repo_id, private=private, exist_ok=True).repo_id
    if revision is not None and not revision.startswith("refs/"):
        api.create_branch(repo_id, branch=revision, exist_ok=True)
    return repo_id


def _upload(
    folder: Path, repo_id: str, card: CardRenderer, api: HfApi, revision: str | None, **commit: Any
) -> CommitInfo:
    """A saved checkpoint to a repository that exists; the card is written into the folder."""
    ignored = ["*/*"]  # the patterns would match in sub-folders too
    if has_own_card(api, repo_id, revision):
        ignored.append(CARD_FILE)
    else:
        (folder / CARD_FILE).write_text(card(folder, repo_id), encoding="utf-8")
    commit["commit_message"] = commit.get("commit_message") or "Upload model"
    return api.upload_folder(
        repo_id=repo_id,
        folder_path=folder,
        allow_patterns=list(PUBLISHED),
        ignore_patterns=ignored,
        delete_patterns=[*WEIGHT_PATTERNS, *CODE_PATTERNS],
        revision=revision,
        **commit,
    )


def check_base_is_public(config: PromptedClipConfig) -> None:
    """Raises `ValueError` unless the base's name is a Hub id or a folder of an installable Python package."""
    base = config.base_model_name_or_path or ""
    if not base.startswith(BASE_IN_PACKAGE) and hub_base(config) is None:
        raise ValueError(
            f"The adapter's base is {base!r}, a folder of this machine: nobody could load it from the Hub. Set "
            "model.config.base_model_name_or_path to the base's Hub id (and base_model_revision to its commit), or "
            "publish the whole model by adapter_only=False."
        )


def has_own_card(api: HfApi, repo_id: str, revision: str | None = None) -> bool:
    """Whether the repository has a card that its author wrote or changed, rather than a generated one."""
    if not api.file_exists(repo_id, CARD_FILE, revision=revision):
        return False
    path = api.hf_hub_download(repo_id, CARD_FILE, revision=revision)
    return CARD_IS_GENERATED not in Path(path).read_text(encoding="utf-8")


def processor_for(config: PromptedClipConfig) -> VitaClipProcessor | None:
    """
    The processor that belongs to a model. It is the one beside the checkpoint that the model was loaded from. Else it
    is made from the base's tokenizer and image settings, and a warning says that the sampling is the default, which
    may not be the training's. `None` if there is neither.
    """
    checkpoint, base = config.name_or_path, config.base_model_name_or_path
    if checkpoint and checkpoint != base and (beside := _saved_processor(checkpoint)) is not None:
        beside.video_processor.num_frames = config.num_frames
        return beside
    try:
        name = locate_base(base or checkpoint)
        processor = VitaClipProcessor.from_pretrained(name, revision=config.base_model_revision or "main")
    except (OSError, ValueError) as error:
        logger.warning(
            f"Published without a processor: {base or checkpoint} has none ({error}). Give the argument processor."
        )
        return None
    video_processor = processor.video_processor
    video_processor.num_frames = config.num_frames
    logger.warning(
        f"Published with the processor of {base or checkpoint}, for {config.num_frames} frames sampled "
        f"{video_processor.sampling!r}: how clips were sampled in training is not known here. If it was otherwise, "
        "the model will give other figures: give the argument processor."
    )
    return processor


def _saved_processor(checkpoint: str) -> VitaClipProcessor | None:
    """The processor that was saved with a model of this project."""
    try:
        settings, _ = VitaClipVideoProcessor.get_video_processor_dict(locate_base(checkpoint))
        return VitaClipProcessor.from_pretrained(locate_base(checkpoint)) if "sampling" in settings else None
    except (OSError, ValueError):
        return None


__all__ = ["check_base_is_public", "publish", "publish_folder", "push_to_hub", "upload_processor"]
