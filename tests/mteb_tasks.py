"""Tasks of mteb over videos on this disk: zero-shot classification, classification and retrieval."""

import csv
from pathlib import Path
from typing import Any

from datasets import ClassLabel, Dataset, DatasetDict, Features, Value, Video
from mteb import TaskMetadata
from mteb.abstasks.classification import AbsTaskClassification
from mteb.abstasks.retrieval import AbsTaskRetrieval
from mteb.abstasks.retrieval_dataset_loaders import RetrievalSplitData
from mteb.abstasks.zeroshot_classification import AbsTaskZeroShotClassification


def metadata_of(name: str, **facts: Any) -> TaskMetadata:
    unknown = ("date", "domains", "task_subtypes", "license", "annotations_creators", "dialect", "sample_creation")
    return TaskMetadata(
        name=name,
        description="Motion Shapes, small",
        reference=None,
        dataset={"path": "local/motion-shapes", "revision": "1"},
        eval_splits=["test"],
        eval_langs=["eng-Latn"],
        bibtex_citation=None,
        **dict.fromkeys(unknown),
        **facts,
    )


def read_list(path: Path) -> tuple[list[Path], list[int]]:
    """Videos and labels of a list that `write_split` wrote."""
    with path.open() as file:
        rows = list(csv.reader(file))
    return [path.parent / video for video, _ in rows], [int(label) for _, label in rows]


def videos_of(path: Path, names: list[str], kind: str) -> Dataset:
    """As mteb's own data sets have videos: the file's bytes and its name, decoded when a row is read; or as `kind`."""
    videos, labels = read_list(path)
    features = Features({"video": Video(decode=kind != "not decoded"), "label": ClassLabel(names=names)})
    if kind == "path":
        features["video"] = Value("string")
        return Dataset.from_dict({"video": list(map(str, videos)), "label": labels}, features)
    content = [{"bytes": video.read_bytes(), "path": video.name} for video in videos]
    return Dataset.from_dict({"video": content, "label": labels}, features)


class MotionShapesZeroShot(AbsTaskZeroShotClassification):
    metadata = metadata_of(
        "MotionShapesZeroShot",
        type="VideoZeroshotClassification",
        category="v2t",
        main_score="accuracy",
        modalities=["video", "text"],
    )
    input_column_name = "video"

    def __init__(self, test: Path, names: list[str], kind: str = "decoded"):
        super().__init__()
        self.test, self.names, self.kind = test, names, kind

    def load_data(self, **kwargs: Any) -> None:
        self.dataset = DatasetDict({"test": videos_of(self.test, self.names, self.kind)})
        self.data_loaded = True

    def get_candidate_labels(self) -> list[str]:
        return [f"a video of a shape {name}" for name in self.names]


class MotionShapesClassification(AbsTaskClassification):
    """All training videos are used in a single experiment, so that nothing is drawn."""

    metadata = metadata_of(
        "MotionShapesClassification",
        type="VideoClassification",
        category="v2c",
        main_score="accuracy",
        modalities=["video"],
    )
    input_column_name = "video"
    samples_per_label = 100
    n_experiments = 1

    def __init__(self, train: Path, test: Path, names: list[str]):
        super().__init__()
        self.train, self.test, self.names = train, test, names

    def load_data(self, **kwargs: Any) -> None:
        splits = {"train": self.train, "test": self.test}
        self.dataset = DatasetDict({name: videos_of(path, self.names, "decoded") for name, path in splits.items()})
        self.data_loaded = True


class MotionShapesRetrieval(AbsTaskRetrieval):
    """Texts find videos; several videos may fit one text."""

    metadata = metadata_of(
        "MotionShapesRetrieval",
        type="Any2AnyRetrieval",
        category="t2v",
        main_score="recall_at_1",
        modalities=["text", "video"],
    )

    def __init__(self, test: Path, names: list[str], texts: list[str]):
        super().__init__()
        self.test, self.names, self.texts = test, names, texts

    def load_data(self, **kwargs: Any) -> None:
        videos = videos_of(self.test, self.names, "decoded")
        corpus = videos.remove_columns("label").add_column("id", [f"d{row}" for row in range(len(videos))])
        queries = Dataset.from_dict({"id": [f"q{row}" for row in range(len(self.texts))], "text": self.texts})
        relevant = {
            f"q{row}": {f"d{place}": 1 for place, label in enumerate(videos["label"]) if label == row}
            for row in range(len(self.texts))
        }
        split = RetrievalSplitData(queries=queries, corpus=corpus, relevant_docs=relevant, top_ranked=None)
        self.dataset = {"default": {"test": split}}
        self.data_loaded = True
