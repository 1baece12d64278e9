"""To the Hub: a checkpoint with its processor, its code and its card, in one commit."""

import logging
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import CommitInfo, HfApi
from huggingface_hub.utils import validate_repo_id

from ..modeling.adapter_file_vita_clip import ADAPTER_FILE
from ..modeling.configuration_vita_clip import PromptedClipConfig
from ..modeling.modeling_vita_clip import VitaClipModel
from ..modeling.processing_vita_clip import VitaClipProcessor
from ..modeling.remote_code_vita_clip import BASE_IN_PACKAGE, locate_base
from ..modeling.video_processing_vita_clip import VitaClipVideoProcessor
from ..text_files import read_text
from .cards import CARD_IS_GENERATED, PROCESSOR_FILE, WEIGHT_PATTERNS, CardDetails, hub_base, render_card
from .commit import clear_errors, commit_folder, with_attempts
from .methods import read_config
from .privacy import check_publishable
from .staging import (
    CARD_FILE,
    FILE_IS_GENERATED,
    PROCESSOR_FILES,
    SERVING_FILES,
    Additions,
    Staged,
    staged,
    with_details_of,
)

logger = logging.getLogger(__name__)

CardRenderer = Callable[[Path, str], str]

CODE_PATTERNS = ("*_vita_clip.py", "*_efficient_prompt.py")


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
        private: whether a new repository is private. `True` is an error if there is a public one of this name.
        token: of the Hub; by default the one logged in with.
        revision: the branch to commit to, made if it does not exist.
        create_pr: open a pull request in place of a commit to the branch.

    Returns:
        The commit.

    Raises:
        ValueError: the adapter names a base that others cannot load: a folder of this machine; or a repository that
            was to be private is public.
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
        repo_id = _full_id(api, repo_id)
        if processor is None and not _has_file(api, repo_id, PROCESSOR_FILE, revision):
            processor = processor_for(model.config)
        if processor is not None:
            processor.save_pretrained(folder)
        with staged(folder) as ready:
            _write_card(ready, card or render_card, repo_id, Path(folder))
            _create_repo(api, repo_id, private, revision)
            return _commit(
                ready,
                repo_id,
                api,
                revision=revision,
                create_pr=create_pr,
                commit_message=commit_message,
                commit_description=commit_description,
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
    additions: Additions | None = None,
    private: bool | None = None,
    token: bool | str | None = None,
    revision: str | None = None,
    run_as_future: bool = False,
    **commit: Any,
) -> CommitInfo:
    """
    Uploads what `save_pretrained` or a training wrote into a folder in one commit: of the folder's files those that
    belong to a checkpoint, with code, card, files for serving, the training's log and reports of evaluations; nothing
    else. Everything is checked before anything is sent; the folder is not changed.

    Args:
        folder: of model and processor; files that belong to neither stay behind. A README.md there without the mark
            of being generated is published as it is.
        repo_id, details: as for [`publish`].
        additions: an example clip, further reports, another name or revision of the base.
        private, token, revision: as for [`push_to_hub`].
        run_as_future: upload in the background and return a `Future`.
        commit: `commit_message`, `commit_description`, `create_pr`.

    Raises:
        OSError: the folder holds no checkpoint, or the Hub refuses it; nothing or all of it is committed.
        ValueError: the adapter names a base that others cannot load, a file holds a secret or a path of this machine,
            or `details` are not valid metadata.
    """
    api = HfApi(token=token)
    with ExitStack() as stack:
        repo_id = _full_id(api, repo_id)
        keep_processor = not has_processor(folder) and _has_file(api, repo_id, PROCESSOR_FILE, revision)
        changes = _resolved(additions, folder, api)
        ready = stack.enter_context(prepared(folder, repo_id, details, changes, keep_processor))
        _create_repo(api, repo_id, private, revision)
        held = stack.pop_all()  # until the upload has ended, which may be in the background

    def upload() -> CommitInfo:
        with held:
            return _commit(ready, repo_id, api, revision=revision, **commit)

    return api.run_as_future(upload) if run_as_future else upload()  # type: ignore[return-value]


@contextmanager
def prepared(
    folder: str | os.PathLike,
    repo_id: str,
    details: CardDetails | None = None,
    additions: Additions | None = None,
    keep_processor: bool = False,
) -> Iterator[Staged]:
    """
    What [`publish_folder`] would upload, in a temporary folder; asks nothing of the Hub, but for a base that is there
    and is needed: for the processor of a folder without one, or to run the model.

    Args:
        folder, repo_id, details, additions: as for `publish_folder`.
        keep_processor: the repository has the processor of a folder without one.

    Raises:
        OSError, ValueError: as `publish_folder` does.
    """
    if (Path(folder) / ADAPTER_FILE).is_file():
        config = read_config(folder)
        if additions is not None and additions.base is not None:
            config.base_model_name_or_path = additions.base
        check_base_is_public(config)
    with staged(folder, additions) as ready:
        if not keep_processor and not has_processor(ready.folder):
            processor = processor_for(read_config(ready.folder))
            if processor is not None:
                processor.save_pretrained(ready.folder)
        card = partial(render_card, details=with_details_of(ready, details or CardDetails()))
        _write_card(ready, card, repo_id, Path(folder))
        yield ready


def has_processor(folder: str | os.PathLike) -> bool:
    """Whether a checkpoint's folder says how clips are made."""
    return any((Path(folder) / name).is_file() for name in PROCESSOR_FILES)


def _write_card(ready: Staged, card: CardRenderer, repo_id: str, source: Path) -> None:
    """
    The rendered card, or the one that its author has written into the checkpoint's folder. Then the folder is whole,
    and looked through for what must not be published.
    """
    own = source / CARD_FILE
    text = read_text(own) if own.is_file() else CARD_IS_GENERATED
    if CARD_IS_GENERATED in text:
        text = card(ready.folder, repo_id)
    (ready.folder / CARD_FILE).write_text(text, encoding="utf-8")
    check_publishable(ready.folder)


def _resolved(additions: Additions | None, folder: str | os.PathLike, api: HfApi) -> Additions | None:
    """With the commit of the base that a branch or tag names today: a checkpoint must not change with its base."""
    if additions is None or additions.base_revision is None:
        return additions
    base = additions.base or read_config(folder).base_model_name_or_path or ""
    with clear_errors(base):
        return replace(additions, base_revision=api.model_info(base, revision=additions.base_revision).sha)


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


def _full_id(api: HfApi, repo_id: str) -> str:
    """With its owner, who is the token's unless the id says otherwise."""
    validate_repo_id(repo_id)
    if "/" in repo_id:
        return repo_id
    with clear_errors(repo_id):
        return f"{api.whoami()['name']}/{repo_id}"


def _create_repo(api: HfApi, repo_id: str, private: bool | None, revision: str | None) -> str:
    """Makes the repository and the branch if they do not exist yet; returns the repository's full id."""

    def create() -> str:
        full_id = api.create_repo(repo_id, private=private, exist_ok=True).repo_id
        if private and not api.model_info(full_id).private:
            raise ValueError(
                f"{full_id} is on the Hub already and is public: nothing was sent. Make it private in its settings, "
                "choose another name, or publish without the wish that it is private."
            )
        if revision is not None and not revision.startswith("refs/"):
            api.create_branch(full_id, branch=revision, exist_ok=True)
        return full_id

    return with_attempts(repo_id, create)


def _has_file(api: HfApi, repo_id: str, name: str, revision: str | None) -> bool:
    with clear_errors(repo_id):
        return api.file_exists(repo_id, name, revision=revision)


def _commit(ready: Staged, repo_id: str, api: HfApi, revision: str | None, **commit: Any) -> CommitInfo:
    """All that is staged to a repository that exists, but for what its author has changed there."""
    commit["commit_message"] = commit.get("commit_message") or "Upload model"
    return commit_folder(
        ready.folder,
        repo_id,
        api,
        skip=with_attempts(repo_id, partial(changed_files, api, repo_id, revision)),
        delete=[*WEIGHT_PATTERNS, *CODE_PATTERNS],
        revision=revision,
        **commit,
    )


def check_base_is_public(config: PromptedClipConfig) -> None:
    """Raises `ValueError` unless the base's name is a Hub id or a folder of an installable Python package."""
    base = config.base_model_name_or_path or ""
    if not base.startswith(BASE_IN_PACKAGE) and hub_base(config) is None:
        raise ValueError(
            f"The adapter's base is {base!r}, no Hub id but a folder of this machine or an address: nobody could load "
            "it from the Hub. Set model.config.base_model_name_or_path to the base's Hub id (and base_model_revision "
            "to its commit; `vita-clip publish --base ID` does it), or publish the whole model by adapter_only=False."
        )


def changed_files(api: HfApi, repo_id: str, revision: str | None = None) -> list[str]:
    """Of the files that are written anew at each push those in the repository that their author wrote or changed."""
    present = set(api.list_repo_files(repo_id, revision=revision))
    marks = {CARD_FILE: CARD_IS_GENERATED, **dict.fromkeys(SERVING_FILES, FILE_IS_GENERATED)}
    changed = []
    for name, mark in marks.items():
        if name in present:
            path = api.hf_hub_download(repo_id, name, revision=revision)
            if mark not in Path(path).read_text(encoding="utf-8", errors="replace"):
                changed.append(name)
    return changed


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
            f"Published without a processor: {base or checkpoint} has none ({error}). Save one beside the checkpoint, "
            "or give the argument processor."
        )
        return None
    video_processor = processor.video_processor
    video_processor.num_frames = config.num_frames
    logger.warning(
        f"Published with the processor of {base or checkpoint}, for {config.num_frames} frames sampled "
        f"{video_processor.sampling!r}: how clips were sampled in training is not known here. If it was otherwise, "
        "the model will give other figures: save the training's beside the checkpoint, or give the argument processor."
    )
    return processor


def _saved_processor(checkpoint: str) -> VitaClipProcessor | None:
    """The processor that was saved with a model of this project."""
    try:
        settings, _ = VitaClipVideoProcessor.get_video_processor_dict(locate_base(checkpoint))
        return VitaClipProcessor.from_pretrained(locate_base(checkpoint)) if "sampling" in settings else None
    except (OSError, ValueError):
        return None


__all__ = ["check_base_is_public", "prepared", "publish", "publish_folder", "push_to_hub", "upload_processor"]
