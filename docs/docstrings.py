"""Docstrings for the site's reader, griffe: links in transformers' style become links of the site."""

import re
from typing import Any

import griffe

REFERENCE = re.compile(r"\[`([\w.]+)`\](?![\[(])")
ARGUMENT = re.compile(r"^( +[\w, ]+ \()(.*)(\):)", re.MULTILINE)


class DocstringsForTheSite(griffe.Extension):
    """
    Makes [`Name`] a link if an `__all__` of the package has `Name`, and code otherwise. Takes the marks out of the
    types of arguments, which are code already.
    """

    def on_package(self, *, pkg: griffe.Module, **kwargs: Any) -> None:
        public = {
            name: f"{module.path}.{name}"
            for module in _modules(pkg)
            for name in module.exports or ()
            if name not in module.modules  # a page shows the module, if it has one, in the place of the name
        }
        for item in _documented(pkg):
            text = REFERENCE.sub(lambda match: _link(match[1], public), item.docstring.value)
            item.docstring.value = ARGUMENT.sub(lambda match: match[1] + re.sub("[`*]", "", match[2]) + match[3], text)


def _modules(package: griffe.Module) -> list[griffe.Module]:
    """The package and those of its folders that have pages."""
    names = ("data", "training", "evaluation", "evaluation.metrics", "hub", "convert", "visualize")
    return [*(package[name] for name in names), package]


def _documented(item: griffe.Object) -> list[griffe.Object]:
    own = [member for member in item.members.values() if not member.is_alias]
    return [*([item] if item.docstring else []), *(found for member in own for found in _documented(member))]


def _link(name: str, public: dict[str, str]) -> str:
    owner, _, member = name.partition(".")
    if owner not in public:
        return f"`{name}`"
    return f"[`{name}`][{public[owner]}{'.' + member if member else ''}]"
