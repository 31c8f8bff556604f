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
_MEASURES = {"run", "Config", "inputs", "SHARD_AXES"}
_AS_PROGRAM = "__name__ == '__main__'"
_WHOLE = "*"  # stands for all names of a module that is imported itself


def source_hash(experiment: str) -> str:
    """Hash of the experiment's measuring code and of every module of this project that it imports, however deep.

    Comments, docstrings, and what only claims, decisions and figures use do not count. Of the modules that counts which
    is taken from them, with all that it uses there; a name that a package hands on is taken from the module behind it.
    """
    main = ROOT / "experiments" / f"{experiment}.py"
    asked = {main: _MEASURES}  # what is imported from each file
    pending = [main]
    while pending:
        path = pending.pop()
        for module, names in _imported(_counting(path, asked[path])).items():
            if module not in asked or not names <= asked[module]:
                asked[module] = asked.get(module, set()) | names
                pending.append(module)
    texts = {path.relative_to(ROOT).as_posix(): _code(_counting(path, names)) for path, names in asked.items()}
    return sha256("\n".join(f"{name}\n{texts[name]}" for name in sorted(texts)))


def fingerprint() -> str:
    """Of all code of this project as it lies there now."""
    paths = [path for name in ("experiments", "imitation") for path in sorted((ROOT / name).rglob("*.py"))]
    return sha256("\n".join(f"{path}\n{path.read_text()}" for path in paths))


def _counting(path: Path, names: set[str]) -> ast.Module:
    """The part of a file that counts for the names asked for: what they reach, of a package's file their imports."""
    tree = ast.parse(path.read_text())
    if path.name == "__init__.py":
        tree.body = [one for statement in tree.body for one in _handed_on(statement, names)]
    elif _WHOLE not in names and path.parent != _FRAME:
        tree.body = _needed(tree.body, names)
    return tree


def _handed_on(statement: ast.stmt, names: set[str]) -> list[ast.stmt]:
    if _WHOLE in names:
        return [statement]
    if isinstance(statement, ast.ImportFrom):
        aliases = [alias for alias in statement.names if (alias.asname or alias.name) in names]
        return [ast.ImportFrom(statement.module, aliases, statement.level)] if aliases else []
    return [] if _defines(statement) == {"__all__"} else [statement]


def _needed(body: list[ast.stmt], names: set[str]) -> list[ast.stmt]:
    """The top-level statements that `names` reach through the names they use, and all that define no name.

    What a module does only as a program is not done by an import.
    """
    body = [one for one in body if not (isinstance(one, ast.If) and ast.unparse(one.test) == _AS_PROGRAM)]
    pending, reached = list(names), set()
    for statement in body:
        if not _defines(statement):
            pending += _used(statement)
    while pending:
        name = pending.pop()
        if name not in reached:
            reached.add(name)
            pending += [other for one in body if name in _defines(one) for other in _used(one)]
    return [_cut(statement, reached) for statement in body if not _defines(statement) or _defines(statement) & reached]


def _defines(statement: ast.stmt) -> set[str]:
    if isinstance(statement, ast.FunctionDef | ast.ClassDef):
        return {statement.name}
    if isinstance(statement, ast.Import | ast.ImportFrom):
        return {_bound(alias) for alias in statement.names}
    if isinstance(statement, ast.Assign):
        targets = statement.targets
    else:
        targets = [statement.target] if isinstance(statement, ast.AnnAssign | ast.AugAssign) else []
    return {node.id for target in targets for node in ast.walk(target) if isinstance(node, ast.Name)}


def _used(statement: ast.stmt) -> list[str]:
    return [node.id for node in ast.walk(statement) if isinstance(node, ast.Name)]


def _bound(alias: ast.alias) -> str:
    return alias.asname or alias.name.split(".")[0]


def _cut(statement: ast.stmt, reached: set[str]) -> ast.stmt:
    """The statement; of imports only what binds a name that is reached."""
    if isinstance(statement, ast.Import):
        return ast.Import([alias for alias in statement.names if _bound(alias) in reached])
    if isinstance(statement, ast.ImportFrom):
        aliases = [alias for alias in statement.names if _bound(alias) in reached]
        return ast.ImportFrom(statement.module, aliases, statement.level)
    return statement


def _code(tree: ast.Module) -> str:
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    return ast.unparse(tree)


def _imported(tree: ast.Module) -> dict[Path, set[str]]:
    """The project's files that a tree imports, each with the names that are taken from it."""
    found: dict[Path, set[str]] = {}
    for module, name, bound in _imports(tree):
        parts = module.split(".")
        if parts[0] not in ("imitation", "experiments"):
            continue
        for end in range(1, len(parts) + 1):
            folder = ROOT.joinpath(*parts[:end])
            whole = {name or _WHOLE} if end == len(parts) else set()
            for path in (folder.with_suffix(".py"), folder / "__init__.py"):
                if path.exists() and _counts(path):
                    found[path] = found.get(path, set()) | whole
        submodule = ROOT.joinpath(*parts, f"{name}.py")
        if submodule.exists() and _counts(submodule):
            found[submodule] = found.get(submodule, set()) | _taken(tree, bound)
        package = ROOT.joinpath(*parts, name, "__init__.py")
        if name and package.exists() and _counts(package):
            found[package] = found.get(package, set()) | _taken(tree, bound)
    return found


def _imports(tree: ast.Module) -> list[tuple[str, str, str]]:
    """(module, name, what it is called here) of each import; the name is empty where a module itself is imported."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [(alias.name, "", _bound(alias)) for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found += [(node.module, alias.name, _bound(alias)) for alias in node.names]
    return found


def _taken(tree: ast.Module, module: str) -> set[str]:
    """The attributes that a tree takes from a module that it imported; all, if it does something else with it.

    A package that only hands the module on does something else.
    """
    nodes = list(ast.walk(tree))
    mentions = [node for node in nodes if isinstance(node, ast.Name) and node.id == module]
    attributes = [one.attr for one in nodes if isinstance(one, ast.Attribute) and one.value in mentions]
    return set(attributes) if 0 < len(mentions) == len(attributes) else {_WHOLE}


def _counts(path: Path) -> bool:
    return path not in _SOURCES and (path.name in _COUNTS or path.parent != _FRAME)
