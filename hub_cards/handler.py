# Part of vita-clip-hf. Remove this line to keep your changes to this file.
"""
Classifies videos behind Hugging Face Inference Endpoints: from a request in JSON to the Hub's `video-classification`
answer.

Inference Endpoints import this file from a repository that has one and call `EndpointHandler`. It needs the packages
of `requirements.txt` and the files beside it. Their default image knows no content type of videos, so a video comes
within JSON, as a URL or in base64; and its transformers is older than the 5.17 that is needed. The `Dockerfile` beside
this file makes an image that has what is needed, whose `server.py` also takes the bytes of a video as they are.

    {"inputs": "https://host/video.mp4", "parameters": {"candidate_labels": ["swimming", "running"], "top_k": 2}}
    [{"label": "swimming", "score": 0.93}, {"label": "running", "score": 0.07}]

`inputs` is a URL (http, https), base64 (bare or as a `data:` URL), `{"url": ...}` or `{"base64": ...}`. A file of the
server is never opened and no private address is asked. The parameters are in `PARAMETERS`.
"""

import base64
import binascii
import math
import os
import re
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

PARAMETERS = {
    "candidate_labels": "names to choose from; without them the model's own classes",
    "hypothesis_template": 'text around a candidate label, such as "a video of {}.", or a list of them',
    "top_k": "labels in the answer, 5 by default",
    "num_frames": "frames that the model looks at",
    "frame_sampling_rate": "take frames that are this far apart, from the middle of the video",
    "function_to_apply": '"softmax" (the default), "sigmoid" or "none"',
    "window_seconds": "classify windows of this length each on its own: every entry also has `start` and `end`",
    "stride_seconds": "from the start of one window to the next; by default a window's length",
}
DEFAULT_TOP_K = 5
_BASE64_HEADER = re.compile(r"data:[\w.+-]*/?[\w.+-]*(?:;[\w=.+\"-]+)*;base64,", re.IGNORECASE)
# Refused, not shortened: what is looked for in a text of this length is no action.
_LONGEST_URL = 8192


class RequestError(ValueError):
    """
    A request that cannot be answered, and why. Inference Endpoints answer every exception with status 400 and
    `{"error": text}`; `server.py` with this `status` and `body`.
    """

    def __init__(self, message: str, status: int = 400):
        super().__init__(message)
        self.status = status

    @property
    def body(self) -> dict[str, Any]:
        return {"error": str(self), "status": self.status}


@dataclass(frozen=True)
class Limits:
    """
    What one request may ask for. The environment sets others: `VITA_CLIP_MAX_VIDEO_BYTES` is that of
    `max_video_bytes`, and so on.

    Args:
        max_video_bytes: of a video, sent or downloaded.
        max_download_seconds: that a URL may take.
        max_clip_bytes: of the decoded frames of a clip.
        max_labels, max_label_length: candidate labels, and letters of each and of each template.
        max_texts: labels times templates.
        max_frames, max_frame_sampling_rate: of a clip.
        max_windows: of a video.
    """

    max_video_bytes: int = 32 * 1024**2
    max_download_seconds: int = 30
    max_clip_bytes: int = 1024**3
    max_labels: int = 200
    max_label_length: int = 200
    max_texts: int = 1000
    max_frames: int = 64
    max_frame_sampling_rate: int = 1000
    max_windows: int = 100

    @classmethod
    def from_environment(cls, **defaults: int) -> "Limits":
        """
        Args:
            defaults: of this program, in place of those of the class.

        Raises:
            ValueError: a variable of the environment is no whole number above 0.
        """
        given = dict(defaults)
        for field in fields(cls):
            name = f"VITA_CLIP_{field.name.upper()}"
            text = os.environ.get(name, "").strip()
            if text and not re.fullmatch("0*[1-9][0-9]{,17}", text):
                raise ValueError(f"the environment variable {name} is {text!r}, expected a whole number above 0")
            if text:
                given[field.name] = int(text)
        return cls(**given)

    def apply(self) -> None:
        """Sets the limits of downloads and of frames, which are those of the whole process."""
        os.environ["VITA_CLIP_DOWNLOAD_BYTES"] = str(self.max_video_bytes)
        os.environ["VITA_CLIP_DOWNLOAD_SECONDS"] = str(self.max_download_seconds)
        os.environ["VITA_CLIP_MAX_CLIP_BYTES"] = str(self.max_clip_bytes)

    def check_labels(self, labels: Any, templates: Any = None) -> None:
        """
        Args:
            labels: candidate labels.
            templates: a text around a label, a list of them, or `None`.

        Raises:
            RequestError: they are no texts, or too many or too long.
        """
        _check_texts("candidate_labels", labels, self.max_labels, self.max_label_length)
        if templates is None:
            return
        templates = [templates] if isinstance(templates, str) else templates
        most = max(self.max_texts // len(labels), 1)
        _check_texts("hypothesis_template", templates, most, self.max_label_length)


class EndpointHandler:
    """
    Loads the checkpoint of a folder once, and answers any number of requests, also from several threads.

    Args:
        path: folder of the repository; by default that of this file.
        limits: by default those of the environment. Downloads and frames are limited in the whole process.

    Raises:
        OSError, ValueError: the folder holds no checkpoint that runs.
    """

    def __init__(self, path: str | os.PathLike = "", limits: Limits | None = None):
        import torch
        from transformers import pipeline

        self.limits = limits or Limits.from_environment()
        self.limits.apply()
        self._classify = pipeline(
            "zero-shot-video-classification",
            model=os.fspath(path) or str(Path(__file__).resolve().parent),
            device=0 if torch.cuda.is_available() else -1,
            trust_remote_code=True,
            allow_private=False,
            max_windows=self.limits.max_windows,
        )
        self._has_classes = bool(getattr(self._classify.model.config, "label_token_ids", None))
        self._try_out()

    def __call__(self, data: dict[str, Any]) -> list[dict[str, Any]]:
        """
        Args:
            data: `inputs`, which may be the bytes of a video too, and, if wanted, `parameters`.

        Returns:
            `[{"label": str, "score": float}, ...]`, best first. With `window_seconds` the labels of one window follow
            those of the window before it, and each entry also has the window's `start` and `end` in seconds.

        Raises:
            RequestError: the request makes no sense, asks for too much, or the video cannot be read.
        """
        if not isinstance(data, dict) or "inputs" not in data:
            raise RequestError('expected an object {"inputs": ..., "parameters": {...}}')
        unknown = [str(key)[:50] for key in data if key not in ("inputs", "parameters")]
        if unknown:
            raise RequestError(f"{unknown[0]!r} is not known, expected `inputs` and `parameters`")
        settings = self._settings(data.get("parameters"))
        video = self._video(data["inputs"])
        try:
            answer = self._classify(video, **settings)
        except (OSError, ValueError) as error:  # errors of videos are both
            raise RequestError(str(error)) from error
        return _in_one_list(answer)

    def _try_out(self) -> None:
        """One clip of black frames: what does not run is found before the first request."""
        import numpy as np

        labels = None if self._has_classes else ["a", "b"]
        self._classify([np.zeros((32, 32, 3), dtype=np.uint8)] * 2, candidate_labels=labels)

    # ---- the video ----

    def _video(self, inputs: Any) -> str | bytes:
        """Of a request's `inputs` a URL or the bytes of a file."""
        if isinstance(inputs, (bytes, bytearray, memoryview)):
            return self._checked_bytes(bytes(inputs))
        kind = None
        if isinstance(inputs, dict):
            if len(inputs) != 1 or not inputs.keys() <= {"url", "base64"}:
                raise RequestError(
                    f'inputs has the keys {sorted(map(str, inputs))!r:.100}, expected "url" or "base64"'
                )
            ((kind, inputs),) = inputs.items()
        if not isinstance(inputs, str):
            raise RequestError(f"inputs must be a URL, base64 or an object of one, found {type(inputs).__name__}")
        is_url = inputs[:8].lower().startswith(("http://", "https://"))
        if kind == "url" or (kind is None and is_url):
            if not is_url or len(inputs) > _LONGEST_URL:
                raise RequestError(f"inputs is no http or https URL of up to {_LONGEST_URL} letters: {inputs[:80]!r}")
            return inputs
        return self._decoded(inputs)

    def _decoded(self, text: str) -> bytes:
        header = _BASE64_HEADER.match(text[:200])
        text = text[header.end() :] if header else text
        if len(text) > _base64_length(self.limits.max_video_bytes) * 1.1:  # with some ends of lines
            raise RequestError(f"the video is larger than {self.limits.max_video_bytes:,} bytes", 413)
        try:
            content = base64.b64decode("".join(text.split()), validate=True)
        except (binascii.Error, ValueError) as error:
            raise RequestError(
                f"inputs is neither an http(s) URL nor base64 ({error}), it starts with {text[:40]!r}; files of the "
                "server are not opened"
            ) from None
        return self._checked_bytes(content)

    def _checked_bytes(self, content: bytes) -> bytes:
        if len(content) > self.limits.max_video_bytes:
            raise RequestError(f"the video is larger than {self.limits.max_video_bytes:,} bytes", 413)
        return content

    # ---- parameters ----

    def _settings(self, parameters: Any) -> dict[str, Any]:
        """The pipeline's arguments."""
        if parameters is None:
            parameters = {}
        if not isinstance(parameters, dict):
            raise RequestError(f"parameters must be an object, found {type(parameters).__name__}")
        for name in parameters:
            if name not in PARAMETERS:
                raise RequestError(f"the parameter {str(name)[:50]!r} is not known, expected {', '.join(PARAMETERS)}")
        limits, given = self.limits, {name: value for name, value in parameters.items() if value is not None}
        labels = given.get("candidate_labels")
        if labels is None and not self._has_classes:
            raise RequestError("this model has no classes of its own: give candidate_labels")
        if labels is not None:
            limits.check_labels(labels, given.get("hypothesis_template"))
        _check_number(given, "top_k", 10**6)
        _check_number(given, "num_frames", limits.max_frames)
        _check_number(given, "frame_sampling_rate", limits.max_frame_sampling_rate)
        for name in ("window_seconds", "stride_seconds"):
            value = given.get(name, 1)
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value <= 1e6:
                raise RequestError(f"{name} must be a number of seconds above 0, found {value!r:.50}")
        function = given.get("function_to_apply", "softmax")
        if function not in ("softmax", "sigmoid", "none"):
            raise RequestError(f'function_to_apply must be "softmax", "sigmoid" or "none", found {function!r:.50}')
        return {"top_k": DEFAULT_TOP_K, **given}


def _check_texts(name: str, texts: Any, most: int, longest: int) -> None:
    if not isinstance(texts, list) or not texts or not all(isinstance(text, str) for text in texts):
        kind = "a text or a list of texts" if name == "hypothesis_template" else 'a list of texts, such as ["a", "b"]'
        raise RequestError(f"{name} must be {kind}, found {texts!r:.80}")
    if len(texts) > most:
        raise RequestError(f"{name} has {len(texts)} texts, more than the {most} that are allowed")
    for text in texts:
        if not text.strip() or len(text) > longest or not text.isprintable():
            raise RequestError(f"{name}: expected 1 to {longest} printable letters, found {text!a:.80}")


def _check_number(given: dict[str, Any], name: str, most: int) -> None:
    value = given.get(name, 1)
    if type(value) is not int or not 1 <= value <= most:
        raise RequestError(f"{name} must be a whole number from 1 to {most}, found {value!r:.50}")


def _base64_length(num_bytes: int) -> int:
    return math.ceil(num_bytes / 3) * 4


def _in_one_list(answer: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Windows one after the other, in the form of labels that also say when."""
    if not answer or "labels" not in answer[0]:
        return answer
    return [
        {**entry, "start": window["start"], "end": window["end"]} for window in answer for entry in window["labels"]
    ]
