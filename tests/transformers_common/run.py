"""
`make test-transformers`: transformers' own common tests on Vita-CLIP, and on CLIP beside it.

Fetches the source distribution of the installed transformers from the package index, which holds the common tests but
not those of single models, unpacks them below `build/`, runs `models.py` and `processors.py`, and compares. A test
that fails for Vita-CLIP and passes for its counterpart is an error, unless it stands in `EXPLAINED`, the same table as
in docs/models.md.
"""

import os
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from xml.etree import ElementTree

from transformers import __version__

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parents[1]
PACKAGE = "transformers_tests"
# Modules that the common tests import and that the distribution does not hold: what they add is not run.
STAND_INS = {
    "exporters/test_export.py": "class ExportTesterMixin:\n    pass\n",
    "generation/test_utils.py": "class GenerationTesterMixin:\n    pass\n",
    "utils/test_configuration_utils.py": "config_common_kwargs = {'output_attentions': True, 'return_dict': False}\n",
    "../fetch_hub_objects_for_ci.py": "def url_to_local_path(url, *settings):\n    return url\n",
}
# Test classes, each with its counterpart.
COUNTERPARTS = {
    "VitaClipModelTest": "CLIPModelTest",
    "VitaClipForVideoClassificationTest": "CLIPModelTest",
    "VitaClipVisionModelTest": "CLIPVisionModelTest",
    "VitaClipTextModelTest": "CLIPTextModelTest",
    "VitaClipConfigTest": "CLIPConfigTest",
    "VitaClipProcessorTest": "CLIPProcessorTest",
    "VitaClipVideoProcessorTest": "VJEPA2VideoProcessorTest",
}
# Failures that the counterpart does not share: a pattern of `Class.test`, and why.
EXPLAINED = {
    r"VitaClip(Model|ForVideoClassification)Test\.test_get_text_features_output_.": "the last text layer computes the "
    "token that is read, and no other: last_hidden_state is (C, 1, D)",
    r"VitaClip(Model|ForVideoClassification)Test\.test_get_video_features_output_.": "frames are the batch of the "
    "vision tower: last_hidden_state is (B * T, 1, D); pooler_output and video_embeds are (B, D')",
    r"VitaClip(Model|ForVideoClassification)Test\.test_model_weights_reload_no_missing_tied_weights": "a file without "
    "any weight of the model is refused; the test expects a model with random ones",
    r"VitaClipTextModelTest\.test_(attention_outputs|hidden_states_output)": "positions that no text of the batch "
    "reaches are left out: states are as long as the longest text",
    r"VitaClipProcessorTest\.test_processor_from_and_save_pretrained.*": "saving writes auto_map, so that the folder "
    "runs by trust_remote_code, and to_dict() of the saved processor has it",
    r"VitaClipVideoProcessorTest\.test_call_sample_frames": "a video with fewer frames than asked for repeats frames, "
    "as short clips do in training; the test expects an error",
}


def fetch() -> Path:
    """The folder whose package `transformers_tests` holds the common tests of the installed version."""
    folder = REPOSITORY / "build" / "transformers_common" / __version__
    if (folder / "complete").exists():
        return folder
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    no_binary = ["--no-binary", "transformers", "--no-deps", f"transformers=={__version__}"]
    subprocess.run([*pip, "download", "--dest", str(folder), *no_binary], check=True)
    subprocess.run([*pip, "install", "--target", str(folder), "parameterized"], check=True)
    (archive,) = folder.glob("transformers-*.tar.gz")
    with tarfile.open(archive) as tar:
        members = [member for member in tar.getmembers() if re.match(r"[^/]+/tests/[^/]+\.py$", member.name)]
        for member in members:
            member.name = f"{PACKAGE}/{Path(member.name).name}"
        tar.extractall(folder, members=members, filter="data")
    for name, text in {"__init__.py": "", **STAND_INS}.items():
        path = folder / PACKAGE / name
        path.parent.mkdir(exist_ok=True)
        if not name.startswith(".."):
            (path.parent / "__init__.py").touch()
        path.write_text(text)
    (folder / "complete").touch()
    return folder


def run(folder: Path, arguments: list[str]) -> dict[str, dict[str, str]]:
    """Outcome of each test, with the first line of its message, by class and name."""
    results = folder / "results.xml"
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(map(str, (folder, HERE, HERE.parent))),
        "HF_HUB_OFFLINE": "1",
        "CUDA_VISIBLE_DEVICES": "",
    }
    command = [sys.executable, "-m", "pytest", "-c", os.devnull, "--rootdir", str(folder), "--noconftest"]
    command += ["-q", "--tb=short", "-W", "ignore", "-p", "no:cacheprovider", f"--junitxml={results}"]
    command += [str(HERE / "models.py"), str(HERE / "processors.py"), *arguments]
    subprocess.run(command, env=environment, cwd=folder, check=False)
    outcomes: dict[str, dict[str, str]] = {}
    for case in ElementTree.parse(results).iter("testcase"):
        tests = outcomes.setdefault(case.get("classname", "").rpartition(".")[2], {})
        name, outcome = case.get("name", ""), outcome_of(case)
        if not tests.get(name, "").startswith("FAILED"):  # of several subtests one that fails decides
            tests[name] = outcome
    return outcomes


def outcome_of(case: ElementTree.Element) -> str:
    """Empty if the test passed, "skipped", or "FAILED" with the first line of the message."""
    for kind in ("failure", "error"):
        bad = case.find(kind)
        if bad is not None:
            return f"FAILED {(bad.get('message') or '').partition(chr(10))[0]}"
    return "" if case.find("skipped") is None else "skipped"


def compare(outcomes: dict[str, dict[str, str]]) -> int:
    """Prints the counts, and each failure that the counterpart does not share. Returns how many are not explained."""
    unexplained = 0
    for name, counterpart in COUNTERPARTS.items():
        found, other = outcomes.get(name, {}), outcomes.get(counterpart, {})
        failed = {test: message for test, message in found.items() if message.startswith("FAILED")}
        shared = [test for test in failed if other.get(test, "").startswith("FAILED")]
        counts = f"{sum(not m for m in found.values())} passed, {sum(m == 'skipped' for m in found.values())} skipped"
        print(f"{name}: {counts}, {len(failed)} failed, {len(shared)} of them for {counterpart} too")
        left_out = [test for test, message in found.items() if message == "skipped" and other.get(test) == ""]
        if left_out:
            print(f"  skipped, but not for {counterpart}: {', '.join(left_out)}")
        for test, message in failed.items():
            if test in shared:
                continue
            label = f"{name}.{test}"
            reason = next((why for pattern, why in EXPLAINED.items() if re.fullmatch(pattern, label)), None)
            unexplained += reason is None
            print(f"  {label}: {reason or message[:300]}")
    return unexplained


def main() -> int:
    """Returns the exit code: 1 if a failure is neither shared nor explained, or nothing ran."""
    outcomes = run(fetch(), sys.argv[1:])
    missing = [name for name in (*COUNTERPARTS, *COUNTERPARTS.values()) if name not in outcomes]
    if missing:
        print(f"nothing ran of {', '.join(missing)}")
    return int(compare(outcomes) > 0 or bool(missing))


if __name__ == "__main__":
    sys.exit(main())
