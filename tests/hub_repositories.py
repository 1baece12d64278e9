"""What the Hub's stand-in stores: repositories as chains of immutable commits, with branches and tags.

A repository knows nothing of HTTP. `tests/hub_server.py` speaks the Hub's API over it.
"""

import fnmatch
import hashlib
from dataclasses import dataclass, field
from datetime import datetime, timezone
from functools import cached_property

import yaml

REGULAR_FILE_LIMIT = 10 * 1024 * 1024  # bytes; the Hub takes larger files through LFS only
LFS_PATTERNS = ("*.arrow", "*.bin", "*.mp4", "*.npz", "*.onnx", "*.parquet", "*.pt", "*.pth", "*.safetensors", "*.zip")
GIT_ATTRIBUTES = "".join(f"{pattern} filter=lfs diff=lfs merge=lfs -text\n" for pattern in LFS_PATTERNS)


class RepositoryError(Exception):
    """A request that the repository refuses, with the Hub's HTTP status and `X-Error-Code`."""

    def __init__(self, status: int, message: str, code: str | None = None):
        super().__init__(message)
        self.status = status
        self.message = message
        self.code = code


@dataclass(frozen=True)
class StoredFile:
    """One version of one file. In git an LFS file is a short pointer; its content lies elsewhere."""

    content: bytes
    is_lfs: bool

    @cached_property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()

    @cached_property
    def pointer(self) -> bytes:
        return f"version https://git-lfs.github.com/spec/v1\noid sha256:{self.sha256}\nsize {self.size}\n".encode()

    @cached_property
    def git_oid(self) -> str:
        blob = self.pointer if self.is_lfs else self.content
        return hashlib.sha1(b"blob %d\x00" % len(blob) + blob).hexdigest()

    @property
    def size(self) -> int:
        return len(self.content)

    @property
    def etag(self) -> str:
        return self.sha256 if self.is_lfs else self.git_oid


@dataclass(frozen=True)
class Commit:
    """A whole tree of files (path -> file) and how it came about."""

    oid: str
    parent: str | None
    title: str
    description: str
    author: str
    date: str
    files: dict[str, StoredFile]


@dataclass(frozen=True)
class Changes:
    """What one commit does to its parent's tree: delete first, then add."""

    title: str
    description: str = ""
    parent_commit: str | None = None
    added: dict[str, StoredFile] = field(default_factory=dict)
    deleted_files: tuple[str, ...] = ()
    deleted_folders: tuple[str, ...] = ()


class Repository:
    """A model, dataset or Space. A new one has one commit, with the Hub's `.gitattributes`."""

    def __init__(self, repo_type: str, repo_id: str, author: str, private: bool = False, sdk: str | None = None):
        self.repo_type = repo_type
        self.repo_id = repo_id
        self.private = private
        self.sdk = sdk
        self.created_at = timestamp()
        self.commits: dict[str, Commit] = {}
        self.branches: dict[str, str] = {}
        self.tags: dict[str, str] = {}
        self.pull_requests: dict[int, str] = {}
        attributes = StoredFile(GIT_ATTRIBUTES.encode(), is_lfs=False)
        self._append("main", None, Changes("initial commit", added={".gitattributes": attributes}), author)

    def resolve(self, revision: str) -> Commit:
        """The commit of a branch, tag, pull request (`refs/pr/1`) or commit hash."""
        pulls = {f"refs/pr/{number}": oid for number, oid in self.pull_requests.items()}
        names = {**pulls, **self.tags, **self.branches}
        oid = names.get(revision.removeprefix("refs/heads/").removeprefix("refs/tags/"), revision)
        if oid not in self.commits:
            raise RepositoryError(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        return self.commits[oid]

    def file(self, revision: str, path: str) -> StoredFile:
        """One file at a revision."""
        files = self.resolve(revision).files
        if path not in files:
            raise RepositoryError(404, "Entry not found", "EntryNotFound")
        return files[path]

    def files(self, revision: str = "main") -> dict[str, bytes]:
        """Every path's content at a revision, for tests to look at."""
        return {path: stored.content for path, stored in self.resolve(revision).files.items()}

    def history(self, revision: str = "main") -> list[Commit]:
        """Commits from a revision back to the first."""
        commit: Commit | None = self.resolve(revision)
        commits = []
        while commit is not None:
            commits.append(commit)
            commit = self.commits[commit.parent] if commit.parent else None
        return commits

    def commit(self, revision: str, changes: Changes, author: str) -> Commit:
        """Append to a branch; refused when the branch has moved on from `changes.parent_commit`."""
        branch = revision.removeprefix("refs/heads/")
        if branch not in self.branches:
            self._refuse_missing_branch(revision)
        head = self.branches[branch]
        if changes.parent_commit not in (None, head):
            raise RepositoryError(412, "A commit has happened since. Please refresh and try again.")
        return self._append(branch, self.commits[head], changes, author)

    def open_pull_request(self, revision: str, changes: Changes, author: str) -> tuple[int, Commit]:
        """The changes as a pull request on top of `parent_commit`, or of `revision`: its number and its commit."""
        base = self.resolve(changes.parent_commit or revision)
        commit = self._store(base, changes, author)
        number = len(self.pull_requests) + 1
        self.pull_requests[number] = commit.oid
        return number, commit

    def create_branch(self, name: str, starting_point: str) -> None:
        if name in self.branches:
            raise RepositoryError(409, f"Reference already exists: refs/heads/{name}")
        self.branches[name] = self.resolve(starting_point).oid

    def delete_branch(self, name: str) -> None:
        if name == "main":
            raise RepositoryError(403, "Cannot delete the main branch")
        if self.branches.pop(name, None) is None:
            raise RepositoryError(404, f"Invalid rev id: {name}", "RevisionNotFound")

    def create_tag(self, name: str, revision: str) -> None:
        if name in self.tags:
            raise RepositoryError(409, f"Tag reference exists already: refs/tags/{name}")
        self.tags[name] = self.resolve(revision).oid

    def delete_tag(self, name: str) -> None:
        if self.tags.pop(name, None) is None:
            raise RepositoryError(404, f"Invalid rev id: {name}", "RevisionNotFound")

    def wants_lfs(self, revision: str, path: str, size: int, sample: bytes) -> bool:
        """Whether a file goes through LFS: by `.gitattributes`, by size, or because it is not text."""
        attributes = self.resolve(revision).files.get(".gitattributes")
        lines = attributes.content.decode().splitlines() if attributes else []
        patterns = [line.split()[0] for line in lines if "filter=lfs" in line]
        name = path.rsplit("/", 1)[-1]
        return size > REGULAR_FILE_LIMIT or b"\0" in sample or any(fnmatch.fnmatch(name, each) for each in patterns)

    def card_data(self, commit: Commit) -> dict:
        """The metadata block of the card at a commit; empty when there is none."""
        readme = commit.files.get("README.md")
        block = front_matter(readme.content.decode()) if readme else None
        metadata = yaml.safe_load(block) if block else None
        return metadata if isinstance(metadata, dict) else {}

    def _refuse_missing_branch(self, revision: str) -> None:
        if revision in self.tags or revision in self.commits:
            raise RepositoryError(400, f"Cannot commit to {revision}: it is not a branch")
        raise RepositoryError(404, f"Invalid rev id: {revision}", "RevisionNotFound")

    def _append(self, branch: str, parent: Commit | None, changes: Changes, author: str) -> Commit:
        commit = self._store(parent, changes, author)
        self.branches[branch] = commit.oid
        return commit

    def _store(self, parent: Commit | None, changes: Changes, author: str) -> Commit:
        files = changed_tree(parent.files if parent else {}, changes)
        # The count keeps hashes apart where everything else is equal, as the date does in git.
        tree = "".join(f"{path} {stored.git_oid}\n" for path, stored in sorted(files.items()))
        parent_oid = parent.oid if parent else None
        key = f"{self.repo_type} {self.repo_id} {len(self.commits)} {parent_oid} {changes.title}\n{tree}"
        oid = hashlib.sha1(key.encode()).hexdigest()
        self.commits[oid] = Commit(
            oid, parent_oid, changes.title, changes.description, author, timestamp(), dict(sorted(files.items()))
        )
        return self.commits[oid]


def changed_tree(files: dict[str, StoredFile], changes: Changes) -> dict[str, StoredFile]:
    """The tree after the changes; what they delete must be there."""
    tree = dict(files)
    for path in changes.deleted_files:
        if tree.pop(path, None) is None:
            raise RepositoryError(404, f"A file with this name doesn't exist: {path}", "EntryNotFound")
    for folder in changes.deleted_folders:
        inside = [path for path in tree if path.startswith(folder.rstrip("/") + "/")]
        if not inside:
            raise RepositoryError(404, f"A folder with this name doesn't exist: {folder}", "EntryNotFound")
        for path in inside:
            del tree[path]
    return tree | changes.added


def front_matter(card: str) -> str | None:
    """The YAML between the two `---` lines that open a card, or None."""
    lines = card.lstrip("\ufeff").splitlines()
    if not lines or lines[0].strip() != "---":
        return None
    ends = (index for index, line in enumerate(lines[1:], start=1) if line.strip() == "---")
    end = next(ends, None)
    return None if end is None else "\n".join(lines[1:end])


def timestamp() -> str:
    """Now, in the one format that the Hub's client reads."""
    return datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
