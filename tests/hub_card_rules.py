"""The Hub's rules for the metadata block of a card, as far as this project's cards use them.

Written from the documented schema. It is stricter than the Hub in one thing: an unknown `pipeline_tag` is an
error here (the Hub only warns), so that a typing mistake in a template fails a test.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import yaml
from hub_repositories import front_matter


def words(text: str) -> frozenset[str]:
    return frozenset(text.split())


REPO_ID = re.compile(r"(?:[\w-][\w.-]*/)?[\w-][\w.-]{0,95}")
LANGUAGE = re.compile(r"[a-z]{2,3}(?:-[A-Za-z]{2,4})?|code|multilingual")
LICENSES = words(
    "afl-3.0 agpl-3.0 apache-2.0 artistic-2.0 bigscience-openrail-m bsd bsd-2-clause bsd-3-clause bsl-1.0 "
    "cc cc-by-2.0 cc-by-3.0 cc-by-4.0 cc-by-nc-4.0 cc-by-nc-nd-4.0 cc-by-nc-sa-4.0 cc-by-sa-3.0 cc-by-sa-4.0 cc0-1.0 "
    "creativeml-openrail-m gemma gpl gpl-2.0 gpl-3.0 isc lgpl-2.1 lgpl-3.0 llama2 llama3 mit mpl-2.0 ms-pl openrail "
    "openrail++ osl-3.0 other unknown unlicense wtfpl zlib"
)
PIPELINE_TAGS = words(
    "any-to-any audio-classification audio-to-audio automatic-speech-recognition depth-estimation "
    "document-question-answering feature-extraction fill-mask graph-ml image-classification image-feature-extraction "
    "image-segmentation image-text-to-text image-to-3d image-to-image image-to-text image-to-video "
    "keypoint-detection mask-generation object-detection other question-answering reinforcement-learning robotics "
    "sentence-similarity summarization table-question-answering tabular-classification tabular-regression "
    "text-classification text-generation text-ranking text-to-3d text-to-audio text-to-image text-to-speech "
    "text-to-video time-series-forecasting token-classification translation unconditional-image-generation "
    "video-classification video-text-to-text video-to-video visual-document-retrieval visual-question-answering "
    "voice-activity-detection zero-shot-classification zero-shot-image-classification "
    "zero-shot-object-detection"
)
BASE_MODEL_RELATIONS = frozenset({"adapter", "finetune", "merge", "quantized"})
SPACE_SDKS = frozenset({"docker", "gradio", "static"})
SPACE_COLORS = frozenset({"blue", "gray", "green", "indigo", "pink", "purple", "red", "yellow"})


@dataclass
class CardReport:
    """What is wrong with a card; the Hub refuses it when `errors` is not empty."""

    errors: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def check_card(card: str, repo_type: str) -> CardReport:
    """
    Check the whole text of a README.md.

    Args:
        repo_type: "model", "dataset", "space", or "metric": a module for `evaluate`, which is a Space on the Hub, and
            here a folder of the package that needs no SDK.
    """
    block = front_matter(card)
    if block is None:
        return CardReport(warnings=["empty or missing yaml metadata in repo card"])
    try:
        metadata = yaml.safe_load(block)
    except yaml.YAMLError as error:
        return CardReport(errors=[f"bad yaml: {error}"])
    if not isinstance(metadata, dict):
        return CardReport(errors=["the metadata of a card must be an object"])
    rules = RULES[repo_type]
    broken = (
        f'"{key}" {rule(metadata[key])}' for key, rule in rules.items() if key in metadata and rule(metadata[key])
    )
    errors = list(broken)
    errors += [f'"{key}" is required' for key in REQUIRED.get(repo_type, ()) if key not in metadata]
    return CardReport(errors=errors)


Rule = Callable[[Any], "str | None"]  # a value to what is wrong with it, or None


def text(value: Any) -> str | None:
    return None if isinstance(value, str) and value else "must be a string"


def flag(value: Any) -> str | None:
    return None if isinstance(value, bool) else "must be a boolean"


def one_of(allowed: frozenset[str]) -> Rule:
    def rule(value: Any) -> str | None:
        return None if isinstance(value, str) and value in allowed else f"must be one of {sorted(allowed)}"

    return rule


def shaped(pattern: re.Pattern[str], meaning: str) -> Rule:
    def rule(value: Any) -> str | None:
        return None if isinstance(value, str) and pattern.fullmatch(value) else f"must be {meaning}, not {value!r}"

    return rule


def list_of(rule: Rule) -> Rule:
    """A list whose entries keep the rule."""

    def rule_of_list(value: Any) -> str | None:
        if not isinstance(value, list):
            return "must be an array"
        return next((problem for entry in value if (problem := rule(entry))), None)

    return rule_of_list


def one_or_more(rule: Rule) -> Rule:
    """A value that keeps the rule, or a list of such."""
    return lambda value: list_of(rule)(value) if isinstance(value, list) else rule(value)


def model_index(value: Any) -> str | None:
    """Evaluation results: [{name, results: [{task: {type}, dataset: {name, type}, metrics: [{type, value}]}]}]."""
    if not isinstance(value, list):
        return "must be an array"
    for entry in value:
        if not isinstance(entry, dict) or text(entry.get("name")) or not isinstance(entry.get("results"), list):
            return "entries must have a name and results"
        problem = next((problem for result in entry["results"] if (problem := _result_problem(result))), None)
        if problem:
            return problem
    return None


def _result_problem(result: Any) -> str | None:
    parts = {"task": ("type",), "dataset": ("name", "type")}
    for part, keys in parts.items():
        if not isinstance(result.get(part), dict) or any(text(result[part].get(key)) for key in keys):
            return f"results must have a {part} with {' and '.join(keys)}"
    metrics = result.get("metrics")
    complete = isinstance(metrics, list) and all("type" in metric and "value" in metric for metric in metrics)
    return None if metrics and complete else "results must have metrics with type and value"


def widget(value: Any) -> str | None:
    """Samples: [{src or text, example_title, output: [{label, score}]}]; a `src` is a URL or in the repository."""
    if not isinstance(value, list):
        return "must be an array"
    for sample in value:
        if not isinstance(sample, dict) or text(sample.get("src", sample.get("text"))):
            return "samples must have a src or a text"
        if str(sample.get("src", "")).startswith(("/", ".", "file:")):
            return "a src must be a URL or a file of the repository"
        output = sample.get("output", [])
        if not isinstance(output, list) or any(set(entry) != {"label", "score"} for entry in output):
            return "an output must have entries with label and score"
    return None


repo_ids = one_or_more(shaped(REPO_ID, "a repository's id"))

MODEL_RULES: dict[str, Rule] = {
    "license": one_or_more(one_of(LICENSES)),
    "license_name": text,
    "license_link": text,
    "pipeline_tag": one_of(PIPELINE_TAGS),
    "library_name": text,
    "base_model": repo_ids,
    "base_model_relation": one_of(BASE_MODEL_RELATIONS),
    "datasets": repo_ids,
    "tags": list_of(text),
    "metrics": one_or_more(text),
    "language": one_or_more(shaped(LANGUAGE, "a language code")),
    "thumbnail": text,
    "inference": lambda value: None if isinstance(value, bool | dict) else "must be a boolean or an object",
    "model-index": model_index,
    "widget": widget,
}

SPACE_RULES: dict[str, Rule] = {
    "title": text,
    "emoji": lambda value: text(value) or ("must be one emoji" if len(value) > 8 or value.isascii() else None),
    "colorFrom": one_of(SPACE_COLORS),
    "colorTo": one_of(SPACE_COLORS),
    "sdk": one_of(SPACE_SDKS),
    "sdk_version": shaped(re.compile(r"\d+\.\d+(?:\.\w+)*"), "a version in quotes"),
    "python_version": lambda value: None if re.fullmatch(r"3\.\d+(\.\d+)?", str(value)) else "must be a version",
    "app_file": text,
    "app_port": lambda value: None if isinstance(value, int) else "must be a number",
    "pinned": flag,
    "short_description": lambda value: text(value) or ("must be 60 characters at most" if len(value) > 60 else None),
    "license": one_or_more(one_of(LICENSES)),
    "models": list_of(shaped(REPO_ID, "a repository's id")),
    "datasets": list_of(shaped(REPO_ID, "a repository's id")),
    "tags": list_of(text),
    "suggested_hardware": text,
}

SIZE_CATEGORIES = frozenset({"n<1K", "1K<n<10K", "10K<n<100K", "100K<n<1M", "1M<n<10M"})
ANNOTATIONS_CREATORS = words("crowdsourced expert-generated found machine-generated no-annotation other")

DATASET_RULES: dict[str, Rule] = {
    "license": one_or_more(one_of(LICENSES)),
    "language": one_or_more(shaped(LANGUAGE, "a language code")),
    "pretty_name": text,
    "task_categories": list_of(one_of(PIPELINE_TAGS)),
    "size_categories": list_of(one_of(SIZE_CATEGORIES)),
    "annotations_creators": list_of(one_of(ANNOTATIONS_CREATORS)),
    "tags": list_of(text),
    "viewer": flag,
}


def module_tags(value: Any) -> str | None:
    """A module's tags say that it is for `evaluate`, and of which of its three kinds."""
    problem = list_of(text)(value)
    if problem is None and ("evaluate" not in value or len({"metric", "comparison", "measurement"} & set(value)) != 1):
        return 'must hold "evaluate" and one of "metric", "comparison" and "measurement"'
    return problem


RULES = {
    "model": MODEL_RULES,
    "dataset": DATASET_RULES,
    "space": SPACE_RULES,
    "metric": {**SPACE_RULES, "tags": module_tags},
}
REQUIRED = {"space": ("sdk",), "dataset": ("license", "pretty_name"), "metric": ("title", "tags")}
