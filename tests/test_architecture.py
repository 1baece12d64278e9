"""The rules of the house: sizes of files, imports that run one way, public interfaces of torch, a clip's short way."""

import ast
import io
import sys
import tokenize
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
MODELING = REPOSITORY / "modeling"
PACKAGE = REPOSITORY / "vita_clip_hf"

MOST_LINES, MOST_LINES_IN_A_FILE = 3_046, 350
# The way in for files of strangers, and a second model, have budgets of their own.
VIDEO_INPUT, MOST_LINES_OF_VIDEO_INPUT = ("video_container", "video_source", "video_decoding", "video_reading"), 1_080
# A file may import only those that stand before it.
MODELING_ORDER = (
    "configuration",
    "layers",
    "vision",
    "labels",
    "text",
    "adapter_file",
    "stored_weights",
    "remote_code",
    "quantization",
    "checkpoint",
    "adapters",
    "video_container",
    "video_source",
    "video_decoding",
    "video_reading",
    "video_processing",
    "processing",
    "modeling",
    "cpu",
    "pipeline",
)
# A second model, over the same checkpoint files: beside the budget, and imported by no file of Vita-CLIP.
SECOND_MODEL = ("configuration_efficient_prompt", "modeling_efficient_prompt")
# A room may import only rooms on lines before its own.
ROOMS = (
    ("lazy_names", "modeling", "hub_cards", "text_files"),
    ("names", "exit_codes"),
    ("data",),
    ("models",),
    ("visualize",),
    ("hub", "convert"),
    ("evaluation",),
    ("training", "predict", "benchmark"),
    ("demo", "search", "evaluate", "app"),
    ("cli", "registration"),
    ("__init__",),
)
# Of torch's modules and tensors, whatever variable holds them.
PRIVATE_OF_TORCH = frozenset(
    (
        *("_apply", "_version", "_parameters", "_buffers", "_modules", "_call_impl", "_non_persistent_buffers_set"),
        *("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks", "_state_dict_hooks"),
        *("_load_from_state_dict", "_save_to_state_dict", "_load_state_dict_pre_hooks"),
        *("_register_state_dict_hook", "_register_load_state_dict_pre_hook"),
    )
)
FORBIDDEN_PREFIXES = ("torch.ops.mkldnn",)


# ---- sizes ----


def lines_of_code(source: str) -> int:
    """Lines with code on them: not blank, not only a comment, and not part of a docstring."""
    holders = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    docstrings: set[int] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, holders) and ast.get_docstring(node, clean=False) is not None:
            docstrings |= set(range(node.body[0].lineno, (node.body[0].end_lineno or 0) + 1))
    layout = (
        *(tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE),
        *(tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER),
    )
    code: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in layout:
            code |= set(range(token.start[0], token.end[0] + 1))
    return len(code - docstrings)


def test_lines_of_code_leave_out_docstrings_comments_and_blanks():
    source = (
        '"""Module."""\n\n# comment\nx = [  # one\n    1,\n]\n\ndef f():\n    """Two\n    lines."""\n    return x\n'
    )
    assert lines_of_code(source) == 5


def test_modeling_keeps_to_its_size():
    sizes = {path.name: lines_of_code(path.read_text(encoding="utf-8")) for path in MODELING.glob("*.py")}
    assert {name: size for name, size in sizes.items() if size > MOST_LINES_IN_A_FILE} == {}
    video_input = {name: size for name, size in sizes.items() if name.removesuffix("_vita_clip.py") in VIDEO_INPUT}
    assert sum(video_input.values()) <= MOST_LINES_OF_VIDEO_INPUT, video_input
    apart = {*video_input, *(f"{name}.py" for name in SECOND_MODEL)}
    counted = {name: size for name, size in sizes.items() if name not in apart}
    assert sum(counted.values()) <= MOST_LINES, counted


# ---- imports ----


def is_for_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def nodes_that_run(tree: ast.AST) -> Iterator[ast.AST]:
    """All nodes, in functions too, but not under `if TYPE_CHECKING:`."""
    for child in ast.iter_child_nodes(tree):
        if not is_for_type_checking(child):
            yield child
            yield from nodes_that_run(child)


def modules_of(folder: Path, package: str) -> dict[str, Path]:
    """Path by dotted name of each file below a folder."""
    found = {}
    for path in folder.rglob("*.py"):
        parts = [package, *path.relative_to(folder).with_suffix("").parts]
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def our_modules() -> dict[str, Path]:
    return {**modules_of(PACKAGE, "vita_clip_hf"), **modules_of(MODELING, "vita_clip_hf.modeling")}


def imports_of(name: str, path: Path, modules: dict[str, Path]) -> set[str]:
    """The modules of ours that a file imports, wherever it does."""
    package = name.split(".") if path.name == "__init__.py" else name.split(".")[:-1]
    found: set[str] = set()
    for node in nodes_that_run(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) + 1 - node.level] if node.level else []
            source = ".".join([*base, *([node.module] if node.module else [])])
            names = {f"{source}.{alias.name}" for alias in node.names}
            found |= {module for module in names if module in modules} or {source}
    return {module for module in found if module in modules and module != name}


def import_graph() -> dict[str, set[str]]:
    modules = our_modules()
    return {name: imports_of(name, path, modules) for name, path in modules.items()}


def room_of(module: str) -> str:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


def test_files_of_modeling_import_only_those_before_them():
    prefix = "vita_clip_hf.modeling."
    files = [*(f"{name}_vita_clip" for name in MODELING_ORDER), *SECOND_MODEL]
    ranks = {f"{prefix}{name}": rank for rank, name in enumerate(files)}
    graph = {name: imported for name, imported in import_graph().items() if name.startswith(prefix)}
    assert set(graph) - set(ranks) == set(), "these files have no place in MODELING_ORDER"
    climbing = {
        (name.removeprefix(prefix), other.removeprefix("vita_clip_hf."))
        for name, imported in graph.items()
        for other in imported
        if ranks.get(other, len(ranks)) >= ranks[name]
    }
    assert climbing == set()


def test_rooms_import_only_rooms_before_them():
    ranks = {room: rank for rank, rooms in enumerate(ROOMS) for room in rooms}
    graph = import_graph()
    assert {room_of(name) for name in graph} - set(ranks) == set(), "these rooms have no place in ROOMS"
    climbing = {
        (name, other)
        for name, imported in graph.items()
        for other in imported
        if room_of(name) != room_of(other) and ranks[room_of(other)] >= ranks[room_of(name)]
    }
    assert climbing == set()


def circle_in(graph: dict[str, set[str]]) -> list[str]:
    """The modules of one circle; none if there is no circle."""
    finished: set[str] = set()

    def visit(name: str, way: list[str]) -> list[str]:
        if name in way:
            return [*way[way.index(name) :], name]
        if name in finished:
            return []
        for other in sorted(graph[name]):
            circle = visit(other, [*way, name])
            if circle:
                return circle
        finished.add(name)
        return []

    return next((circle for name in sorted(graph) if (circle := visit(name, []))), [])


def test_a_circle_is_found():
    assert circle_in({"a": {"b"}, "b": {"c"}, "c": set()}) == []
    assert circle_in({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c", "b"]


def test_imports_have_no_circle():
    assert circle_in(import_graph()) == []


# ---- private names of torch ----


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def private_uses(source: str) -> list[tuple[int, str]]:
    """Line and name of each private name of torch that is used, overridden or asked for by a string."""
    tree = ast.parse(source)
    aliases: dict[str, str] = {}  # names of the file that stand for torch or a part of it
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imported = [(alias.name, alias.asname or alias.name.partition(".")[0]) for alias in node.names]
            aliases |= {
                bound: module if bound != module.partition(".")[0] else bound
                for module, bound in imported
                if module.partition(".")[0] == "torch"
            }
            names = [module for module, _ in imported]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            if node.module.partition(".")[0] == "torch":
                aliases |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
        else:
            continue
        found += [(node.lineno, name) for name in names if is_private_of_torch(name)]
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            name = dotted(node, aliases)
            if is_private_of_torch(name) or node.attr in PRIVATE_OF_TORCH:
                found.append((node.lineno, name or node.attr))
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.name in PRIVATE_OF_TORCH:
            found.append((node.lineno, node.name))
        elif isinstance(node, ast.Constant) and node.value in PRIVATE_OF_TORCH:
            found.append((node.lineno, repr(node.value)))
    return sorted(set(found))


def dotted(node: ast.Attribute, aliases: dict[str, str]) -> str:
    """`nn.functional.gelu` as "torch.nn.functional.gelu"; empty if it does not start from an import of torch."""
    parts = [node.attr]
    value = node.value
    while isinstance(value, ast.Attribute):
        parts.append(value.attr)
        value = value.value
    if not isinstance(value, ast.Name) or value.id not in aliases:
        return ""
    return ".".join([aliases[value.id], *reversed(parts)])


def is_private_of_torch(name: str) -> bool:
    parts = name.split(".")
    if parts[0] != "torch":
        return False
    return any(is_private(part) for part in parts) or name.startswith(FORBIDDEN_PREFIXES)


@pytest.mark.parametrize(
    "source",
    [
        "import torch\ntorch._C._get_tracing_state()",
        "import torch._dynamo",
        "from torch.utils import _python_dispatch",
        "from torch import nn as n\nn.modules.module._global_forward_hooks",
        "import torch.nn.functional as F\nF._canonical_mask",
        "import torch\ntorch.ops.mkldnn._linear_pointwise",
        "model._apply(f)",
        "class A:\n    def _load_from_state_dict(self): ...",
        "getattr(tensor, '_version')",
    ],
)
def test_private_names_of_torch_are_found(source):
    assert private_uses(source)


@pytest.mark.parametrize(
    "source",
    ["import torch\ntorch.__version__", "self._apply_prompts()", "import torch\nself._torch = torch.nn", "'torch._C'"],
)
def test_other_private_names_are_none_of_torchs(source):
    assert private_uses(source) == []


def test_no_private_name_of_torch_is_used():
    folders = ("modeling", "vita_clip_hf", "hub_cards", "examples", "benchmarks")
    found = {
        f"{path.relative_to(REPOSITORY)}:{line}: {name}"
        for folder in folders
        for path in (REPOSITORY / folder).rglob("*.py")
        for line, name in private_uses(path.read_text(encoding="utf-8"))
    }
    assert sorted(found) == []


# ---- the way of a clip and of a label ----


def files_entered(function: Callable[[], object]) -> set[str]:
    """The files of modeling/ whose functions run in a call, configuration apart."""
    entered: set[str] = set()

    def note(frame, event, argument):
        path = Path(frame.f_code.co_filename)
        if event == "call" and path.parent == MODELING:
            entered.add(path.stem.removesuffix("_vita_clip"))

    function()  # imports inside functions run here, and caches fill
    before = sys.getprofile()
    sys.setprofile(note)
    try:
        function()
    finally:
        sys.setprofile(before)
    return entered - {"configuration", "__init__"}


def test_a_clip_enters_seven_files(tmp_path):
    import torch
    from toy_checkpoint import toy_processor, write_rising_video
    from toy_vita_clip import toy_model

    video = write_rising_video(tmp_path / "video.mp4")
    model, processor = toy_model(), toy_processor().video_processor
    model.hold_class_features()

    @torch.no_grad()
    def forward():
        return model(**processor(str(video), return_tensors="pt"))

    reading = {"video_processing", "video_reading", "video_source", "video_container"}
    assert files_entered(forward) <= {*reading, "modeling", "vision", "layers"}


def test_a_label_enters_at_most_four_files():
    from toy_vita_clip import toy_model, toy_tokenizer
    from vita_clip_hf.modeling.labels_vita_clip import embed_labels

    model, tokenizer = toy_model(), toy_tokenizer()
    assert len(files_entered(model.hold_class_features)) <= 4
    by_templates = files_entered(lambda: embed_labels(model, tokenizer, ["swim"], ["a video of {}."]))
    assert "labels" in by_templates
    assert len(by_templates) <= 4
