"""The state of a data set, and the files that it is reported in."""

import csv
import io
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from ...modeling.adapter_file_vita_clip import written_whole
from ..formats.listing import LeftOut, ListedVideo

# A problem leaves a file out of the cleaned list; a warning is only reported.
PROBLEMS = ("unreadable", "sound_only", "wrong_extension", "wrong_frame", "too_short", "mislabelled")
WARNINGS = ("readable_wrong_extension", "repeated")


@dataclass(frozen=True)
class Finding:
    """
    One problem or warning.

    Args:
        kind: one of `PROBLEMS` or `WARNINGS`.
        video: the file.
        reason: in words.
        where: file and line of the annotation.
    """

    kind: str
    video: str
    reason: str
    where: str


@dataclass(frozen=True)
class StrideFit:
    """
    How many videos are long enough for a strided clip.

    Args:
        num_frames, sampling_stride: of the clip.
        num_videos: videos that can be read.
        num_shorter: those of them that have fewer frames than the clip spans.
        fitting_stride: the largest stride that 95 % of the videos are long enough for.
    """

    num_frames: int
    sampling_stride: int
    num_videos: int
    num_shorter: int
    fitting_stride: int

    @property
    def summary(self) -> str:
        """One line; empty if no video is shorter."""
        if not self.num_shorter:
            return ""
        span = (self.num_frames - 1) * self.sampling_stride + 1
        fits = f"--sampling_stride {self.fitting_stride}, for which 95 % are long enough, or "
        return (
            f"{self.num_shorter} of {self.num_videos} videos ({self.num_shorter / self.num_videos:.1%}) have fewer "
            f"than {span} frames, and {self.num_frames} frames at a stride of {self.sampling_stride} need as many. "
            f"Their last frame repeats; train with {fits if self.fitting_stride > 1 else ''}--sampling uniform"
        )


@dataclass(frozen=True)
class DataReport:
    """
    The state of a data set.

    Args:
        source: the annotation.
        num_listed: videos that it names.
        findings: in its order.
        usable: videos without a problem, each once.
        class_names: in the order of their ids.
        left_out: files of the data set's folder that are none of its videos.
        stride_fit: how many videos are long enough for a strided clip; none without one.
    """

    source: str
    num_listed: int
    findings: list[Finding]
    usable: list[ListedVideo]
    class_names: list[str]
    left_out: tuple[LeftOut, ...] = ()
    stride_fit: StrideFit | None = None

    def of_kind(self, kind: str) -> list[Finding]:
        """The findings of one kind."""
        return [finding for finding in self.findings if finding.kind == kind]

    @property
    def summary(self) -> str:
        """One line."""
        counts = {kind.replace("_", " "): len(self.of_kind(kind)) for kind in (*PROBLEMS, *WARNINGS)}
        found = ", ".join(f"{count} {kind}" for kind, count in counts.items() if count)
        summary = f"{len(self.usable)} of {self.num_listed} videos are usable" + (f": {found}" if found else "")
        return summary + (f"; other files in the folder: {len(self.left_out)}" if self.left_out else "")

    def save(self, folder: str | os.PathLike) -> Path:
        """
        Writes `report.json`, `report.txt`, `cleaned.classes.txt` and `cleaned.csv`, each whole or not at all.

        Returns:
            The path of the cleaned list: `path,label` with absolute paths.
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        _write(folder / "report.json", json.dumps(self._as_json(), indent=1, ensure_ascii=False) + "\n")
        _write(folder / "report.txt", self._as_text())
        _write(folder / "cleaned.classes.txt", "".join(f"{name}\n" for name in self.class_names))
        _write(folder / "cleaned.csv", self._as_list())
        return folder / "cleaned.csv"

    def _as_json(self) -> dict:
        findings = {kind: [asdict(finding) for finding in self.of_kind(kind)] for kind in (*PROBLEMS, *WARNINGS)}
        counts = {"num_listed": self.num_listed, "num_usable": len(self.usable)}
        left_out = [{"path": entry.printable_path, "reason": entry.reason} for entry in self.left_out]
        stride_fit = asdict(self.stride_fit) if self.stride_fit else None
        return {
            "source": self.source,
            **counts,
            "findings": findings,
            "left_out": left_out,
            "stride_fit": stride_fit,
        }

    def _as_text(self) -> str:
        lines = [f"{self.source}: {self.summary}", ""]
        for kind in (*PROBLEMS, *WARNINGS):
            found = self.of_kind(kind)
            if found:
                title = "left out of the cleaned list" if kind in PROBLEMS else "only to know"
                lines += [f"{kind.replace('_', ' ')} ({len(found)}, {title})"]
                lines += [f"  {finding.video}: {finding.reason}  [{finding.where}]" for finding in found] + [""]
        if self.left_out:
            lines += [f"left out ({len(self.left_out)}, files of the folder that are none of its videos)"]
            lines += [f"  {entry.printable_path}: {entry.reason}" for entry in self.left_out] + [""]
        if self.stride_fit and self.stride_fit.summary:
            lines += [f"{self.stride_fit.summary}.", ""]
        return "\n".join(lines)

    def _as_list(self) -> str:
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        for video in self.usable:
            span = [f"{second:g}" for second in video.span] if video.span else []
            writer.writerow([os.path.abspath(video.path), video.label, *span])
        return text.getvalue()


def _write(path: Path, text: str) -> None:
    with written_whole(path) as unfinished:
        unfinished.write_text(text, encoding="utf-8")
