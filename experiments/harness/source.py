"""Which source code a measurement depends on, as one hash."""

import ast
from pathlib import Path

from experiments.harness.catalogue import ROOT, SOURCES
from experiments.harness.files import sha256

# The frame around a measurement does not change the numbers in metrics.csv, but for what it hands to `run` and writes.
_FRAME = ROOT / "experiments" / "harness"
_COUNTS = ("context.py", "frames.py")
_SOURCES = [ROOT / "experiments" / name / "__init__.py" for name in SOURCES]  # what the documents are
# Of an experiment's file only what these need counts: not its claims, decisions and figure, which read the frame.
_MEASURES = ("run", "Config", "inputs", "SHARD_AXES")


def source_hash(experiment: str) -> str:
    """Hash of the experiment's measuring code and of every module of this project that it imports, however deep.

    Comments, docstrings, and what only claims, decisions and figures use do not count.
    """
    main = ROOT / "experiments" / f"{experiment}.py"
    pending, texts = [main], {}
    while pending:
        path = pending.pop()
        name = path.relative_to(ROOT).as_posix()
        if name not in texts and path not in _SOURCES and (path.name in _COUNTS or path.parent != _FRAME):
            tree = ast.parse(path.read_text())
            if path == main:
                tree.body = _needed(tree.body)
            texts[name] = _code(tree)
            pending += _imported(tree)
    return sha256("\n".join(f"{name}\n{texts[name]}" for name in sorted(texts)))


def _needed(body: list[ast.stmt]) -> list[ast.stmt]:
    """The top-level statements that `_MEASURES` reach through the names they use, and all that define no name."""
    pending, reached = list(_MEASURES), set()
    while pending:
        name = pending.pop()
        if name not in reached:
            reached.add(name)
            using = [statement for statement in body if name in _defines(statement)]
            pending += [node.id for one in using for node in ast.walk(one) if isinstance(node, ast.Name)]
    return [statement for statement in body if not _defines(statement) or _defines(statement) & reached]


def _defines(statement: ast.stmt) -> set[str]:
    if isinstance(statement, ast.FunctionDef | ast.ClassDef):
        return {statement.name}
    targets = statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, "target", None)]
    return {node.id for target in targets if target for node in ast.walk(target) if isinstance(node, ast.Name)}


def _code(tree: ast.Module) -> str:
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    return ast.unparse(tree)


def _imported(tree: ast.Module) -> list[Path]:
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    ours = {name for name in names if name.split(".")[0] in ("imitation", "experiments")}
    parts = {tuple(name.split(".")[: end + 1]) for name in ours for end in range(name.count(".") + 1)}
    paths = [ROOT.joinpath(*part).with_suffix(".py") for part in parts]
    paths += [ROOT.joinpath(*part, "__init__.py") for part in parts]
    return [path for path in paths if path.exists()]
