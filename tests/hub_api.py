"""The answers of the Hub's stand-in: the documented HTTP API as functions from a request to a response.

`tests/hub_server.py` puts them on a socket and tells what is spoken and what is not.
"""

import base64
import dataclasses
import hashlib
import json
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import parse_qs, unquote

from hub_card_rules import check_card
from hub_repositories import REGULAR_FILE_LIMIT, Changes, Commit, Repository, RepositoryError, StoredFile

USER, TOKEN = "user", "hf_the_token_of_user"
ORGANIZATION = "organization"  # `user` may write there; to any other namespace it may not
DELETIONS = ("deletedFile", "deletedFolder")


@dataclass(frozen=True)
class Request:
    """One request, read completely. `groups` are the named parts of the path, unquoted."""

    method: str
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]  # lower-case names
    body: bytes
    groups: dict[str, str] = field(default_factory=dict)

    @property
    def json(self) -> dict[str, Any]:
        return json.loads(self.body or b"{}")

    @property
    def repo_id(self) -> str:
        return f"{self.groups['namespace']}/{self.groups['name']}"

    @property
    def repo_type(self) -> str:
        """`models` and `datasets` in API paths, `datasets/` or nothing in front of file paths."""
        return (self.groups.get("type") or "models").rstrip("/").removesuffix("s")

    def has(self, parameter: str) -> bool:
        """Whether a query parameter is given and true."""
        return self.query.get(parameter, ["false"])[-1].lower() in ("1", "true")


@dataclass(frozen=True)
class Response:
    """One response. With `cut_at`, the connection breaks after that many bytes of the body."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    cut_at: int | None = None

    @classmethod
    def of_json(cls, value: Any, status: int = 200, **headers: str) -> "Response":
        return cls(status, json.dumps(value).encode(), {"Content-Type": "application/json", **headers})

    @classmethod
    def of_error(cls, error: RepositoryError, **headers: str) -> "Response":
        headers["X-Error-Message"] = error.message
        if error.code:
            headers["X-Error-Code"] = error.code
        return cls.of_json({"error": error.message}, error.status, **headers)


@dataclass(frozen=True)
class LoggedRequest:
    """What a test may ask about a request that was answered."""

    method: str
    host: str
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]
    status: int


@dataclass
class Fault:
    """
    What goes wrong with the next requests of a kind.

    Args:
        method, path: of the requests; `path` is a pattern that is looked for.
        status: the answer's, with `message`. `None`: none comes, the connection breaks.
        times: how many requests; then the Hub is well again.
        after: the request is answered first, and the answer lost.
        seconds: that it takes longer.
        spoils: the request's body is damaged on its way, and answered as it came.
    """

    method: str
    path: str
    status: int | None = None
    message: str = "The Hub has a fault"
    times: int = 1
    after: bool = False
    seconds: float = 0.0
    spoils: bool = False


Route = tuple[str, re.Pattern[str], Callable[["HubApi", Request], Response]]
ROUTES: list[Route] = []
REPO = r"(?P<namespace>[^/]+)/(?P<name>[^/]+?)"
API_REPO = rf"/api/(?P<type>models|datasets|spaces)/{REPO}"
FILE_REPO = rf"/(?P<type>datasets/|spaces/)?{REPO}"


def route(methods: str, pattern: str) -> Callable:
    """Answer these methods on paths of this form with the decorated method; earlier routes go first."""

    def register(answer: Callable[["HubApi", Request], Response]) -> Callable[["HubApi", Request], Response]:
        ROUTES.extend((method, re.compile(pattern), answer) for method in methods.split())
        return answer

    return register


class HubApi:
    """The Hub's state and its answers.

    Attributes:
        endpoint: the address of the API and of small files.
        storage_endpoint: the address of LFS content, another host.
        repos: every repository by (type, id), the type being "model", "dataset" or "space".
        requests: every request that was answered, in order.
        page_size: entries in a page of a tree listing.
        cut_next_download_at: when set, the next file download breaks after that many bytes.
        faults: what goes wrong; each is taken out when it has happened as often as it is to.
    """

    def __init__(self, endpoint: str, storage_endpoint: str):
        self.endpoint = endpoint
        self.storage_endpoint = storage_endpoint
        self.repos: dict[tuple[str, str], Repository] = {}
        self.requests: list[LoggedRequest] = []
        self.page_size = 1000
        self.cut_next_download_at: int | None = None
        self.faults: list[Fault] = []
        self.lfs_objects: dict[str, bytes] = {}
        self.lock = threading.Lock()

    def answer(self, request: Request) -> Response:
        """Find the route, answer, and turn refusals into the Hub's error responses."""
        fault = self._fault_of(request)
        if fault is not None:
            time.sleep(fault.seconds)
        with self.lock:
            response = self._answer_with(fault, request)
            host = request.headers.get("host", "")
            self.requests.append(
                LoggedRequest(request.method, host, request.path, request.query, request.headers, response.status)
            )
        return response

    def _fault_of(self, request: Request) -> Fault | None:
        with self.lock:
            for fault in self.faults:
                if fault.method == request.method and re.search(fault.path, request.path):
                    fault.times -= 1
                    if not fault.times:
                        self.faults.remove(fault)
                    return fault
        return None

    def _answer_with(self, fault: Fault | None, request: Request) -> Response:
        if fault is not None and fault.spoils:
            request = dataclasses.replace(request, body=request.body[:-1] + bytes([request.body[-1] ^ 1]))
        if fault is None or fault.spoils or (fault.seconds and fault.status is None):
            return self._answer(request)
        if fault.after:
            self._answer(request)
        if fault.status is None:
            return Response(status=0)
        return Response.of_error(RepositoryError(fault.status, fault.message))

    def _answer(self, request: Request) -> Response:
        for method, pattern, answer in ROUTES:
            match = pattern.fullmatch(request.path)
            if match and method == request.method:
                groups = {name: unquote(value) for name, value in match.groupdict().items() if value is not None}
                try:
                    return answer(self, dataclasses.replace(request, groups=groups))
                except RepositoryError as error:
                    return Response.of_error(error)
        return Response.of_error(RepositoryError(404, "Sorry, we can't find the page you are looking for."))

    def _user(self, request: Request) -> str | None:
        authorization = request.headers.get("authorization")
        if authorization is None:
            return None
        if authorization != f"Bearer {TOKEN}":
            raise RepositoryError(401, "Invalid credentials in Authorization header")
        return USER

    def _readable(self, request: Request) -> Repository:
        """The repository that the path names, unless it is private and the reader a stranger."""
        user = self._user(request)
        repository = self.repos.get((request.repo_type, request.repo_id))
        if repository is None or (repository.private and not self._owns(user, request.repo_id)):
            # The Hub does not tell a stranger whether there is such a repository.
            raise RepositoryError(404 if user else 401, "Repository not found", "RepoNotFound")
        return repository

    def _writable(self, request: Request) -> Repository:
        repository = self._readable(request)
        self._check_may_write(self._user(request), request.repo_id)
        return repository

    def _check_may_write(self, user: str | None, repo_id: str) -> None:
        if user is None:
            raise RepositoryError(401, "Invalid username or password.")
        if not self._owns(user, repo_id):
            namespace = repo_id.split("/")[0]
            raise RepositoryError(403, f'You don\'t have the rights under the namespace "{namespace}"')

    def _owns(self, user: str | None, repo_id: str) -> bool:
        return user is not None and repo_id.split("/")[0] in (user, ORGANIZATION)

    def _web_url(self, repository: Repository) -> str:
        prefix = "" if repository.repo_type == "model" else f"{repository.repo_type}s/"
        return f"{self.endpoint}/{prefix}{repository.repo_id}"

    # Account and repositories

    @route("GET", "/api/whoami-v2")
    def whoami(self, request: Request) -> Response:
        user = self._user(request)
        if user is None:
            raise RepositoryError(401, "Invalid username or password.")
        access = {"type": "access_token", "accessToken": {"displayName": "tests", "role": "write"}}
        orgs = [{"type": "org", "name": ORGANIZATION, "fullname": ORGANIZATION, "roleInOrg": "write"}]
        return Response.of_json({"type": "user", "name": user, "fullname": user, "orgs": orgs, "auth": access})

    @route("POST", "/api/repos/create")
    def create_repository(self, request: Request) -> Response:
        wish = request.json
        repo_type, user = wish.get("type") or "model", self._user(request)
        repo_id = f"{wish.get('organization') or user}/{wish['name']}"
        self._check_may_write(user, repo_id)
        if (repo_type, repo_id) in self.repos:
            url = self._web_url(self.repos[repo_type, repo_id])
            return Response.of_json({"error": f"You already created this {repo_type} repo", "url": url}, 409)
        private = wish.get("private") or wish.get("visibility") == "private"
        repository = Repository(repo_type, repo_id, USER, private=bool(private), sdk=wish.get("sdk"))
        self.repos[repo_type, repo_id] = repository
        return Response.of_json({"url": self._web_url(repository), "name": repo_id, "id": repo_id})

    @route("DELETE", "/api/repos/delete")
    def delete_repository(self, request: Request) -> Response:
        wish, user = request.json, self._user(request)
        key = (wish.get("type") or "model", f"{wish.get('organization') or user}/{wish['name']}")
        self._check_may_write(user, key[1])
        if self.repos.pop(key, None) is None:
            raise RepositoryError(404, "Repository not found", "RepoNotFound")
        return Response.of_json({})

    @route("PUT", f"{API_REPO}/settings")
    def change_settings(self, request: Request) -> Response:
        repository, wish = self._writable(request), request.json
        if "private" in wish or "visibility" in wish:
            repository.private = bool(wish.get("private") or wish.get("visibility") == "private")
        return Response.of_json({"private": repository.private})

    @route("GET", "/api/(?P<type>models|datasets|spaces)")
    def list_repositories(self, request: Request) -> Response:
        user, author = self._user(request), request.query.get("author", [None])[0]
        found = [
            self._description(repository, repository.resolve("main"), blobs=False)
            for (repo_type, repo_id), repository in sorted(self.repos.items())
            if repo_type == request.repo_type
            and author in (None, repo_id.split("/")[0])
            and (not repository.private or self._owns(user, repo_id))
        ]
        return Response.of_json(found)

    @route("GET", API_REPO)
    @route("GET", f"{API_REPO}/revision/(?P<revision>[^/]+)")
    def describe_repository(self, request: Request) -> Response:
        repository = self._readable(request)
        commit = repository.resolve(request.groups.get("revision", "main"))
        return Response.of_json(self._description(repository, commit, blobs=request.has("blobs")))

    def _description(self, repository: Repository, commit: Commit, blobs: bool) -> dict[str, Any]:
        card = repository.card_data(commit)
        description = {
            "id": repository.repo_id,
            "author": repository.repo_id.split("/")[0],
            "sha": commit.oid,
            "lastModified": commit.date,
            "createdAt": repository.created_at,
            "private": repository.private,
            "gated": False,
            "disabled": False,
            "downloads": 0,
            "likes": 0,
            "tags": card_tags(card),
            "cardData": card,
            "siblings": [sibling(path, stored, blobs) for path, stored in commit.files.items()],
        }
        if repository.repo_type == "model":
            known = {key: card[key] for key in ("pipeline_tag", "library_name") if key in card}
            description |= {"modelId": repository.repo_id, **known}
        if repository.repo_type == "space":
            stage = "BUILDING" if card.get("app_file", "app.py") in commit.files else "NO_APP_FILE"
            description |= {"sdk": card.get("sdk", repository.sdk), "runtime": {"stage": stage}}
        return description

    @route("POST", "/api/validate-yaml")
    def validate_card(self, request: Request) -> Response:
        report = check_card(request.json["content"], request.json.get("repoType") or "model")
        if report.errors and request.headers.get("accept") == "text/plain":
            return Response(400, "\n".join(report.errors).encode(), {"Content-Type": "text/plain"})
        messages = {kind: [{"message": each} for each in getattr(report, kind)] for kind in ("errors", "warnings")}
        return Response.of_json(messages, 400 if report.errors else 200)

    # Uploads

    @route("POST", f"{API_REPO}/preupload/(?P<revision>[^/]+)")
    def preupload(self, request: Request) -> Response:
        repository, revision = self._writable(request), request.groups["revision"]
        present = repository.resolve(revision).files
        files = []
        for wish in request.json["files"]:
            path, sample = wish["path"], base64.b64decode(wish["sample"])
            mode = "lfs" if repository.wants_lfs(revision, path, wish["size"], sample) else "regular"
            oid = present[path].etag if path in present else None
            files.append({"path": path, "uploadMode": mode, "shouldIgnore": False, "oid": oid})
        return Response.of_json({"files": files})

    @route("POST", rf"{FILE_REPO}\.git/info/lfs/objects/batch")
    def lfs_batch(self, request: Request) -> Response:
        verify = f"{self._web_url(self._writable(request))}.git/info/lfs/objects/verify"
        objects = []
        for wish in request.json["objects"]:
            actions = {"upload": {"href": f"{self.storage_endpoint}/lfs/{wish['oid']}"}, "verify": {"href": verify}}
            missing = {} if wish["oid"] in self.lfs_objects else {"actions": actions}
            objects.append({**wish, **missing})
        return Response.of_json({"transfer": "basic", "objects": objects})

    @route("PUT", "/lfs/(?P<oid>[0-9a-f]{64})")
    def lfs_upload(self, request: Request) -> Response:
        if hashlib.sha256(request.body).hexdigest() != request.groups["oid"]:
            raise RepositoryError(400, "The content's hash is not the one announced")
        self.lfs_objects[request.groups["oid"]] = request.body
        return Response(200, headers={"ETag": f'"{request.groups["oid"]}"'})

    @route("POST", rf"{FILE_REPO}\.git/info/lfs/objects/verify")
    def lfs_verify(self, request: Request) -> Response:
        self._writable(request)
        oid, size = request.json["oid"], request.json["size"]
        if len(self.lfs_objects.get(oid, b"")) != size:
            raise RepositoryError(400, f"LFS object {oid} is absent or not {size} bytes long")
        return Response.of_json({})

    @route("POST", f"{API_REPO}/commit/(?P<revision>[^/]+)")
    def create_commit(self, request: Request) -> Response:
        repository, revision = self._writable(request), request.groups["revision"]
        changes = self._changes(request)
        readme = changes.added.get("README.md")
        report = check_card(readme.content.decode(), repository.repo_type) if readme else None
        if report and report.errors:
            raise RepositoryError(400, f"Invalid metadata in README.md: {'; '.join(report.errors)}")
        if request.has("create_pr"):
            number, commit = repository.open_pull_request(revision, changes, USER)
            extra = {"pullRequestUrl": f"{self._web_url(repository)}/discussions/{number}"}
        else:
            commit, extra = repository.commit(revision, changes, USER), {}
        url = f"{self._web_url(repository)}/commit/{commit.oid}"
        return Response.of_json({"success": True, "commitOid": commit.oid, "commitUrl": url, **extra})

    def _changes(self, request: Request) -> Changes:
        """The commit's description and operations, one JSON object a line."""
        entries = [json.loads(line) for line in request.body.splitlines() if line.strip()]
        by_key: dict[str, list[dict[str, Any]]] = {}
        for entry in entries:
            by_key.setdefault(entry["key"], []).append(entry["value"])
        (header,) = by_key.pop("header")
        added = {value["path"]: regular_file(value) for value in by_key.pop("file", [])}
        added |= {value["path"]: self._lfs_file(value["oid"]) for value in by_key.pop("lfsFile", [])}
        deletions = {key: [value["path"] for value in by_key.pop(key, [])] for key in DELETIONS}
        if by_key:
            raise RepositoryError(400, f"Unknown operations: {sorted(by_key)}")
        return Changes(
            title=header["summary"],
            description=header.get("description", ""),
            parent_commit=header.get("parentCommit"),
            added=added,
            deleted_files=tuple(deletions["deletedFile"]),
            deleted_folders=tuple(deletions["deletedFolder"]),
        )

    def _lfs_file(self, oid: str) -> StoredFile:
        if oid not in self.lfs_objects:
            raise RepositoryError(400, f"LFS pointer pointed to a file that does not exist: {oid}")
        return StoredFile(self.lfs_objects[oid], is_lfs=True)

    # Listings and references

    @route("GET", f"{API_REPO}/tree/(?P<revision>[^/]+)(?:/(?P<folder>.+))?")
    def list_tree(self, request: Request) -> Response:
        commit = self._readable(request).resolve(request.groups["revision"])
        entries = tree_entries(commit, request.groups.get("folder", ""), request.has("recursive"))
        start = int(request.query.get("cursor", ["0"])[0])
        headers = {}
        if start + self.page_size < len(entries):
            following = f"recursive={request.has('recursive')}&cursor={start + self.page_size}"
            headers["Link"] = f'<{self.endpoint}{request.path}?{following}>; rel="next"'
        return Response.of_json(entries[start : start + self.page_size], **headers)

    @route("POST", f"{API_REPO}/paths-info/(?P<revision>[^/]+)")
    def describe_paths(self, request: Request) -> Response:
        commit = self._readable(request).resolve(request.groups["revision"])
        wanted = parse_qs(request.body.decode()).get("paths", [])
        entries = tree_entries(commit, "", recursive=True)
        return Response.of_json([entry for entry in entries if entry["path"] in wanted])

    @route("GET", f"{API_REPO}/refs")
    def list_references(self, request: Request) -> Response:
        repository = self._readable(request)

        def listed(kind: str, targets: dict) -> list[dict[str, str]]:
            return [
                {"name": str(name), "ref": f"refs/{kind}/{name}", "targetCommit": oid} for name, oid in targets.items()
            ]

        references = {"branches": listed("heads", repository.branches), "tags": listed("tags", repository.tags)}
        return Response.of_json({**references, "converts": [], "pullRequests": listed("pr", repository.pull_requests)})

    @route("GET", f"{API_REPO}/commits/(?P<revision>[^/]+)")
    def list_commits(self, request: Request) -> Response:
        history = self._readable(request).history(request.groups["revision"])
        entries = [
            {
                "id": commit.oid,
                "title": commit.title,
                "message": commit.description,
                "date": commit.date,
                "authors": [{"user": commit.author}],
            }
            for commit in history
        ]
        return Response.of_json(entries)

    @route("POST DELETE", f"{API_REPO}/branch/(?P<branch>[^/]+)")
    def change_branch(self, request: Request) -> Response:
        repository, branch = self._writable(request), request.groups["branch"]
        if request.method == "DELETE":
            repository.delete_branch(branch)
        else:
            repository.create_branch(branch, request.json.get("startingPoint") or "main")
        return Response.of_json({})

    @route("POST", f"{API_REPO}/tag/(?P<revision>[^/]+)")
    def create_tag(self, request: Request) -> Response:
        self._writable(request).create_tag(request.json["tag"], request.groups["revision"])
        return Response.of_json({})

    @route("DELETE", f"{API_REPO}/tag/(?P<tag>[^/]+)")
    def delete_tag(self, request: Request) -> Response:
        self._writable(request).delete_tag(request.groups["tag"])
        return Response.of_json({})

    # Downloads

    @route("GET HEAD", f"{FILE_REPO}/resolve/(?P<revision>[^/]+)/(?P<path>.+)")
    def resolve_file(self, request: Request) -> Response:
        repository, path = self._readable(request), request.groups["path"]
        commit = repository.resolve(request.groups["revision"])
        try:
            stored = repository.file(commit.oid, path)
        except RepositoryError as error:
            # The commit is told even so: the client remembers which commit lacks the file.
            return Response.of_error(error, **{"X-Repo-Commit": commit.oid})
        headers = {"X-Repo-Commit": commit.oid, "ETag": f'"{stored.etag}"'}
        if not stored.is_lfs:
            return self._download(request, stored.content, headers)
        headers |= {"X-Linked-Etag": f'"{stored.etag}"', "X-Linked-Size": str(stored.size)}
        return Response(302, headers={**headers, "Location": f"{self.storage_endpoint}/lfs/{stored.sha256}"})

    @route("GET HEAD", "/lfs/(?P<oid>[0-9a-f]{64})")
    def lfs_download(self, request: Request) -> Response:
        oid = request.groups["oid"]
        if oid not in self.lfs_objects:
            raise RepositoryError(404, "No such object")
        return self._download(request, self.lfs_objects[oid], {"ETag": f'"{oid}"'})

    def _download(self, request: Request, content: bytes, headers: dict[str, str]) -> Response:
        """The content or the byte range that is asked for."""
        cut_at = None
        if request.method == "GET":
            cut_at, self.cut_next_download_at = self.cut_next_download_at, None
        headers = {"Content-Type": "application/octet-stream", "Accept-Ranges": "bytes", **headers}
        if "range" not in request.headers:
            return Response(200, content, headers, cut_at)
        span = byte_range(request.headers["range"], len(content))
        if span is None:
            return Response(416, headers={"Content-Range": f"bytes */{len(content)}"})
        start, end = span
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{len(content)}"
        return Response(206, content[start:end], headers, cut_at)


def regular_file(value: dict[str, Any]) -> StoredFile:
    """A file whose content came inside the commit."""
    content = base64.b64decode(value["content"])
    if len(content) > REGULAR_FILE_LIMIT:
        raise RepositoryError(400, f"{value['path']} is larger than 10 MiB and must go through LFS")
    return StoredFile(content, is_lfs=False)


def sibling(path: str, stored: StoredFile, blobs: bool) -> dict[str, Any]:
    """A file as a repository's description lists it."""
    if not blobs:
        return {"rfilename": path}
    entry = {"rfilename": path, "size": stored.size, "blobId": stored.git_oid}
    if stored.is_lfs:
        entry["lfs"] = {"sha256": stored.sha256, "size": stored.size, "pointerSize": len(stored.pointer)}
    return entry


def tree_entries(commit: Commit, folder: str, recursive: bool) -> list[dict[str, Any]]:
    """Files and folders under `folder`, as the tree API lists them; an empty listing means no such folder."""
    prefix = f"{folder.rstrip('/')}/" if folder else ""
    files = {path: stored for path, stored in commit.files.items() if path.startswith(prefix)}
    if not files:
        raise RepositoryError(404, f"{folder} does not exist", "EntryNotFound")
    folders = {
        str(parent) for path in files for parent in PurePosixPath(path).parents if str(parent).startswith(prefix)
    }
    folders -= {"."}
    entries = [{"type": "directory", "path": path, "oid": tree_oid(commit, path), "size": 0} for path in folders]
    for path, stored in files.items():
        entry = {"type": "file", "path": path, "oid": stored.git_oid, "size": stored.size}
        if stored.is_lfs:
            entry["lfs"] = {"oid": stored.sha256, "size": stored.size, "pointerSize": len(stored.pointer)}
        entries.append(entry)
    shown = (entry for entry in entries if recursive or "/" not in entry["path"].removeprefix(prefix))
    return sorted(shown, key=lambda entry: entry["path"])


def tree_oid(commit: Commit, folder: str) -> str:
    """A folder's hash: it changes when a file inside does."""
    inside = (f"{path} {stored.git_oid}\n" for path, stored in commit.files.items() if path.startswith(f"{folder}/"))
    return hashlib.sha1("".join(inside).encode()).hexdigest()


def card_tags(card: dict[str, Any]) -> list[str]:
    """The tags that the Hub derives from a card and searches by."""

    def values(key: str) -> list[str]:
        value = card.get(key, [])
        return [str(each) for each in (value if isinstance(value, list) else [value])]

    relation = card.get("base_model_relation")
    tags = [*values("library_name"), *values("tags"), *values("pipeline_tag")]
    tags += [f"license:{each}" for each in values("license")] + [f"dataset:{each}" for each in values("datasets")]
    for base in values("base_model"):
        tags += [f"base_model:{base}", *([f"base_model:{relation}:{base}"] if relation else [])]
    return list(dict.fromkeys(tags))


def byte_range(header: str, size: int) -> tuple[int, int] | None:
    """Start and end (exclusive) of one `bytes=` range; None when it lies outside."""
    match = re.fullmatch(r"bytes=(\d*)-(\d*)", header)
    if match is None or not any(match.groups()):
        return None
    first, last = match.groups()
    if not first:  # the last so many bytes
        return (max(size - int(last), 0), size) if int(last) else None
    end = min(int(last) + 1, size) if last else size
    return (int(first), end) if int(first) < end else None
