"""The Hub's stand-in, judged by the real `huggingface_hub` client."""

import hashlib
import inspect
from pathlib import Path

import pytest
from hub_server import Hub
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, ModelCard
from huggingface_hub.errors import (
    EntryNotFoundError,
    HfHubHTTPError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

pytest_plugins = ["hub_server"]

REPO = "user/model"
CARD = "---\nlicense: apache-2.0\npipeline_tag: video-classification\nbase_model: openai/clip-vit-base-patch16\n---\n"
WEIGHTS = bytes(range(256)) * 1000
WEIGHTS_SHA256 = hashlib.sha256(WEIGHTS).hexdigest()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What a small model repository holds: text, a sub-folder, and weights that go through LFS."""
    files = {"README.md": CARD.encode(), "config.json": b"{}\n", "code/model.py": b"pass\n"}
    for name, content in {**files, "adapter_model.safetensors": WEIGHTS}.items():
        path = tmp_path / "folder" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return tmp_path / "folder"


@pytest.fixture
def published(hub: Hub, folder: Path) -> str:
    """The folder in `user/model`; the commit's hash."""
    hub.api().create_repo(REPO)
    return hub.api().upload_folder(repo_id=REPO, folder_path=folder, commit_message="Add the model").oid


def add(path: str, content: bytes) -> CommitOperationAdd:
    return CommitOperationAdd(path_in_repo=path, path_or_fileobj=content)


def status_of(error: pytest.ExceptionInfo[HfHubHTTPError]) -> int:
    return error.value.response.status_code


def test_a_folder_is_uploaded_in_one_commit(hub: Hub, folder: Path, published: str):
    repository = hub.repository(REPO)
    assert [commit.title for commit in repository.history()] == ["Add the model", "initial commit"]
    assert repository.history()[0].oid == published
    uploaded = {name: content for name, content in repository.files().items() if name != ".gitattributes"}
    paths = (path for path in folder.rglob("*") if path.is_file())
    assert uploaded == {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def test_weights_go_through_lfs_and_text_does_not(hub: Hub, published: str):
    files = hub.repository(REPO).resolve("main").files
    assert [path for path, stored in files.items() if stored.is_lfs] == ["adapter_model.safetensors"]
    assert list(hub.lfs_objects) == [WEIGHTS_SHA256]
    verified = [request for request in hub.requests if request.path.endswith("/info/lfs/objects/verify")]
    assert [request.status for request in verified] == [200]


def test_an_upload_of_what_is_already_there_makes_no_commit(hub: Hub, folder: Path, published: str):
    again = hub.api().upload_folder(repo_id=REPO, folder_path=folder)
    assert again.oid == published
    assert len(hub.repository(REPO).history()) == 2


def test_storage_is_another_host_and_never_gets_the_token(hub: Hub, published: str, tmp_path: Path):
    hub.api().hf_hub_download(REPO, "adapter_model.safetensors", cache_dir=tmp_path / "cache")
    to_storage = [request for request in hub.requests if request.path.startswith("/lfs/")]
    assert {request.method for request in to_storage} == {"PUT", "GET"}
    assert all(request.host.startswith("localhost:") for request in to_storage)
    assert not any("authorization" in request.headers for request in to_storage)


def test_a_snapshot_is_the_folder_and_a_second_one_downloads_nothing(hub: Hub, published: str, tmp_path: Path):
    snapshot = Path(hub.api().snapshot_download(REPO, cache_dir=tmp_path / "cache"))
    assert snapshot.name == published
    assert (snapshot / "adapter_model.safetensors").read_bytes() == WEIGHTS
    assert (snapshot / "code" / "model.py").read_text() == "pass\n"
    downloads = [request for request in hub.requests if request.method == "GET" and "/lfs/" in request.path]
    hub.api().snapshot_download(REPO, cache_dir=tmp_path / "cache")
    assert downloads == [request for request in hub.requests if request.method == "GET" and "/lfs/" in request.path]


def test_every_commit_stays_readable_under_its_hash(hub: Hub, published: str, tmp_path: Path):
    api = hub.api()
    second = api.create_commit(REPO, [add("config.json", b"new\n")], commit_message="Change").oid
    assert second != published

    def config(revision: str) -> str:
        return Path(api.hf_hub_download(REPO, "config.json", revision=revision, cache_dir=tmp_path / "c")).read_text()

    assert (config(published), config(second), config("main")) == ("{}\n", "new\n", "new\n")


def test_tags_and_branches_name_commits(hub: Hub, published: str, tmp_path: Path):
    api = hub.api()
    api.create_tag(REPO, tag="v1.0")
    api.create_branch(REPO, branch="more/shapes", revision="v1.0")
    on_branch = api.create_commit(
        REPO, [add("config.json", b"branch\n")], commit_message="On a branch", revision="more/shapes"
    )
    references = api.list_repo_refs(REPO)
    assert {tag.name: tag.target_commit for tag in references.tags} == {"v1.0": published}
    assert {branch.name: branch.target_commit for branch in references.branches} == {
        "main": published,
        "more/shapes": on_branch.oid,
    }
    path = api.hf_hub_download(REPO, "config.json", revision="more/shapes", cache_dir=tmp_path / "cache")
    assert Path(path).read_text() == "branch\n"
    with pytest.raises(HfHubHTTPError) as error:
        api.create_tag(REPO, tag="v1.0")
    assert status_of(error) == 409
    api.delete_tag(REPO, tag="v1.0")
    api.delete_branch(REPO, branch="more/shapes")
    assert next(iter(api.list_repo_commits(REPO))).commit_id == published
    with pytest.raises(RevisionNotFoundError):
        api.model_info(REPO, revision="v1.0")


def test_a_commit_on_an_outdated_parent_is_refused(hub: Hub, published: str):
    api = hub.api()
    operation = [add("config.json", b"mine\n")]
    api.create_commit(REPO, [add("config.json", b"theirs\n")], commit_message="First", parent_commit=published)
    with pytest.raises(HfHubHTTPError) as error:
        api.create_commit(REPO, operation, commit_message="Second", parent_commit=published)
    assert status_of(error) == 412
    assert hub.repository(REPO).files()["config.json"] == b"theirs\n"


def test_a_pull_request_leaves_the_branch_alone(hub: Hub, published: str):
    api = hub.api()
    proposal = api.create_commit(REPO, [add("config.json", b"better\n")], commit_message="Better", create_pr=True)
    assert proposal.pr_num == 1
    assert hub.repository(REPO).files()["config.json"] == b"{}\n"
    assert hub.repository(REPO).files("refs/pr/1")["config.json"] == b"better\n"
    assert api.model_info(REPO, revision="refs/pr/1").sha == proposal.oid


def test_files_and_folders_are_deleted_by_commits(hub: Hub, published: str):
    api = hub.api()
    api.delete_file("config.json", REPO)
    api.delete_folder("code", REPO)
    assert sorted(api.list_repo_files(REPO)) == [".gitattributes", "README.md", "adapter_model.safetensors"]
    assert api.file_exists(REPO, "config.json", revision=published)
    with pytest.raises(EntryNotFoundError):
        api.create_commit(REPO, [CommitOperationDelete("config.json")], commit_message="Again")


def test_what_does_not_exist_is_told_apart(hub: Hub, published: str, tmp_path: Path):
    api, cache = hub.api(), tmp_path / "cache"
    assert api.file_exists(REPO, "config.json")
    assert not api.file_exists(REPO, "absent.json")
    with pytest.raises(EntryNotFoundError):
        api.hf_hub_download(REPO, "absent.json", cache_dir=cache)
    with pytest.raises(RevisionNotFoundError):
        api.hf_hub_download(REPO, "config.json", revision="absent", cache_dir=cache)
    with pytest.raises(RepositoryNotFoundError):
        api.hf_hub_download("user/absent", "config.json", cache_dir=cache)
    no_exist = cache / "models--user--model" / ".no_exist" / published / "absent.json"
    assert no_exist.exists()  # the client learned which commit lacks the file


def test_info_lists_files_with_sizes_hashes_and_card(hub: Hub, published: str):
    info = hub.api().model_info(REPO, files_metadata=True)
    assert (info.id, info.sha, info.pipeline_tag, info.private) == (REPO, published, "video-classification", False)
    assert info.card_data.license == "apache-2.0"
    assert "base_model:openai/clip-vit-base-patch16" in info.tags
    weights = next(file for file in info.siblings if file.rfilename == "adapter_model.safetensors")
    assert (weights.size, weights.lfs.sha256) == (len(WEIGHTS), WEIGHTS_SHA256)


def test_trees_are_listed_by_folder_recursively_and_in_pages(hub: Hub, published: str):
    api = hub.api()
    top = [entry.path for entry in api.list_repo_tree(REPO)]
    assert top == [".gitattributes", "README.md", "adapter_model.safetensors", "code", "config.json"]
    assert [entry.path for entry in api.list_repo_tree(REPO, "code")] == ["code/model.py"]
    hub.page_size = 2
    assert [entry.path for entry in api.list_repo_tree(REPO, recursive=True)] == sorted([*top, "code/model.py"])
    (weights,) = api.get_paths_info(REPO, ["adapter_model.safetensors", "absent"])
    assert weights.lfs.size == len(WEIGHTS)


def test_a_download_that_breaks_is_resumed_by_range(
    hub: Hub, published: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    # The client keeps whole chunks only, by default of 10 MB.
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 50_000)
    hub.cut_next_download_at = 100_000
    path = hub.api().hf_hub_download(REPO, "adapter_model.safetensors", cache_dir=tmp_path / "cache")
    assert Path(path).read_bytes() == WEIGHTS
    first, second = (request for request in hub.requests if request.method == "GET" and "/lfs/" in request.path)
    assert "range" not in first.headers
    assert (second.status, second.headers["range"]) == (206, "bytes=100000-")


@pytest.mark.parametrize(
    ("header", "status", "expected"),
    [
        ("bytes=0-3", 206, WEIGHTS[:4]),
        ("bytes=255999-", 206, WEIGHTS[-1:]),
        ("bytes=-2", 206, WEIGHTS[-2:]),
        ("bytes=256000-", 416, b""),
    ],
)
def test_byte_ranges_are_honoured(hub: Hub, published: str, header: str, status: int, expected: bytes):
    from huggingface_hub.utils import get_session

    url = f"{hub.endpoint}/{REPO}/resolve/main/adapter_model.safetensors"
    response = get_session().get(url, headers={"range": header}, follow_redirects=True)
    assert (response.status_code, response.content) == (status, expected)


def test_private_repositories_hide_from_strangers(hub: Hub, folder: Path, tmp_path: Path):
    hub.api().create_repo(REPO, private=True)
    hub.api().upload_folder(repo_id=REPO, folder_path=folder)
    assert hub.api().model_info(REPO).private
    with pytest.raises(RepositoryNotFoundError):
        hub.api(token=False).hf_hub_download(REPO, "config.json", cache_dir=tmp_path / "cache")
    with pytest.raises(HfHubHTTPError):
        hub.api(token="hf_wrong").whoami()


def test_only_own_namespaces_can_be_written(hub: Hub):
    api = hub.api()
    assert api.whoami()["name"] == "user"
    assert api.create_repo("model").repo_id == "user/model"
    assert api.create_repo("organization/model").repo_id == "organization/model"
    with pytest.raises(HfHubHTTPError) as error:
        api.create_repo("someone/model")
    assert status_of(error) == 403
    with pytest.raises(HfHubHTTPError) as error:
        hub.api(token=False).create_repo(REPO)
    assert status_of(error) == 401


def test_a_repository_is_created_once_and_can_be_deleted(hub: Hub):
    api = hub.api()
    api.create_repo(REPO)
    assert api.create_repo(REPO, exist_ok=True).repo_id == REPO
    with pytest.raises(HfHubHTTPError) as error:
        api.create_repo(REPO)
    assert status_of(error) == 409
    assert [model.id for model in api.list_models(author="user")] == [REPO]
    api.delete_repo(REPO)
    assert not api.repo_exists(REPO)


@pytest.mark.parametrize(("repo_type", "more"), [("dataset", {}), ("space", {"space_sdk": "gradio"})])
def test_datasets_and_spaces_are_kept_apart_from_models(hub: Hub, tmp_path: Path, repo_type: str, more: dict):
    api = hub.api()
    url = api.create_repo(REPO, repo_type=repo_type, **more)
    assert (url.repo_type, url.repo_id) == (repo_type, REPO)
    for name in ("app.py", "clip.mp4"):
        api.upload_file(path_or_fileobj=b"pass", path_in_repo=name, repo_id=REPO, repo_type=repo_type)
        path = api.hf_hub_download(REPO, name, repo_type=repo_type, cache_dir=tmp_path / "cache")
        assert Path(path).read_bytes() == b"pass"
    info = api.repo_info(REPO, repo_type=repo_type)
    assert {file.rfilename for file in info.siblings} == {".gitattributes", "app.py", "clip.mp4"}
    assert not api.repo_exists(REPO)


def test_a_client_finds_everything_in_its_environment_and_reads_its_cache_offline(hub: Hub, published: str):
    code = f"""
from huggingface_hub import hf_hub_download, snapshot_download
print(snapshot_download({REPO!r}))
print(hf_hub_download({REPO!r}, "config.json", revision={published!r}))
"""
    online = hub.run_client(code).stdout
    assert published in online
    answered = len(hub.requests)
    assert hub.run_client(code, offline=True).stdout == online
    assert len(hub.requests) == answered
    failed = hub.run_client(f'{code}\nhf_hub_download("user/other", "x")', offline=True, check=False)
    assert failed.returncode != 0


@pytest.mark.parametrize(
    ("metadata", "complaint"),
    [
        ("license: apache-2", '"license" must be one of'),
        ("pipeline_tag: video-classfication", '"pipeline_tag" must be one of'),
        ("base_model: 3", '"base_model" must be a repository\'s id'),
        ("base_model: [openai/clip, 'a b']", '"base_model" must be a repository\'s id'),
        ("base_model_relation: cousin", '"base_model_relation" must be one of'),
        ("tags: video", '"tags" must be an array'),
        ("model-index: [{name: m, results: [{task: {type: t}}]}]", '"model-index" results must have a dataset'),
        ("widget: [{output: []}]", '"widget" samples must have a src or a text'),
        ("widget: [{src: /tmp/a.mp4}]", '"widget" a src must be a URL or a file of the repository'),
        ("widget: [{src: a.mp4, output: [{label: a}]}]", '"widget" an output must have entries with label and score'),
        ("license: [", "bad yaml"),
        ("- a list", "must be an object"),
    ],
)
def test_cards_with_wrong_metadata_are_refused(hub: Hub, metadata: str, complaint: str):
    hub.api().create_repo(REPO)
    card = f"---\n{metadata}\n---\n# Model\n".encode()
    with pytest.raises(ValueError, match="Invalid metadata") as error:
        hub.api().create_commit(REPO, [add("README.md", card)], commit_message="Card")
    assert complaint in str(error.value)
    assert "README.md" not in hub.repository(REPO).files()


@pytest.mark.skipif(
    "https://huggingface.co" in inspect.getsource(ModelCard.validate),
    reason="this huggingface_hub validates cards at huggingface.co only, whatever HF_ENDPOINT says (1.33 does)",
)
def test_model_cards_are_validated_by_the_clients_own_method(hub: Hub, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", hub.endpoint)
    ModelCard(CARD + "# Model\n").validate()
    with pytest.raises(ValueError, match='"license" must be one of'):
        ModelCard("---\nlicense: mine\n---\n").validate()


def test_a_card_without_metadata_is_taken_with_a_warning(hub: Hub):
    hub.api().create_repo(REPO)
    with pytest.warns(UserWarning, match="empty or missing yaml metadata"):
        hub.api().create_commit(REPO, [add("README.md", b"# Model\n")], commit_message="Card")


@pytest.mark.parametrize("metadata", ["title: Demo", "sdk: gradio\nsdk_version: 5.0", "sdk: gradio\ncolorFrom: beige"])
def test_space_cards_have_rules_of_their_own(hub: Hub, metadata: str):
    hub.api().create_repo(REPO, repo_type="space", space_sdk="gradio")
    card = f"---\n{metadata}\n---\n".encode()
    with pytest.raises(ValueError, match="Invalid metadata"):
        hub.api().create_commit(REPO, [add("README.md", card)], commit_message="Card", repo_type="space")
