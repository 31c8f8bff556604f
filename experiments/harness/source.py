"""Which source code a measurement depends on, as one hash."""

import ast
from pathlib import Path

from experiments.harness.catalogue import ROOT
from experiments.harness.files import sha256

# The frame around a measurement and how it is drawn and decided do not change the numbers in metrics.csv.
_FRAME = ROOT / "experiments" / "harness"
_READS_THE_FRAME = {"CLAIMS", "figure"}


def source_hash(experiment: str) -> str:
    """Hash of the experiment's measuring code and of every module of this project that it imports, however deep.

    Comments, docstrings, CLAIMS and `figure` do not count: they cannot change what is measured.
    """
    pending, texts = [ROOT / "experiments" / f"{experiment}.py"], {}
    while pending:
        path = pending.pop()
        name = path.relative_to(ROOT).as_posix()
        if name not in texts and _FRAME not in path.parents:
            tree = ast.parse(path.read_text())
            texts[name] = _code(tree)
            pending += _imported(tree)
    return sha256("\n".join(f"{name}\n{texts[name]}" for name in sorted(texts)))


def _code(tree: ast.Module) -> str:
    tree.body = [node for node in tree.body if not _names(node) & _READS_THE_FRAME]
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    return ast.unparse(tree)


def _names(node: ast.stmt) -> set[str]:
    if isinstance(node, ast.FunctionDef):
        return {node.name}
    targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
    return {target.id for target in targets if isinstance(target, ast.Name)}


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
