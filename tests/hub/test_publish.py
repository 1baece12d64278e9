"""`vita-clip publish`: what goes to the Hub and what does not, in one commit, whatever goes wrong on the way."""

import json
import re
import shutil
import sys
from pathlib import Path

import pytest
import torch
import yaml
from datasets import Dataset
from hub_api import Fault
from hub_card_rules import check_card
from hub_server import TOKEN, Hub
from huggingface_hub import CommitOperationAdd, ModelCard
from safetensors.torch import load_file, save_file
from toy_checkpoint import WITHOUT_PACKAGE, toy_adapter_on, toy_processor, write_rising_video
from toy_vita_clip import LABELS, save_toy_clip

from vita_clip_hf import VitaClipModel, cli
from vita_clip_hf.hub import Additions, CardDetails, publish_folder
from vita_clip_hf.hub.staging import FILE_IS_GENERATED, SERVING_FILES
from vita_clip_hf.models import load_model
from vita_clip_hf.models.fingerprint import model_fingerprint

pytest_plugins = ["hub_server"]

BASE, REPO = "user/toy-clip", "user/published"


@pytest.fixture(scope="module")
def base_folder(tmp_path_factory) -> Path:
    return Path(save_toy_clip(tmp_path_factory.mktemp("base")))


@pytest.fixture(scope="module")
def saved(base_folder, tmp_path_factory) -> Path:
    """An adapter that names a base on the Hub, as a training leaves it."""
    folder = tmp_path_factory.mktemp("trained") / "adapter"
    model = toy_adapter_on(base_folder)
    model.config.base_model_name_or_path = BASE
    model.save_pretrained(folder)
    toy_processor().save_pretrained(folder)
    (folder / "training_args.bin").write_bytes(b"pickle")
    (folder / "checkpoint-1").mkdir()
    (folder / "checkpoint-1" / "config.json").write_text("{}")
    (folder / ".env").write_text("HF_TOKEN=hf_abcdefghijklmnopqrstuvwxyz")
    (folder / "notes.txt").write_text("mine")
    history = [{"loss": 1.5, "step": 1}, {"eval_loss": 1.25, "eval_top_1": 0.5, "eval_runtime": 3.0, "step": 2}]
    state = {"log_history": history, "global_step": 2, "epoch": 1.0, "train_batch_size": 4}
    state["best_model_checkpoint"] = "/home/me/run/checkpoint-1"
    (folder / "trainer_state.json").write_text(json.dumps(state))
    return folder


@pytest.fixture
def folder(saved, tmp_path) -> Path:
    shutil.copytree(saved, tmp_path / "adapter")
    return tmp_path / "adapter"


@pytest.fixture
def base(hub_here, base_folder) -> str:
    """The base on the Hub; its commit."""
    hub_here.api().create_repo(BASE)
    return hub_here.api().upload_folder(repo_id=BASE, folder_path=base_folder).oid


def content(hub: Hub, name: str) -> str:
    return hub.repository(REPO).files()[name].decode()


def write_report(folder: Path, model: Path, name: str = "zero-shot-toy", dtype: str = "float32") -> Path:
    """What `vita-clip evaluate --out` writes about a model, with paths of a machine in it as it has them."""
    folder.mkdir(parents=True)
    fingerprint = model_fingerprint(load_model(model, dtype=getattr(torch, dtype))[0])
    report = {
        "format": 1,
        "models": {"/home/me/adapter": {"kind": "VitaClipModel", "fingerprint": fingerprint, "dtype": dtype}},
        "protocol": {"name": name},
        "data": {"model": "/home/me/adapter", "sources": [{"path": "/data/my videos/list.csv"}]},
        "command": ["vita-clip", "evaluate", "--root=/data/videos", "/home/me/adapter"],
        "data_notes": "see /data/videos/a.mp4: is damaged, and https://host/a/b",
    }
    (folder / "report.json").write_text(json.dumps(report))
    (folder / "report.md").write_text("# toy: /home/me/adapter\n")
    rows = [{"video": "/data/videos/a.mp4", "label": 1, "scores": [0.5, 0.5]}]
    Dataset.from_list(rows).to_parquet(folder / "predictions.parquet")
    result = {
        "task": {"type": "video-classification"},
        "dataset": {"name": f"toy ({name})", "type": "toy", "args": {"protocol": name, "partial": False}},
        "metrics": [{"type": "accuracy", "name": "top_1", "value": 0.5}],
    }
    index = {"model-index": [{"name": "adapter", "results": [result]}]}
    (folder / "model-index.yaml").write_text(yaml.safe_dump(index))
    (folder / ".eval_results").mkdir()
    (folder / ".eval_results" / f"{name}.yaml").write_text("- value: 50\n")
    return folder


class TestContents:
    def test_everything_that_belongs_to_it_is_one_commit_and_valid(self, hub_here, base, folder, tmp_path):
        write_report(folder / "evaluation" / "toy", folder)
        write_report(tmp_path / "more", folder, "few-shot-toy", "bfloat16")
        shutil.copyfile(
            Path(__file__).parents[2] / "docs/motion_shapes/training_curve.png", folder / "training_curve.png"
        )
        video = write_rising_video(tmp_path / "clip.MP4", num_frames=8)
        arguments = ["--license", "mit", "--language", "en", "--dataset", "user/clips", "--example", str(video)]
        assert cli.main(["publish", str(folder), REPO, *arguments, "--report", str(tmp_path / "more")]) == 0
        assert hub_here.commit_titles(REPO) == ["Upload model"]
        names = hub_here.file_names(REPO)
        reports = {
            f"evaluation/{name}/{part}"
            for name in ("zero-shot-toy", "few-shot-toy")
            for part in ("report.json", "report.md", "predictions.parquet")
        }
        assert names >= reports | set(SERVING_FILES) | {"config.json", "adapter_model.safetensors", "README.md"}
        assert names >= {"example.mp4", "preview.png", "training_log.json", "training_curve.png"}
        assert names >= {".eval_results/zero-shot-toy.yaml", "processor_config.json", "modeling_vita_clip.py"}
        assert names.isdisjoint({".env", "checkpoint-1/config.json", "notes.txt", "training_args.bin"})
        assert "trainer_state.json" not in names
        for name, found in hub_here.repository(REPO).files().items():
            if not name.endswith(".py"):
                assert b"/home/me" not in found, name
                assert b"/data" not in found, name

    def test_the_card_tells_of_all_of_it(self, hub_here, base, folder, tmp_path):
        write_report(folder / "evaluation" / "toy", folder)
        video = write_rising_video(tmp_path / "clip.mp4", num_frames=8)
        publish_folder(folder, REPO, CardDetails(license="mit"), additions=Additions(example=video))
        text = content(hub_here, "README.md")
        report = check_card(text, "model")
        assert (report.errors, report.warnings) == ([], [])
        data = ModelCard(text).data
        (widget,) = data.widget
        assert widget["src"] == "example.mp4"
        assert {entry["label"] for entry in widget["output"]} == set(LABELS)
        assert sum(entry["score"] for entry in widget["output"]) == pytest.approx(1, abs=1e-3)
        assert [(each.metric_name, each.metric_value) for each in data.eval_results] == [("top_1", 0.5)]
        assert (data.base_model, data.base_model_relation, data.library_name) == (BASE, "adapter", "transformers")
        for words in (
            "runs no code of a repository",
            "under the protocol zero-shot-toy",
            "[evaluation/zero-shot-toy/report.md](evaluation/zero-shot-toy/report.md)",
            "| evaluation: top_1 | 0.5 |",
            "[training_log.json](training_log.json)",
            "](preview.png)",
            "Inference Endpoints",
            "biases included",
        ):
            assert words in text, words

    def test_reports_keep_everything_but_where_the_files_were(self, hub_here, base, folder):
        write_report(folder / "evaluation" / "toy", folder)
        publish_folder(folder, REPO)
        report = json.loads(content(hub_here, "evaluation/zero-shot-toy/report.json"))
        assert report["data"] == {"model": "adapter", "sources": [{"path": "list.csv"}]}
        assert report["command"] == ["vita-clip", "evaluate", "--root=videos", "adapter"]
        assert report["data_notes"] == "see a.mp4: is damaged, and https://host/a/b"

    def test_the_log_of_the_training_is_published_without_its_machine(self, hub_here, base, folder):
        publish_folder(folder, REPO)
        log = json.loads(content(hub_here, "training_log.json"))
        assert [entry["step"] for entry in log] == [1, 2]
        assert "| clips in a batch | 4 |" in content(hub_here, "README.md")

    def test_the_curve_of_the_training_is_drawn_from_its_log(self, hub_here, base, folder):
        pytest.importorskip("matplotlib")
        publish_folder(folder, REPO)
        assert "training_curve.png" not in hub_here.file_names(REPO), "one loss makes no curve"
        state = json.loads((folder / "trainer_state.json").read_text())
        state["log_history"].append({"loss": 1.0, "step": 2})
        (folder / "trainer_state.json").write_text(json.dumps(state))
        publish_folder(folder, REPO)
        assert hub_here.repository(REPO).files()["training_curve.png"].startswith(b"\x89PNG")
        assert "![Training curve](training_curve.png)" in content(hub_here, "README.md")
        assert not (folder / "training_curve.png").exists()
        (folder / "training_curve.png").write_bytes(b"mine")
        publish_folder(folder, REPO)
        assert hub_here.repository(REPO).files()["training_curve.png"] == b"mine"

    def test_without_matplotlib_a_warning_says_that_there_is_no_curve(
        self, hub_here, base, folder, monkeypatch, caplog
    ):
        state = {"log_history": [{"loss": 2.0, "step": 1}, {"loss": 1.0, "step": 2}]}
        (folder / "trainer_state.json").write_text(json.dumps(state))
        monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
        publish_folder(folder, REPO)
        assert "training_curve.png" not in hub_here.file_names(REPO)
        assert "no training curve" in caplog.text
        assert "vita-clip-hf[demo]" in caplog.text

    def test_speed_is_what_the_trainer_has_measured(self, hub_here, base, folder):
        publish_folder(folder, REPO)
        assert "## Speed" not in content(hub_here, "README.md")
        state = json.loads((folder / "trainer_state.json").read_text())
        state["log_history"] += [
            {"eval_loss": 1.0, "eval_samples_per_second": 12.345, "step": 2},
            {"train_runtime": 1234.5, "train_samples_per_second": 7.891, "step": 2},
        ]
        (folder / "trainer_state.json").write_text(json.dumps(state))
        publish_folder(folder, REPO)
        card = content(hub_here, "README.md")
        assert check_card(card, "model").errors == []
        rows = (
            "training, seconds | 1,234",
            "clips a second in training | 7.89",
            "clips a second in evaluation | 12.3",
        )
        for row in rows:
            assert f"| {row} |" in card, row

    def test_the_base_and_its_revision_can_be_named(self, hub_here, base, folder):
        config = json.loads((folder / "config.json").read_text())
        config["base_model_name_or_path"] = "/home/me/clip"
        (folder / "config.json").write_text(json.dumps(config))
        with pytest.raises(ValueError, match="folder of this machine"):
            publish_folder(folder, REPO)
        arguments = ["publish", str(folder), REPO, "--base", BASE, "--base-revision", "main"]
        assert cli.main(arguments) == 0
        published = json.loads(content(hub_here, "config.json"))
        assert (published["base_model_name_or_path"], published["base_model_revision"]) == (BASE, base)
        assert json.loads((folder / "config.json").read_text()) == config, "the folder itself is not changed"

    def test_requirements_name_the_package_of_a_base(self, hub_here, folder):
        additions = Additions(base="package://vita_clip_hf.demo/tiny_clip")
        publish_folder(folder, REPO, additions=additions)
        assert content(hub_here, "requirements.txt").endswith("\nvita-clip-hf\n")

    def test_a_private_repository_and_a_pull_request(self, hub_here, base, folder, capsys):
        assert cli.main(["publish", str(folder), REPO, "--private", "--create-pr", "--message", "Mine"]) == 0
        assert "/discussions/1" in capsys.readouterr().out
        assert hub_here.api().model_info(REPO).private
        assert hub_here.file_names(REPO) == set()
        assert "adapter_model.safetensors" in hub_here.file_names(REPO, "refs/pr/1")

    def test_files_that_their_author_changed_are_kept_there_and_here(self, hub_here, base, folder):
        publish_folder(folder, REPO)
        changed = content(hub_here, "handler.py").replace(FILE_IS_GENERATED, "") + "# mine\n"
        addition = CommitOperationAdd("handler.py", changed.encode())
        hub_here.api().create_commit(REPO, [addition], commit_message="Mine")
        (folder / "Dockerfile").write_text("FROM mine\n")
        (folder / "README.md").write_text("---\nlicense: mit\n---\n# My own words\n")
        publish_folder(folder, REPO, commit_message="Again")
        assert content(hub_here, "handler.py") == changed
        assert content(hub_here, "Dockerfile") == "FROM mine\n"
        assert "# My own words" in content(hub_here, "README.md")


class TestProcessor:
    """How clips are made is published too: without it, each user's would be another guess."""

    @pytest.fixture
    def without(self, folder) -> Path:
        (folder / "processor_config.json").unlink()
        return folder

    def test_a_folder_without_one_gets_that_of_the_base_and_a_warning(self, hub_here, without, caplog):
        base = "package://vita_clip_hf.demo/tiny_clip"
        publish_folder(without, REPO, additions=Additions(base=base))
        assert f"Published with the processor of {base}" in caplog.text
        published = json.loads(content(hub_here, "processor_config.json"))
        assert (
            published["video_processor"]["num_frames"]
            == VitaClipModel.config_class.from_pretrained(without).num_frames
        )

    def test_that_of_the_repository_is_kept(self, hub_here, base, folder, caplog):
        publish_folder(folder, REPO)
        before = content(hub_here, "processor_config.json")
        (folder / "processor_config.json").unlink()
        publish_folder(folder, REPO, commit_message="Again")
        assert content(hub_here, "processor_config.json") == before
        assert "Published with" not in caplog.text


class TestDryRun:
    def test_it_lists_files_with_sizes_and_what_stays_behind_and_asks_nothing(self, hub_here, folder, capsys):
        assert cli.main(["publish", str(folder), REPO, "--dry-run"]) == 0
        out = capsys.readouterr().out
        assert hub_here.requests == []
        size = (folder / "adapter_model.safetensors").stat().st_size
        assert f"{size / 1000:.3g} kB  adapter_model.safetensors" in out
        for words in ("  README.md", "  handler.py", "  training_log.json", " files\n"):
            assert words in out
        for words in (
            ".env (may hold a secret)",
            "checkpoint-1/ (a folder",
            "notes.txt (no part",
            "training_args.bin (no part",
        ):
            assert f"not published: {words}" in out
        assert not (folder / "README.md").exists()

    def test_it_lists_exactly_what_is_then_published(self, hub_here, base, folder, capsys):
        assert cli.main(["publish", str(folder), REPO, "--dry-run"]) == 0
        lines = [line for line in capsys.readouterr().out.splitlines() if "not published" not in line]
        listed = {line.split("  ")[-1] for line in lines[:-1]}
        assert cli.main(["publish", str(folder), REPO]) == 0
        assert hub_here.file_names(REPO) == listed


class TestRefusals:
    @pytest.fixture(autouse=True)
    def nothing_is_created(self, hub_here):
        yield
        assert hub_here.repos.keys() <= {("model", BASE)}

    @pytest.mark.parametrize(
        ("name", "secret", "kind"),
        [
            ("config.json", "hf_AbCdEfGhIjKlMnOpQrStUvWxYz01234567", "a token of the Hub"),
            ("tokenizer_config.json", "ghp_" + "a1" * 18, "a GitHub token"),
            ("processor_config.json", "AKIAABCDEFGHIJKLMNOP", "an AWS key"),
            ("README.md", "-----BEGIN OPENSSH PRIVATE KEY-----", "a private key"),
            ("README.md", TOKEN, "your own token of the Hub"),
            ("handler.py", "sk-proj-abcdefghijklmnop1234", "an API key"),
            ("README.md", "glpat-" + "x1" * 10, "a GitLab token"),
            ("README.md", "xoxb-1234567890-abcdefghijkl", "a Slack token"),
            ("requirements.txt", "npm_" + "a1" * 18, "a token of a package index"),
            ("requirements.txt", "pypi-AgEIcHlwaS5vcmc" + "a1" * 20, "a token of a package index"),
            ("Dockerfile", "dckr_pat_" + "a1" * 14, "a Docker token"),
            ("README.md", "AIza" + "Sy" * 17 + "A", "an API key"),
            ("README.md", "sk_live_" + "a1" * 12, "an API key"),
            ("config.json", "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.abcdefghijk1234567", "a signed token"),
            ("requirements.txt", "git+https://me:hunter22secret@host/x", "a password in an address"),
            ("Dockerfile", "ENV WANDB_API_KEY=" + "0123456789abcdef" * 2, "a key or a password"),
            ("README.md", "Authorization: Bearer abcdef0123456789abcdef", "a key or a password"),
            (
                "handler.py",
                'aws_secret_access_key = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"',
                "a key or a password",
            ),
        ],
    )
    def test_secrets_are_found_in_every_file_that_would_be_sent(self, folder, name, secret, kind, capsys):
        path = folder / name
        if path.suffix == ".json":
            path.write_text(json.dumps(json.loads(path.read_text()) | {"note": secret}, indent=1))
        else:
            path.write_text(f"first line\n{secret}\n")
        for arguments in (["--dry-run"], []):
            assert cli.main(["publish", str(folder), REPO, *arguments]) == 1
            error = capsys.readouterr().err
            assert f"{name}, line" in error
            assert kind in error
            assert secret not in error

    def test_secrets_are_found_in_the_metadata_of_weights_and_in_reports(self, base, folder, tmp_path):
        path = folder / "adapter_model.safetensors"
        whole = path.read_bytes()
        save_file(load_file(path), path, {"format": "pt", "note": "hf_AbCdEfGhIjKlMnOpQrStUvWxYz"})
        with pytest.raises(ValueError, match=r"adapter_model\.safetensors, line 1: holds a token of the Hub"):
            publish_folder(folder, REPO)
        path.write_bytes(whole)
        (write_report(folder / "evaluation" / "toy", folder) / "report.md").write_text("hf_AbCdEfGhIjKlMnOpQrStUvWxYz")
        with pytest.raises(ValueError, match=r"report\.md, line 1"):
            publish_folder(folder, REPO)

    def test_secrets_are_found_behind_escapes_of_json_and_in_other_encodings(self, folder):
        escaped = json.dumps({"note": "hf_AbCdEfGhIjKlMnOpQrStUvWxYz"}).replace("AbC", "\\u0041b\\u0043")
        (folder / "special_tokens_map.json").write_text(escaped)
        with pytest.raises(ValueError, match=r"special_tokens_map\.json, line \d: holds a token of the Hub"):
            publish_folder(folder, REPO)
        (folder / "special_tokens_map.json").unlink()
        for name in ("README.md", "Dockerfile"):
            (folder / name).write_bytes("mine\nhf_AbCdEfGhIjKlMnOpQrStUvWxYz".encode("utf-16"))
            with pytest.raises(ValueError, match=f"{name}, line 2: holds a token of the Hub"):
                publish_folder(folder, REPO)
            (folder / name).unlink()

    def test_secrets_are_found_in_predictions_by_their_row(self, base, folder):
        report = write_report(folder / "evaluation" / "toy", folder)
        rows = [{"video": f"https://host/{number}.mp4?hf_AbCdEfGhIjKlMnOpQrStUvWxYz"} for number in range(50)]
        Dataset.from_list(rows).to_parquet(report / "predictions.parquet")
        with pytest.raises(ValueError, match=r"predictions\.parquet, row 1, line 1: holds a token of the Hub"):
            publish_folder(folder, REPO)

    @pytest.mark.parametrize(
        "text", ["HF_TOKEN=$HF_TOKEN", "api_key=os.environ['X123456789']", "https://me:***@host/x"]
    )
    def test_words_about_secrets_are_none(self, folder, text, capsys):
        (folder / "README.md").write_text(f"# Mine\n{text}\n")
        assert cli.main(["publish", str(folder), REPO, "--dry-run"]) == 0

    @pytest.mark.parametrize(
        ("name", "path"), [("README.md", "/home/me/x.mp4"), ("requirements.txt", "C:\\Users\\me\\x")]
    )
    def test_the_home_of_a_person_is_refused_in_text_too(self, folder, name, path, capsys):
        (folder / name).write_text(f"first\nsee {path}\n")
        assert cli.main(["publish", str(folder), REPO, "--dry-run"]) == 1
        assert f"{name}, line 2: holds " in capsys.readouterr().err
        (folder / name).write_text("see /data/x.mp4, path/to/x and https://host/home/me/x\n")
        assert cli.main(["publish", str(folder), REPO, "--dry-run"]) == 0

    def test_a_repository_that_is_public_is_not_taken_for_a_private_one(self, hub_here, base, folder, capsys):
        hub_here.api().create_repo(REPO)
        assert cli.main(["publish", str(folder), REPO, "--private"]) == 1
        assert "is public: nothing was sent" in capsys.readouterr().err
        assert hub_here.file_names(REPO) == set()
        hub_here.api().delete_repo(REPO)

    @pytest.mark.parametrize(
        "name", ["../../escape", "/escape", "..", ".", "", "a/b", "x\ny", "ä {b}", "b" * 300, None, ["x"]]
    )
    def test_a_protocol_of_any_name_is_a_folder_inside(self, base, folder, name, capsys):
        report = folder / "evaluation" / "toy" / "report.json"
        write_report(report.parent, folder)
        content_ = json.loads(report.read_text())
        content_["protocol"]["name"] = name
        report.write_text(json.dumps(content_))
        assert cli.main(["publish", str(folder), REPO, "--dry-run"]) == 0
        lines = [line for line in capsys.readouterr().out.splitlines() if line.endswith("/report.json")]
        assert len(lines) == 1
        assert re.search(r"  evaluation/[\w-][\w.-]{0,79}/report\.json$", lines[0])

    @pytest.mark.parametrize(
        ("option", "value"),
        [
            ("--license", "Apache 2.0"),
            ("--license", "a\nb: c"),
            ("--language", "english"),
            ("--dataset", "/home/me"),
            ("--tag", "a\n---\nb: c"),
        ],
    )
    def test_details_that_the_hub_does_not_take_are_refused(self, folder, option, value, capsys):
        assert cli.main(["publish", str(folder), REPO, "--dry-run", option, value]) == 1
        assert " expected " in capsys.readouterr().err

    @pytest.mark.parametrize(
        "path", ["/home/me/videos", "/data/x.mp4", "~/models/clip", "C:\\Users\\me\\clip", "file:///srv/clip/base"]
    )
    @pytest.mark.parametrize("name", ["config.json", "processor_config.json", "tokenizer_config.json"])
    def test_paths_of_this_machine_are_refused_by_file_and_field(self, folder, name, path):
        content_ = json.loads((folder / name).read_text())
        content_["extra"] = {"places": ["here", f"{path}"]}
        (folder / name).write_text(json.dumps(content_))
        words = f"{name}: extra.places[1] is {path!r}, a path of this machine"
        with pytest.raises(ValueError, match=re.escape(words)):
            publish_folder(folder, REPO)

    @pytest.mark.parametrize("text", ["/", "/s", "https://host/a/b", "a/b/c", "and/or", "user/name", "</w>", "1/2/3"])
    def test_other_text_is_no_path(self, hub_here, folder, text):
        content_ = json.loads((folder / "config.json").read_text()) | {"note": text}
        (folder / "config.json").write_text(json.dumps(content_))
        assert cli.main(["publish", str(folder), REPO, "--dry-run"]) == 0

    @pytest.mark.parametrize(
        ("change", "words"),
        [
            (lambda folder: (folder / "config.json").unlink(), "has no config.json"),
            (lambda folder: (folder / "adapter_model.safetensors").unlink(), "has no weights"),
            (lambda folder: (folder / "config.json").write_text('{"model_type": "clip"}'), "of the type 'clip'"),
            (
                lambda folder: (folder / "config.json").write_text("{}"),
                "of the type None; expected one of 'vita_clip'",
            ),
            (lambda folder: (folder / "trainer_state.json").write_text("{"), "is no state of a trainer"),
            (lambda folder: (folder / "tokenizer_config.json").write_text("{"), "is no JSON"),
            (lambda folder: (folder / "tokenizer.json").write_text("{"), "tokenizer.json: is no JSON"),
            (lambda folder: (folder / "processor_config.json").write_text("{"), "processor_config.json: is no JSON"),
            (lambda folder: (folder / "processor_config.json").write_text("[]"), "processor_config.json: is no JSON"),
            (lambda folder: (folder / "tokenizer_config.json").write_text("[" * 10**5), "is no JSON"),
            (lambda folder: (folder / "adapter_model.safetensors").write_bytes(b"cut"), "adapter/adapter_model.saf"),
            (lambda folder: (folder / "README.md").write_bytes(b"caf\xe9"), "README.md, line 1"),
            (
                lambda folder: (folder / "trainer_state.json").write_text('{"log_history": [{"loss": 1}]}'),
                "is no state of a trainer",
            ),
            (
                lambda folder: (folder / "trainer_state.json").write_text(
                    '{"log_history": [{"step": 1, "eval_loss": "x"}]}'
                ),
                "is no state of a trainer",
            ),
            (lambda folder: shutil.rmtree(folder), "no such folder"),
        ],
    )
    def test_a_folder_that_is_no_checkpoint_is_one_line(self, folder, change, words, capsys):
        change(folder)
        assert cli.main(["publish", str(folder), REPO]) == 1
        error = capsys.readouterr().err.strip().splitlines()[-1]
        assert words in error
        assert "Traceback" not in error

    @pytest.mark.parametrize("repo_id", ["a/b/c", "user/na me", "", "user/..", "-x"])
    def test_a_name_that_no_repository_has_is_one_line(self, folder, repo_id, capsys):
        assert cli.main(
            ["publish", str(folder), "--", repo_id] if repo_id == "-x" else ["publish", str(folder), repo_id]
        )
        assert "Traceback" not in capsys.readouterr().err

    def test_an_example_that_is_none_is_refused(self, folder, tmp_path):
        (tmp_path / "text.mp4").write_text("no video")
        large = write_rising_video(tmp_path / "large.mp4", num_frames=8)
        with large.open("ab") as file:
            file.write(bytes(10**7))
        odd = write_rising_video(tmp_path / "clip.mp4", num_frames=8).rename(tmp_path / "clip.exe")
        for video, words in ((tmp_path / "text.mp4", "not a video"), (large, "10 MB|10: cut"), (odd, "ends with")):
            with pytest.raises(ValueError, match=words):
                publish_folder(folder, REPO, additions=Additions(example=video))

    def test_predictions_that_are_none_are_refused(self, base, folder):
        (write_report(folder / "evaluation" / "toy", folder) / "predictions.parquet").write_text("x")
        with pytest.raises(ValueError, match=r"toy/predictions\.parquet: is no table of predictions"):
            publish_folder(folder, REPO)

    def test_reports_that_are_none_are_refused(self, folder, tmp_path):
        with pytest.raises(OSError, match=r"has no report\.json"):
            publish_folder(folder, REPO, additions=Additions(reports=[tmp_path]))
        for content_ in ("[]", '{"protocol": {"name": "x"}}', '{"protocol": {"name": "x"}, "models": {"m": {}}}'):
            (tmp_path / "report.json").write_text(content_)
            with pytest.raises(ValueError, match="is no report"):
                publish_folder(folder, REPO, additions=Additions(reports=[tmp_path]))

    def test_a_report_of_another_model_is_refused_and_both_are_named(self, base, folder, tmp_path):
        report = write_report(tmp_path / "report", folder)
        model = VitaClipModel.from_pretrained(folder)
        before = model_fingerprint(load_model(folder)[0])
        with torch.no_grad():
            model.logit_scale.add_(1)
        model.save_pretrained(folder)
        now = model_fingerprint(load_model(folder)[0])
        words = f"report: is about /home/me/adapter ({before}, float32), and not about {folder} ({now}, float32)"
        with pytest.raises(ValueError, match=re.escape(words)):
            publish_folder(folder, REPO, additions=Additions(reports=[report]))


WHOLE = {"config.json", "adapter_model.safetensors", "README.md", "handler.py", "modeling_vita_clip.py"}
LFS, COMMIT, PREUPLOAD = r"^/lfs/", r"/commit/main$", r"/preupload/"


class TestFaults:
    """Each ends in the whole commit or in one clear error and no commit; a second run completes."""

    @pytest.mark.parametrize(
        "fault",
        [
            *[
                Fault("POST", place, status)
                for place in (COMMIT, PREUPLOAD, "/create$")
                for status in (500, 503, None)
            ],
            *[Fault("POST", "lfs/objects/batch", status) for status in (500, None)],
            *[Fault("POST", "lfs/objects/verify", status) for status in (500, None)],
            *[Fault("PUT", LFS, status) for status in (500, 503, None)],
            Fault("POST", COMMIT, None, after=True),
            Fault("POST", COMMIT, 502, after=True),
            Fault("GET", r"/tree/", 500),
            Fault("GET", r"^/api/models/user/published", None),
            Fault("PUT", LFS, seconds=1.5),
            Fault("POST", COMMIT, seconds=1.5),
            Fault("POST", COMMIT, 412, "A commit has happened since"),
        ],
        ids=lambda fault: f"{fault.method}-{fault.path}-{fault.status}-{fault.after}-{fault.seconds}",
    )
    def test_what_passes_is_got_over(self, hub_here, base, folder, fault):
        hub_here.faults = [fault]
        publish_folder(folder, REPO)
        assert hub_here.faults == [], "it did not happen"
        assert hub_here.file_names(REPO) >= WHOLE
        assert hub_here.commit_titles(REPO) == ["Upload model"]

    @pytest.mark.parametrize(
        ("fault", "words"),
        [
            (Fault("POST", COMMIT, 500, times=99), "status 500"),
            (Fault("POST", COMMIT, None, times=99), "run it again"),
            (Fault("PUT", LFS, 500, times=99), "status 500"),
            (Fault("PUT", LFS, spoils=True, times=99), "hash is not the one announced|400"),
            (Fault("POST", COMMIT, 401, "Invalid credentials", times=99), "log in by"),
            (Fault("POST", "/create$", 401, "Invalid username or password.", times=99), "log in by"),
            (Fault("POST", "/create$", 403, "You don't have the rights", times=99), "may not write"),
            (Fault("POST", COMMIT, 403, "Private repository storage limit reached", times=99), "quota is used up"),
            (Fault("POST", "lfs/objects/batch", 413, "storage limit", times=99), "quota is used up"),
            (Fault("POST", PREUPLOAD, 404, "Repository not found", times=99), "no such repository"),
            (Fault("POST", COMMIT, 429, "Too many requests", times=99), "too many requests"),
        ],
        ids=lambda each: f"{each.path}-{each.status}" if isinstance(each, Fault) else "",
    )
    def test_what_stays_is_one_error_and_no_commit_and_a_second_run_completes(
        self, hub_here, base, folder, fault, words, capsys
    ):
        hub_here.faults = [fault]
        assert cli.main(["publish", str(folder), REPO]) == 1
        # On a line of its own: the progress bar of an upload that was cut short is ended first.
        lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("vita-clip publish:")]
        assert len(lines) == 1
        assert any(word in lines[0] for word in words.split("|")), lines[0]
        assert "Traceback" not in lines[0]
        assert "unexpected" not in lines[0]
        if ("model", REPO) in hub_here.repos:
            assert hub_here.commit_titles(REPO) == []
        hub_here.faults = []
        assert cli.main(["publish", str(folder), REPO]) == 0
        assert hub_here.file_names(REPO) >= WHOLE
        assert hub_here.commit_titles(REPO) == ["Upload model"]

    @pytest.mark.parametrize("place", [("POST", COMMIT), ("PUT", LFS), ("POST", PREUPLOAD), ("POST", "/create$")])
    def test_a_hub_that_keeps_silent_is_not_waited_for_for_ever(self, hub_here, base, folder, place, monkeypatch):
        monkeypatch.setattr("vita_clip_hf.hub.commit.LONGEST_WAIT", 0.4)
        hub_here.faults = [Fault(*place, seconds=3, times=99)]
        with pytest.raises(OSError, match=r"user/published on the Hub: .*(timed out|while uploading).*run it again"):
            publish_folder(folder, REPO)
        hub_here.faults = []
        if ("model", REPO) in hub_here.repos:  # a commit that was given up may come about later, and is whole
            assert hub_here.file_names(REPO) == set() or hub_here.file_names(REPO) >= WHOLE

    def test_what_was_stored_before_a_fault_is_not_sent_again(self, hub_here, base, folder):
        hub_here.faults = [Fault("POST", COMMIT, 403, times=1)]
        with pytest.raises(OSError, match="403"):
            publish_folder(folder, REPO)
        sent = [request.path for request in hub_here.requests if request.method == "PUT" and "/lfs/" in request.path]
        publish_folder(folder, REPO)
        after = [request.path for request in hub_here.requests if request.method == "PUT" and "/lfs/" in request.path]
        assert sent == after
        assert len(sent) == len(set(sent)) > 0

    def test_a_stranger_is_told_to_log_in(self, hub_here, base, folder, monkeypatch):
        monkeypatch.setenv("HF_TOKEN", "hf_wrong")
        with pytest.raises(OSError, match="log in by `hf auth login`"):
            publish_folder(folder, REPO)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        with pytest.raises(OSError, match="may not write"):
            publish_folder(folder, "somebody/else")

    def test_a_base_revision_that_is_not_there_is_refused_before_anything_is_made(self, hub_here, base, folder):
        with pytest.raises(OSError, match="no such repository or branch"):
            publish_folder(folder, REPO, additions=Additions(base_revision="nothing"))
        assert not hub_here.api().repo_exists(REPO)


def test_the_documentations_python_runs_as_printed(hub_here, base, folder, tmp_path, monkeypatch):
    folder.rename(tmp_path / "my_adapter")
    for name in ("clip.mp4", "video.mp4"):
        write_rising_video(tmp_path / name, num_frames=8)
    monkeypatch.chdir(tmp_path)
    page = (Path(__file__).parents[2] / "docs" / "publish.md").read_text()
    publishing, using = re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    exec(publishing, {})
    assert "example.mp4" in hub_here.repository("user/my-adapter").files()
    hub_here.run_client(f"import os\nos.chdir({str(tmp_path)!r})\n{using}")


USE = """
import json, sys
from transformers import AutoModel, AutoProcessor, pipeline
repo, revision, video, folder = sys.argv[1:5]
options = {"trust_remote_code": True, "revision": revision}
model = AutoModel.from_pretrained(repo, **options)
answer = pipeline("zero-shot-video-classification", model=repo, **options)(video)
from huggingface_hub import snapshot_download
sys.path.insert(0, snapshot_download(repo, revision=revision))
from handler import EndpointHandler
served = EndpointHandler(sys.path[0])({"inputs": open(video, "rb").read(), "parameters": {"top_k": 99}})
names = {"base": model.config.base_model_revision, "module": type(model).__module__}
print(json.dumps({"answer": answer, "served": served, **names}))
"""


def test_a_published_adapter_and_its_handler_run_by_revision_without_the_package_and_offline(
    hub_here, base, folder, tmp_path
):
    video = write_rising_video(tmp_path / "clip.mp4", num_frames=8)
    first = publish_folder(folder, REPO, additions=Additions(base_revision="main", example=video)).oid
    model = VitaClipModel.from_pretrained(folder)
    with torch.no_grad():
        model.logit_scale.add_(1)
    model.save_pretrained(folder)
    publish_folder(folder, REPO, commit_message="Another")
    results = [
        json.loads(
            hub_here.run_client(
                WITHOUT_PACKAGE + USE, REPO, first, str(video), str(folder), offline=offline
            ).stdout.splitlines()[-1]
        )
        for offline in (False, True)
    ]
    expected = ModelCard(hub_here.repository(REPO).files(first)["README.md"].decode()).data.widget[0]["output"]
    for result in results:
        assert result["module"].startswith("transformers_modules")
        assert result["base"] == base
        for answer in (result["answer"], result["served"]):
            assert [entry["label"] for entry in answer] == [entry["label"] for entry in expected]
            assert [entry["score"] for entry in answer] == pytest.approx([e["score"] for e in expected], abs=1e-3)
