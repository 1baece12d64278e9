"""Models under evaluation as encoders of mteb, for the video tasks of its benchmark (MVEB)."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from collections.abc import Collection, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import torch
from huggingface_hub import ModelCard, ModelCardData, hf_hub_download
from huggingface_hub.errors import EntryNotFoundError
from torch.utils.data import DataLoader
from tqdm.auto import tqdm
from transformers import BaseVideoProcessor

from ..data.rows import name_of, reason_of, source_of, without_decoding
from ..hub.cards import hub_base
from ..hub.methods import method_of
from ..modeling.configuration_vita_clip import PromptedClipConfig
from ..modeling.remote_code_vita_clip import locate_base
from ..modeling.video_reading_vita_clip import VideoReadError
from ..models import load_model
from ..models.fingerprint import model_fingerprint
from .run import Resources

if TYPE_CHECKING:
    from mteb import TaskMetadata
    from mteb.models.model_meta import ModelMeta

logger = logging.getLogger(__name__)

_ORGANISATION_OF_FOLDERS = "local"  # mteb's names are "organisation/model"


class MtebEncoder:
    """
    A model as mteb's tasks run it: any that [`load_model`] loads, by its own processor.

    The processor opens the videos, with its own decoder, and takes its own frames and views of each. The embedding of
    a video is the mean over its views, that of a text is of the text as it stands, without a template or contexts of
    classes; rows with both have the sum. mteb compares videos and texts by their cosine. X-CLIP's texts are
    therefore without the prompts that a video adds to them, as in mteb's own X-CLIP.

    Args:
        model_name: a folder or a Hub id, as [`load_model`] takes it.
        revision: of a Hub id.
        device: by default the first GPU, else the CPU.
        dtype: "float32", "bfloat16" or "float16", of the weights.
        training_datasets: what the model was trained on, in the names of mteb's tasks; an empty set if on none of
            their data. By default what the model's card names, if mteb has all of it; else `None`, which means
            unknown to mteb.
        place: where the model is, if `model_name` is the name that mteb has for a folder.
        fingerprint: that the loaded model must have, `sha256:...`.

    Attributes:
        mteb_model_meta (`ModelMeta`): its `revision` is the commit on the Hub, or, of a folder, the fingerprint.

    Raises:
        ImportError: mteb is not installed.
        OSError: there is no such checkpoint.
        ValueError: it is of a kind that cannot be loaded, or has another fingerprint; a setting makes no sense.
    """

    mteb_model_meta: ModelMeta

    def __init__(
        self,
        model_name: str | os.PathLike,
        revision: str | None = None,
        *,
        device: str | None = None,
        dtype: str = "float32",
        training_datasets: Collection[str] | None = None,
        place: str | None = None,
        fingerprint: str | None = None,
    ):
        _check_mteb()
        where = locate_base(model_name if place is None else place)
        is_folder = os.path.isdir(where)
        resources = Resources(device=device, dtype=dtype, revision=None if is_folder else revision)
        self.model, self.processor = load_model(
            where, dtype=getattr(torch, dtype), device=resources.place, revision=resources.revision
        )
        found = model_fingerprint(self.model)
        if fingerprint not in (None, found):
            raise ValueError(f"{where}: its weights are not those of the fingerprint {fingerprint}; found {found}.")
        config = self.model.model.config
        commit = getattr(config, "_commit_hash", None) or revision
        card = _read_card(where, resources.revision)
        self.mteb_model_meta = _describe(
            self,
            loader=partial(MtebEncoder, place=os.path.abspath(where)) if is_folder else MtebEncoder,
            loader_kwargs={"dtype": dtype, "fingerprint": found},
            name=f"{_ORGANISATION_OF_FOLDERS}/{Path(where).resolve().name}" if is_folder else where,
            revision=found.removeprefix("sha256:") if is_folder or commit is None else commit,
            reference=None if is_folder else f"https://huggingface.co/{where}",
            open_weights=None if is_folder else True,
            license=_known_license(card),
            training_datasets=_training_datasets(training_datasets, card, where),
            # Results of other precisions are kept apart.
            experiment_kwargs=None if dtype == "float32" else {"dtype": dtype},
        )

    @torch.no_grad()
    def encode(
        self,
        inputs: DataLoader,
        *,
        task_metadata: TaskMetadata,
        hf_split: str,
        hf_subset: str,
        prompt_type: Any = None,
        show_progress_bar: bool = True,
        **kwargs: Any,
    ) -> torch.Tensor:
        """
        Embeds the rows of a task, which have a `video`, a `text` or both.

        Args:
            inputs: over a `datasets.Dataset`; its columns other than these two are not read.
            task_metadata: of the task, whose name messages have.
            hf_split, hf_subset, prompt_type, kwargs: not used.
            show_progress_bar: over videos.

        Returns:
            `(N, D')`, float32 on the CPU, not normalised.

        Raises:
            VideoReadError: a video cannot be read; the message has its name.
            ValueError: rows have neither column.
        """
        columns = inputs.dataset.column_names  # type: ignore[attr-defined]
        parts = []
        if "video" in columns:
            parts.append(self._encode_videos(inputs, show_progress_bar))
        if "text" in columns:
            parts.append(self._encode_texts(inputs.dataset["text"], task_metadata.name))
        if not parts:
            raise ValueError(f"{task_metadata.name}: expected a column 'video' or 'text', found {', '.join(columns)}.")
        return torch.stack(parts).sum(dim=0)

    def _encode_videos(self, inputs: DataLoader, show_progress: bool) -> torch.Tensor:
        video_processor, model = self.processor.video_processor, self.model
        num_views = video_processor.num_temporal_views * video_processor.num_spatial_views
        batches = DataLoader(
            without_decoding(inputs.dataset.select_columns(["video"])),  # type: ignore[attr-defined]
            batch_size=max(1, (inputs.batch_size or 1) // num_views),
            num_workers=inputs.num_workers,
            collate_fn=partial(_read_clips, video_processor),
            generator=torch.Generator(),  # the seed of its workers: not drawn from the global generator
        )
        embeds = []
        for clips in tqdm(batches, desc="encoding", unit=" batches", leave=False, disable=not show_progress):
            views = clips.unflatten(0, (-1, 1)) if num_views == 1 else clips  # (B, V, T, 3, H, W)
            features = model.encode_videos(views.flatten(0, 1).to(model.device, model.dtype))
            embeds.append(features.video_embeds.float().cpu().unflatten(0, views.shape[:2]).mean(dim=1))
        return torch.cat(embeds)

    def _encode_texts(self, texts: Sequence[str], task: str) -> torch.Tensor:
        texts, limit = list(texts), self.model.max_text_tokens
        lengths = [len(ids) for ids in self.model.tokenizer(texts, verbose=False)["input_ids"]]
        num_cut = sum(length > limit for length in lengths)
        if num_cut:
            logger.warning(
                f"{task}: {num_cut} of {len(texts)} texts are longer than the {limit} tokens that the model reads, "
                f"{max(lengths)} at most; they are cut."
            )
        return self.model.encode_texts(texts, truncate=True).float().cpu()

    def similarity(self, embeddings1: Any, embeddings2: Any) -> torch.Tensor:
        """Cosines of all pairs, `(N, D')` and `(M, D')` to `(N, M)`."""
        from mteb.similarity_functions import cos_sim

        return cos_sim(embeddings1, embeddings2)

    def similarity_pairwise(self, embeddings1: Any, embeddings2: Any) -> Any:
        """Cosines row by row, `(N, D')` and `(N, D')` to `(N,)`."""
        from mteb.similarity_functions import pairwise_cos_sim

        return pairwise_cos_sim(embeddings1, embeddings2)


def _check_mteb() -> None:
    try:
        import mteb  # noqa: F401
    except ImportError as error:
        version = ".".join(map(str, sys.version_info[:2]))
        raise ImportError(
            f"mteb's tasks need mteb, on Python 3.11 or newer (this is {version}): pip install 'vita-clip-hf[mteb]' "
            f"({error})."
        ) from error


# ---- videos ----


def _read_clips(video_processor: BaseVideoProcessor, rows: Sequence[Mapping[str, Any]]) -> torch.Tensor:
    """Normalised clips of rows, `(B, T, 3, H, W)`, or `(B, V, T, 3, H, W)` if the processor takes several views."""
    return torch.cat([_read_clip(video_processor, row) for row in rows])


def _read_clip(video_processor: BaseVideoProcessor, row: Mapping[str, Any]) -> torch.Tensor:
    source = source_of(row["video"])
    try:
        return video_processor(videos=[source], return_tensors="pt")["pixel_values"]
    except VideoReadError as error:
        if not isinstance(row["video"], Mapping):
            raise
        # The reader names bytes by their number; the row may have their path.
        reader_name = f"<{len(source)} bytes>" if isinstance(source, bytes) else str(source)
        raise VideoReadError(f"{name_of(row)}: {reason_of(error, reader_name)}") from error


# ---- what mteb is told ----


def _describe(encoder: MtebEncoder, **facts: Any) -> ModelMeta:
    from mteb.models.model_meta import ModelMeta, ScoringFunction

    model, tokens = encoder.model.model, encoder.model.max_text_tokens
    config, weights = model.config, list(model.parameters())
    is_prompted = isinstance(config, PromptedClipConfig)
    return ModelMeta(
        **facts,
        adapted_from=hub_base(config) if is_prompted else None,
        citation=method_of(config).citation if is_prompted else None,
        n_parameters=sum(weight.numel() for weight in weights),
        n_embedding_parameters=model.text_model.embeddings.token_embedding.weight.numel(),
        memory_usage_mb=round(sum(weight.numel() * weight.element_size() for weight in weights) / 2**20, 1),
        max_tokens=tokens,
        embed_dim=config.projection_dim,
        modalities=["video", "text"],
        framework=["PyTorch", "Transformers"],
        similarity_fn_name=ScoringFunction("cosine"),
        use_instructions=False,
        languages=None,
        release_date=None,
        public_training_code=None,
        public_training_data=None,
    )


def _read_card(place: str, revision: str | None) -> ModelCardData | None:
    """The metadata of the README.md beside a model; `None` if there is none."""
    path = Path(place) / "README.md"
    if not os.path.isdir(place):
        try:
            path = Path(hf_hub_download(place, "README.md", revision=revision))
        except EntryNotFoundError:
            return None
    return ModelCard.load(path).data if path.is_file() else None


def _known_license(card: ModelCardData | None) -> str | None:
    from mteb.types import Licenses

    found = None if card is None else card.license
    return found if found in get_args(Licenses) else None


def _training_datasets(given: Collection[str] | None, card: ModelCardData | None, place: str) -> set[str] | None:
    """
    Names of mteb's tasks, by which it tells contaminated results; `None` is mteb's word for unknown.

    Raises:
        ValueError: one text was given in place of several.
    """
    if isinstance(given, str):
        raise ValueError(f"training_datasets is {given!r}; expected a set of names, such as {{{given!r}}}.")
    if given is not None:
        unknown = sorted(set(given) - {name for names in _task_names().values() for name in names}) if given else []
        if unknown:
            logger.warning(
                f"training_datasets has {', '.join(unknown)}, and mteb has no video tasks of these names: it compares "
                "names of tasks only."
            )
        return set(given)
    named = (None if card is None else card.datasets) or []
    named = [named] if isinstance(named, str) else list(named)
    if not named:
        return None
    names_of = _task_names()
    unknown = sorted(set(named) - names_of.keys())
    if unknown:
        logger.warning(
            f"The card of {place} says that the model was trained on {', '.join(named)}, and mteb has no task on "
            f"{', '.join(unknown)}: what it was trained on is unknown to mteb. Give training_datasets."
        )
        return None
    return set().union(*(names_of[name] for name in named))


def _task_names() -> dict[str, set[str]]:
    """Of mteb's video tasks, by the Hub id of their data; without its warning about each that is in beta."""
    import mteb

    names: dict[str, set[str]] = {}
    log = logging.getLogger("mteb.abstasks.abstask")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for task in mteb.get_tasks(modalities=["video"], exclude_superseded=False, exclude_beta=False):
                names.setdefault(task.metadata.dataset["path"], set()).add(task.metadata.name)
    finally:
        log.setLevel(level)
    return names


__all__ = ["MtebEncoder"]
