"""A saved folder runs by its own files where this package is not installed, and beside the package where it is."""

import json
import shutil
import subprocess
import sys

import pytest
import torch
from hub_server import Hub
from tolerance import assert_computed_equal, assert_stored_equal
from toy_checkpoint import run_without_package, save_toy_checkpoint, toy_adapter_on, toy_processor
from toy_vita_clip import save_toy_clip, toy_clips
from transformers import AutoConfig, AutoModel, AutoProcessor

from vita_clip_hf import VitaClipConfig, VitaClipModel, VitaClipProcessor

pytest_plugins = ["hub_server"]

LOGITS_OF = """
import json, torch
def logits_of(model):
    clips = torch.randn(2, 4, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        outputs = model.eval()(clips)
    return (outputs["logits"] if "logits" in outputs else outputs["logits_per_video"]).tolist()
def report(**values):
    print("RESULT " + json.dumps(values))
"""


def result_of(printed: str) -> dict:
    [line] = [line for line in printed.splitlines() if line.startswith("RESULT ")]
    return json.loads(line.removeprefix("RESULT "))


@pytest.fixture(scope="module")
def adapter(tmp_path_factory):
    return save_toy_checkpoint(tmp_path_factory.mktemp("checkpoint"))


@pytest.fixture(scope="module")
def expected(adapter) -> list:
    return logits_of(VitaClipModel.from_pretrained(adapter)).tolist()


@torch.no_grad()
def logits_of(model) -> torch.Tensor:
    return model.eval()(toy_clips()).logits_per_video


def test_an_adapter_and_a_full_checkpoint_run_without_the_package(adapter, expected, tmp_path):
    """Loaded by every Auto class, offline; what is saved there loads there and here."""
    VitaClipModel.from_pretrained(adapter).save_pretrained(tmp_path / "full", adapter_only=False)
    toy_adapter_on(adapter.parent / "base", ["x", "y"], seed=4, text_prompt_scope="unified").save_pretrained(
        tmp_path / "second"
    )
    code = """
import sys
from transformers import AutoConfig, AutoModel, AutoModelForVideoClassification, AutoProcessor
from transformers import AutoModelForZeroShotImageClassification
adapter, full, second, saved = sys.argv[1:]
remote = {"trust_remote_code": True}
try:
    import vita_clip_hf
    raise SystemExit("the package is there")
except ImportError:
    pass
try:
    AutoModel.from_pretrained(adapter, trust_remote_code=False)
    raise SystemExit("code was run that was not trusted")
except ValueError as error:
    refusal = str(error)
config = AutoConfig.from_pretrained(adapter, **remote)
model = AutoModel.from_pretrained(adapter, **remote)
classifier = AutoModelForVideoClassification.from_pretrained(full, **remote)
for folder in (adapter, full):
    assert type(AutoModelForZeroShotImageClassification.from_pretrained(folder, **remote)).__name__ == "VitaClipModel"
processor = AutoProcessor.from_pretrained(adapter, **remote)
first = logits_of(model)
model.load_adapter(second, "second")
labels = model.config.label_names
model.set_adapter("default")
model.save_pretrained(saved)
processor.save_pretrained(saved)
again = AutoModel.from_pretrained(saved, **remote)
AutoProcessor.from_pretrained(saved, **remote)
report(
    names=[type(x).__name__ for x in (config, model, classifier, processor)],
    modules=[type(x).__module__.split(".")[0] for x in (config, model, classifier, processor)],
    logits=[first, logits_of(classifier), logits_of(model), logits_of(again)],
    labels=labels,
    refusal=refusal,
)
"""
    paths = adapter, tmp_path / "full", tmp_path / "second", tmp_path / "saved_there"
    result = result_of(run_without_package(LOGITS_OF + code, *paths, home=tmp_path / "home"))
    classes = ["VitaClipConfig", "VitaClipModel", "VitaClipForVideoClassification", "VitaClipProcessor"]
    assert result["names"] == classes
    assert "trust_remote_code=True" in result["refusal"]
    assert set(result["modules"]) == {"transformers_modules"}
    assert_computed_equal(result["logits"], [expected] * 4)
    assert result["labels"] == ["x", "y"]
    saved_there = VitaClipModel.from_pretrained(tmp_path / "saved_there")
    assert_stored_equal(saved_there.state_dict(), VitaClipModel.from_pretrained(adapter).state_dict())
    assert_computed_equal(logits_of(saved_there), expected)
    assert {path.name for path in (tmp_path / "saved_there").glob("*.py")} <= {p.name for p in adapter.glob("*.py")}


def test_without_the_package_a_base_inside_it_is_an_error_that_says_so(adapter, tmp_path):
    shutil.copytree(adapter, tmp_path / "adapter")
    config = json.loads((tmp_path / "adapter" / "config.json").read_text())
    config["base_model_name_or_path"] = "package://vita_clip_hf/demo/tiny_clip"
    (tmp_path / "adapter" / "config.json").write_text(json.dumps(config))
    code = """
import sys
from transformers import AutoModel
try:
    AutoModel.from_pretrained(sys.argv[1], trust_remote_code=True)
except OSError as error:
    report(error=str(error))
"""
    result = result_of(run_without_package(LOGITS_OF + code, tmp_path / "adapter", home=tmp_path / "home"))
    assert "part of the Python package 'vita_clip_hf', which is not installed" in result["error"]


def test_where_the_package_is_installed_its_own_classes_are_used(adapter):
    """Also with trust_remote_code: nothing is executed from the folder."""
    for remote in (True, False, None):
        assert type(AutoConfig.from_pretrained(adapter, trust_remote_code=remote)) is VitaClipConfig
        assert type(AutoModel.from_pretrained(adapter, trust_remote_code=remote)) is VitaClipModel
        assert type(AutoProcessor.from_pretrained(adapter, trust_remote_code=remote)) is VitaClipProcessor


def test_the_package_may_be_imported_after_code_that_came_with_a_checkpoint(adapter, expected, tmp_path):
    code = """
import sys
from transformers import AutoModel
there = AutoModel.from_pretrained(sys.argv[1], trust_remote_code=True)
del sys.modules["vita_clip_hf"]
import vita_clip_hf
here = AutoModel.from_pretrained(sys.argv[1])
assert type(here) is vita_clip_hf.VitaClipModel is not type(there), type(here)
report(logits=[logits_of(there), logits_of(here)])
"""
    result = result_of(run_without_package(LOGITS_OF + code, adapter, home=tmp_path / "home"))
    assert_computed_equal(result["logits"], [expected] * 2)


def test_the_model_files_import_nothing_but_what_a_checkpoint_needs(adapter):
    """Loading the classes pulls in neither the data, training nor plotting side of the ecosystem."""
    code = "import sys, vita_clip_hf; print([m for m in ('datasets', 'matplotlib', 'peft') if m in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


# ---- from the Hub ----


def test_an_adapter_of_a_base_on_the_hub_names_the_commit_it_was_trained_on(hub: Hub, tmp_path):
    """The base moves on; the adapter still gets its own, also offline, and by the id of its repository."""
    api = hub.api()
    for repo in ("user/clip", "user/adapter"):
        api.create_repo(repo)
    save_toy_clip(tmp_path / "clip")
    commit = api.upload_folder(repo_id="user/clip", folder_path=tmp_path / "clip").oid
    train = """
import sys
from vita_clip_hf import VitaClipModel
model = VitaClipModel.from_pretrained("user/clip", id2label={0: "ride_bike", 1: "tai chi", 2: "swim"}, num_frames=4)
model.save_pretrained(sys.argv[1])
report(logits=logits_of(model), base=model.config.base_model_name_or_path, revision=model.config.base_model_revision)
"""
    trained = result_of(hub.run_client(LOGITS_OF + train, str(tmp_path / "adapter")).stdout)
    assert (trained["base"], trained["revision"]) == ("user/clip", commit)
    toy_processor().save_pretrained(tmp_path / "adapter")
    api.upload_folder(repo_id="user/adapter", folder_path=tmp_path / "adapter")

    save_toy_clip(tmp_path / "newer", seed=5)
    api.upload_folder(repo_id="user/clip", folder_path=tmp_path / "newer")
    load = """
from transformers import AutoModel
import vita_clip_hf
model = AutoModel.from_pretrained("user/adapter")
cached = AutoModel.from_pretrained("user/adapter", local_files_only=True)
cached.load_adapter("user/adapter", "same", local_files_only=True)
report(logits=[logits_of(model), logits_of(cached)], revision=model.config.base_model_revision)
"""
    loaded = result_of(hub.run_client(LOGITS_OF + load).stdout)
    assert_computed_equal(loaded["logits"], [trained["logits"]] * 2)
    assert loaded["revision"] == commit
