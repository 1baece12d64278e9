"""What must not be published: tokens, keys, and paths of the machine that the files come from."""

import json
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from huggingface_hub import get_token

# A file's name is enough: it is left behind, whatever is in it.
SECRET_NAMES = re.compile(
    r"\.env(\..*)?|.*\.(pem|key|p12|pfx|keystore)|id_(rsa|dsa|ecdsa|ed25519).*|\.netrc|\.git-credentials|\.npmrc|\.pypirc"
    r"|token|stored_tokens|credentials(\.json)?|secrets?(\..*)?",
    re.IGNORECASE,
)
_SECRETS = {
    "a token of the Hub": rb"(?<![A-Za-z0-9_])(?:hf|api_org)_[A-Za-z0-9]{16,}",
    "a private key": rb"-----BEGIN [A-Z ]*PRIVATE KEY",
    "an AWS key": rb"(?<![A-Za-z0-9])(?:AKIA|ASIA)[A-Z0-9]{16}(?![A-Za-z0-9])",
    "a GitHub token": rb"(?<![A-Za-z0-9_])(?:gh[pousr]_[A-Za-z0-9]{30,}|github_pat_[A-Za-z0-9_]{30,})",
    "a GitLab token": rb"(?<![A-Za-z0-9_-])glpat-[A-Za-z0-9_-]{20,}",
    "a Slack token": rb"(?<![A-Za-z0-9_-])xox[abeprs]-[A-Za-z0-9-]{16,}",
    "a token of a package index": rb"(?<![A-Za-z0-9_-])(?:npm_[A-Za-z0-9]{30,}|pypi-AgE[A-Za-z0-9_-]{20,})",
    "a Docker token": rb"(?<![A-Za-z0-9_-])dckr_pat_[A-Za-z0-9_-]{20,}",
    "an API key": rb"(?<![A-Za-z0-9_-])(?:sk-[A-Za-z0-9_-]{20,}|[sr]k_live_[A-Za-z0-9]{16,}|AIza[A-Za-z0-9_-]{30,})",
    "a signed token": rb"(?<![A-Za-z0-9_-])eyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}",
    "a password in an address": rb"://[\w.+%-]{1,64}:(?![*x]+@)[\w.!$&'()*+,;=%~-]{3,128}@[\w\[]",
    # By the name before it: `WANDB_API_KEY=...`, `"password": "..."`, `Authorization: Bearer ...`. It has a letter and
    # a digit, so that a variable, a word or dots in its place are none.
    "a key or a password": rb"(?i)(?:(?:api|account)_?key|secret(?:_(?:access_)?key)?|passw(?:or)?d|_token|\bbearer)"
    rb"[\"']?(?:\s*[:=]\s*|\s+)[\"']?(?=[^\s\"']*[0-9])(?=[^\s\"']*[a-z])[\w/+-]{12,}={0,2}(?![\w(.\[])",
}
# Of a large file (weights, a clip) secrets are looked for at its start, where metadata stand.
_LARGEST_SEARCHED = 16 * 2**20
# Two parts at least: a lone "/" or "/s" is text. Not within a URL.
_PATH = re.compile(
    r"""(?<![\w./\\~-])(?:file:(?://)?)?
    (?: ~?/(?:[^/\s"'<>|*?:,;=]+/)+[^/\s"'<>|*?:,;=]*   # /home/me/model, ~/models/mine
      | [A-Za-z]:[\\/](?:[^\\/\s"'<>|*?:,;=]+[\\/])*[^\\/\s"'<>|*?:,;=]+ )   # C:\\Users\\me""",
    re.VERBOSE,
)
# In text that people write only what names a person: other paths may well be examples.
_HOME = re.compile(r"""(?i)(?<![\w.-])(?:/home|/Users|[a-z]:[\\/]+Users)[\\/]+[^\s\\/"'<>$*{]+[\\/]+[^\s\\/]""")
_PROSE = (".md", ".txt", ".csv", ".yaml")
# Their strings are tokens of text, some of which look like paths.
_VOCABULARIES = ("tokenizer.json", "vocab.json", "added_tokens.json", "special_tokens_map.json", "merges.txt")


def check_publishable(folder: Path) -> None:
    """
    Looks through all files below a folder that is about to be published.

    Raises:
        ValueError: one holds a secret, or, in JSON, a path of this machine, or, in other text, a path below a person's
            home, or is no JSON though its name says so; the message names file and place.
    """
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        name = path.relative_to(folder).as_posix()
        with path.open("rb") as file:
            content = file.read(_LARGEST_SEARCHED)
        _refuse_secrets(content, name)
        if path.suffix == ".json":
            _check_json(path, name)
        elif path.suffix in _PROSE and path.name not in _VOCABULARIES:
            _refuse_homes(content.decode("utf-8", errors="replace"), name)


def check_rows(rows: list[dict[str, Any]], name: str) -> None:
    """
    Looks through rows of a table, whose file may be compressed.

    Raises:
        ValueError: as [`check_publishable`].
    """
    for number, row in enumerate(rows):
        _refuse_secrets(json.dumps(row, default=str, ensure_ascii=False).encode(), f"{name}, row {number + 1}")


def without_paths(value: Any) -> Any:
    """The same text, or JSON, with the last part of each path of this machine in its place."""
    if isinstance(value, str):
        return _last_part(value) if _is_path(value) else _PATH.sub(lambda match: _last_part(match[0]), value)
    return _map_values(value, without_paths)


def _map_values(value: Any, change: Callable[[Any], Any]) -> Any:
    if isinstance(value, dict):
        return {change(key): change(item) for key, item in value.items()}
    return [change(item) for item in value] if isinstance(value, list) else value


def _refuse_secrets(content: bytes, name: str) -> None:
    own = get_token()
    kinds = {**_SECRETS, "your own token of the Hub": re.escape((own or "").encode())} if own else _SECRETS
    for kind, pattern in kinds.items():
        match = re.search(pattern, content)
        if match:
            line = content.count(b"\n", 0, match.start()) + 1
            raise ValueError(
                f"{name}, line {line}: holds {kind} ({match[0][:6].decode(errors='replace')}...), which must not be "
                "published. Remove it, and revoke it if others may have seen it."
            )


def _refuse_homes(text: str, name: str) -> None:
    match = _HOME.search(text)
    if match:
        line = text.count("\n", 0, match.start()) + 1
        raise ValueError(
            f"{name}, line {line}: holds {match[0]!r}, a path below a person's home, which may tell what is none of "
            "others' business. Put a file's name or a path such as path/to/video.mp4 in its place."
        )


def _check_json(path: Path, name: str) -> None:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        plain = json.dumps(content, indent=1, ensure_ascii=False)  # without the escapes that hide a text from a search
        texts = [] if path.name in _VOCABULARIES else list(_texts(content))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{name}: is no JSON ({error})") from error
    _refuse_secrets(plain.encode(errors="replace"), name)
    for place, text in texts:
        found = text if _is_path(text) else next((match[0] for match in _PATH.finditer(text)), None)
        if found is not None:
            raise ValueError(
                f"{name}: {place} is {found!r}, a path of this machine, which is of no use to others and may tell "
                "what is none of their business. Put a Hub id or a file's name in its place."
            )


def _texts(value: Any, place: str = "") -> Iterator[tuple[str, str]]:
    """Each text in JSON, keys too, and where it stands: `quantization.bits`, `labels[3]`."""
    if isinstance(value, str):
        yield place or "its content", value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield f"a key of {place or 'the file'}", key
            yield from _texts(item, f"{place}.{key}" if place else key)
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from _texts(item, f"{place}[{number}]")


def _is_path(text: str) -> bool:
    """Whether the whole text is a path, which may then have blanks in it."""
    is_absolute = re.match(r"(file://)?(~?/[^/\s][^/]*/.|[A-Za-z]:[\\/].|\\\\[^\\])", text) is not None
    return is_absolute and "\n" not in text and len(text) < 4096


def _last_part(path: str) -> str:
    parts = [part for part in re.split(r"[\\/]+", path) if part]
    return parts[-1] if parts else os.curdir


__all__ = ["SECRET_NAMES", "check_publishable", "without_paths"]
