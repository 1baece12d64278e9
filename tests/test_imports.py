"""What importing the package costs, and that any order of imports works. Each case runs in a fresh process."""

import json
import os
import pkgutil
import subprocess
import sys

import pytest
import vita_clip_hf.modeling

import vita_clip_hf

TIMEOUT = 600  # seconds, for a process that hangs; a busy machine may be very slow
HEAVY = ("torchao", "datasets", "evaluate", "accelerate", "decord", "peft", "matplotlib", "sklearn")
REPORT = "; import json, sys; print(json.dumps([name for name in sys.argv[1:] if name in sys.modules]))"
# The Auto classes and pipeline() before the package, after it, and between its parts.
ORDERS = (
    "import vita_clip_hf; import transformers.pipelines",
    "import transformers.pipelines; import vita_clip_hf",
    "import vita_clip_hf; from transformers import CLIPModel",  # imports AutoModel half-way
    "import vita_clip_hf; from transformers import AutoConfig, AutoModel, AutoProcessor",
    "import vita_clip_hf.modeling.pipeline_vita_clip",
    "from vita_clip_hf import VitaClipProcessor; from transformers import Trainer",
    "from vita_clip_hf.hub.cards import CardDetails",  # as `vita-clip publish` does
    "from vita_clip_hf.hub import publish_folder",
)
KNOWN = """
from transformers import AutoConfig, MODEL_MAPPING, PROCESSOR_MAPPING, VIDEO_PROCESSOR_MAPPING
from transformers.models.auto.modeling_auto import MODEL_FOR_VIDEO_CLASSIFICATION_MAPPING
from transformers.models.auto.modeling_auto import MODEL_FOR_ZERO_SHOT_IMAGE_CLASSIFICATION_MAPPING
from transformers.pipelines import PIPELINE_REGISTRY
import vita_clip_hf as package
for name, method in (("vita_clip", "VitaClip"), ("efficient_prompt", "EfficientPrompt")):
    config, model = getattr(package, f"{method}Config"), getattr(package, f"{method}Model")
    classifier = getattr(package, f"{method}ForVideoClassification")
    assert type(AutoConfig.for_model(name)) is config
    assert MODEL_MAPPING[config] is model
    assert MODEL_FOR_VIDEO_CLASSIFICATION_MAPPING[config] is classifier
    assert MODEL_FOR_ZERO_SHOT_IMAGE_CLASSIFICATION_MAPPING[config] is model
    assert PROCESSOR_MAPPING[config] is package.VitaClipProcessor
    known = VIDEO_PROCESSOR_MAPPING[config]  # a class, or in newer versions one by the name of each backend
    assert package.VitaClipVideoProcessor in (known.values() if isinstance(known, dict) else (known,))
task = PIPELINE_REGISTRY.check_task("zero-shot-video-classification")[1]
assert task["impl"] is package.ZeroShotVideoClassificationPipeline
from vita_clip_hf.hub.upload import push_to_hub, upload_processor
assert package.VitaClipModel.push_to_hub is push_to_hub
assert package.VitaClipProcessor.push_to_hub is upload_processor
"""
# Runs each piece of code in a copy of a process that has loaded what is slow and not ours.
COPIES = """
import importlib, json, os, sys, traceback
import torch, torchvision, accelerate, datasets
importlib.import_module(sys.argv[1])
failed = []
for code in sys.argv[2:]:
    copy = os.fork()
    if copy == 0:
        result = 1
        try:
            exec(code, {})
            result = 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(result)
    if os.waitpid(copy, 0)[1] != 0:
        failed.append(code.splitlines()[0])
print(json.dumps(failed))
"""
needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="copies of a process need fork")


def run(code: str, *arguments: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, check=False)


def check_in_copies(*codes: str, preload: str = "torch") -> str:
    """
    Fails if one of the pieces of code does; returns what they wrote to stderr.

    `preload` may be transformers.modeling_utils, which is slow too and loads no module that ours are registered with.
    """
    finished = run(COPIES, preload, *codes)
    assert finished.returncode == 0, finished.stderr[-3000:]
    assert json.loads(finished.stdout.splitlines()[-1]) == [], finished.stderr[-3000:]
    return finished.stderr


def test_importing_the_package_loads_nothing_heavy_and_says_nothing():
    finished = run("import vita_clip_hf" + REPORT, *HEAVY, "torch", "transformers")
    assert finished.stderr == ""
    assert json.loads(finished.stdout) == []


def test_the_command_lines_help_loads_neither_torch_nor_transformers():
    code = "import vita_clip_hf.cli; vita_clip_hf.cli.build_parser().format_help()"
    finished = run(code + REPORT, *HEAVY, "torch", "transformers")
    assert finished.stderr == ""
    assert json.loads(finished.stdout) == []


def test_public_names_load_no_codec_and_no_data_sets():
    """torchao and accelerate come with transformers' models, and in older versions sklearn."""
    names = ", ".join(vita_clip_hf.__all__)
    finished = run(f"from vita_clip_hf import {names}" + REPORT, *set(HEAVY) - {"torchao", "accelerate", "sklearn"})
    assert json.loads(finished.stdout) == []


@needs_fork
@pytest.mark.parametrize("name", ["VitaClipModel", "VitaClipProcessor"])
def test_a_class_that_is_imported_alone_publishes(name):
    module = f"from vita_clip_hf import {name}\nassert {name}.push_to_hub.__module__ == 'vita_clip_hf.hub.upload'"
    check_in_copies(module, preload="transformers.modeling_utils")


@needs_fork
def test_auto_classes_and_pipelines_know_the_package_in_any_order():
    assert "already registered" not in check_in_copies(*(first + KNOWN for first in ORDERS))


@needs_fork
def test_any_room_can_be_imported_first():
    packages = {"vita_clip_hf": vita_clip_hf.__path__, "vita_clip_hf.modeling": vita_clip_hf.modeling.__path__}
    modules = [
        f"{package}.{module.name}" for package, path in packages.items() for module in pkgutil.iter_modules(path)
    ]
    others = f"import {', '.join(modules)}"
    check_in_copies(*(f"import {first}\n{others}" for first in modules), preload="transformers.modeling_utils")


def test_public_names_are_listed_before_they_are_loaded():
    code = f"import vita_clip_hf; assert set({vita_clip_hf.__all__!r}) <= set(dir(vita_clip_hf))"
    assert run(code).returncode == 0
    with pytest.raises(AttributeError, match="module 'vita_clip_hf' has no attribute 'VitaKlip'"):
        _ = vita_clip_hf.VitaKlip
