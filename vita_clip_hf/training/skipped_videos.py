"""Videos that training could not read: counted, named in a report, and reason enough to stop if there are many."""

import json
import logging
from collections.abc import Iterable
from pathlib import Path

from ..modeling.adapter_file_vita_clip import written_whole

logger = logging.getLogger(__name__)

REPORT = "skipped_videos.json"


class SkippedVideos:
    """
    The videos that one process had to replace. Each is written down as it is met, so that a killed run has a list too.

    Args:
        folder: of the run.
        rank, world_size: which of how many processes this is.
        num_videos: of the data set; `None` if it is not known, as of a stream.
        max_share: the share of bad files that is allowed, from 0 to 1. A process judges by its own part of the files.
    """

    def __init__(self, folder: str | Path, rank: int, world_size: int, num_videos: int | None, max_share: float):
        self._folder, self._rank, self._path = Path(folder), rank, Path(folder) / f".skipped_videos-{rank}.jsonl"
        self._num_videos, self._max_share = num_videos, max_share
        self._part = None if num_videos is None else num_videos / world_size
        self._seen, self._since_start = 0, 0
        self.reasons: dict[str, str] = {}

    def start(self, resumed: bool) -> None:
        """Begins a run. A resumed run counts the videos of the earlier one too."""
        self.reasons = read_skipped(self._path) if resumed else {}
        self._seen = self._since_start = 0
        if not resumed and self._rank == 0:  # an earlier run may have had more processes
            for path in self._folder.glob(".skipped_videos-*.jsonl"):
                path.unlink(missing_ok=True)

    def add(self, skipped: Iterable[tuple[str, str]], batch_size: int) -> None:
        """
        Notes the videos that were replaced in a batch.

        Raises:
            ValueError: too large a share of the videos is bad.
        """
        self._seen += batch_size
        for video, reason in skipped:
            if video in self.reasons:
                continue
            self.reasons[video] = reason
            self._since_start += 1
            logger.warning(f"{video} is skipped: {reason}")
            self._folder.mkdir(parents=True, exist_ok=True)
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"video": video, "reason": reason}) + "\n")
        # The length of a stream is not known: the clips since the start stand for it, and no fewer than 1,000.
        bad = self._since_start if self._part is None else len(self.reasons)
        of = max(self._seen, 1000) if self._part is None else self._part
        if bad > self._max_share * of:
            examples = "; ".join(f"{video}: {reason}" for video, reason in list(self.reasons.items())[:3])
            raise ValueError(
                f"{bad} videos of {of:.0f} could not be read, more than the share of {self._max_share:.1%} "
                f"that max_bad_videos allows. {examples}. All are in {self._path}; `vita-clip data check` writes a "
                "list without them."
            )


def read_skipped(path: Path) -> dict[str, str]:
    """Reasons by video from one process's file; a line that a kill cut short is left out."""
    reasons = {}
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else []:
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        reasons[entry["video"]] = entry["reason"]
    return reasons


def write_report(folder: str | Path) -> Path | None:
    """Merges the lists of all processes into one report. Returns its path, or `None` if nothing was skipped."""
    folder = Path(folder)
    reasons: dict[str, str] = {}
    for path in sorted(folder.glob(".skipped_videos-*.jsonl")):
        reasons |= read_skipped(path)
    if not reasons:
        return None
    report = folder / REPORT
    entries = [{"video": video, "reason": reason} for video, reason in sorted(reasons.items())]
    with written_whole(report) as path:
        path.write_text(json.dumps(entries, indent=1) + "\n", encoding="utf-8")
    logger.warning(f"{len(entries)} videos could not be read and were replaced by others; they are in {report}.")
    return report
