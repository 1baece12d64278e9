"""Sets for zero-shot evaluation, as they are written on the command line."""

import difflib
import re
from dataclasses import dataclass, fields

from ..data.sampling import resolve_sampling

_FORM = (
    "NAME=LIST, and after it any of ,root=FOLDER ,classes=FILE ,format=F ,split=S ,sampling=S ,sampling_stride=N "
    ",class_texts=T"
)
# A comma separates settings only before "word="; within double quotes nothing does.
_PART = re.compile(r'(?:"[^"]*"|,(?!\w+=)|[^,"])+')


@dataclass(frozen=True)
class ZeroShotSource:
    """
    A set of videos whose classes have no learned contexts.

    Args:
        name: of the set: its figures are called `eval_NAME_top_1` and so on.
        source: list, folder, tar files or Hub id.
        root: folder that video paths start from; by default that of the list.
        classes: file of class names; by default those that belong to the source.
        format, split: see [`load_videos`].
        sampling, sampling_stride: by default those of the training.
        class_texts: "templates", the default, "contexts" or "own": what stands for the classes, as in `vita-clip
            evaluate --protocol zero-shot --set class_texts=...`.

    Raises:
        ValueError: a value makes no sense.
    """

    name: str
    source: str
    root: str | None = None
    classes: str | None = None
    format: str = "auto"
    split: str | None = None
    sampling: str | None = None
    sampling_stride: int | None = None
    class_texts: str | None = None

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[\w.-]+", self.name):
            raise ValueError(
                f"eval_zero_shot: {self.name!r} is no name of a set; expected letters, digits, '_', '-' and '.'."
            )
        if not self.source:
            raise ValueError(f"eval_zero_shot: the set {self.name!r} has no list; expected {_FORM}.")
        if self.sampling is not None:
            resolve_sampling(self.sampling)
        if self.class_texts is not None:
            self._check_class_texts()
        if self.sampling_stride is not None and self.sampling_stride < 1:
            raise ValueError(
                f"eval_zero_shot: sampling_stride of {self.name!r} is {self.sampling_stride}; expected at least 1."
            )

    def _check_class_texts(self) -> None:
        from ..evaluation.protocols.protocol import CLASS_TEXTS  # keeps `vita-clip train --help` light

        if self.class_texts not in CLASS_TEXTS:
            raise ValueError(
                f"eval_zero_shot: class_texts of {self.name!r} is {self.class_texts!r}; expected one of "
                f"{', '.join(CLASS_TEXTS)}."
            )


def parse_zero_shot_source(entry: str) -> ZeroShotSource:
    """
    `ucf101=LIST,root=FOLDER,classes=FILE`. A path with `,word=` in it must be in double quotes; other commas and any
    "=" are part of a path.

    Raises:
        ValueError: the entry does not have this form.
    """
    name, separator, rest = entry.partition("=")
    parts = _PART.findall(rest)
    if not separator or ",".join(parts) != rest:
        raise ValueError(f"eval_zero_shot has {entry!r}; expected {_FORM}. Quotes must be closed.")
    known = [field.name for field in fields(ZeroShotSource)][2:]
    settings: dict[str, str | int] = {}
    for part in parts[1:]:
        setting, _, value = part.partition("=")
        if setting not in known or setting in settings or not value:
            near = difflib.get_close_matches(setting, known, 1)
            raise ValueError(
                f"eval_zero_shot has {part!r} in {entry!r}; expected any of {', '.join(known)} once, with a value"
                + (f"; is {near[0]!r} meant?" if near and setting not in known else ".")
                + " A path that has a comma before 'word=' must be in double quotes."
            )
        settings[setting] = value.replace('"', "")
    stride = settings.get("sampling_stride")
    if stride is not None:
        if not str(stride).isdecimal():
            raise ValueError(f"eval_zero_shot: sampling_stride is {stride!r} in {entry!r}; expected a whole number.")
        settings["sampling_stride"] = int(stride)
    source = parts[0].replace('"', "") if parts else ""
    return ZeroShotSource(name.strip(), source, **settings)  # type: ignore[arg-type]


def parse_zero_shot_sources(entries: list[str]) -> list[ZeroShotSource]:
    """
    Raises:
        ValueError: an entry has another form, or two sets have one name.
    """
    sources = [parse_zero_shot_source(entry) for entry in entries]
    names = [source.name for source in sources]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise ValueError(
            f"eval_zero_shot has several sets called {', '.join(repeated)}; each needs a name of its own."
        )
    return sources
