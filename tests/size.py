"""How large the tree is: ``python -m tests.size [COMMIT]``, this checkout where no commit is named.

Counted are lines of .py and .lua with code on them; blank ones, comments and docstrings are not code.
"""

import ast
import io
import subprocess
import sys
import tokenize
from collections import Counter
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
APART: Final = ("benchmarks", "tests")
_SILENT: Final = frozenset(
    {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}
)


def code_lines(name: str, text: str) -> int:
    """How many lines of a file have code on them."""
    if name.endswith(".lua"):
        return sum(bool(line.strip()) and not line.strip().startswith("--") for line in text.splitlines())
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    lines = {
        line
        for token in tokens
        if token.type not in _SILENT
        for line in range(token.start[0], token.end[0] + 1)
    }
    return len(lines - _docstring_lines(ast.parse(text)))


def _docstring_lines(tree: ast.Module) -> set[int]:
    """Strings that stand alone: docstrings of modules, classes, functions and constants."""
    return {
        line
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and node.value.value is not ...
        for line in range(node.lineno, (node.end_lineno or node.lineno) + 1)
    }


def sizes(commit: str | None = None) -> Counter[str]:
    """Lines of code by top-level package."""
    where = ["ls-tree", "-r", "--name-only", commit] if commit else ["ls-files"]
    found: Counter[str] = Counter()
    for name in _git(*where).splitlines():
        if name.endswith((".py", ".lua")) and "/" in name and (commit or (ROOT / name).is_file()):
            text = _git("show", f"{commit}:{name}") if commit else (ROOT / name).read_text(encoding="utf-8")
            found[name.partition("/")[0]] += code_lines(name, text)
    return found


def _git(*words: str) -> str:
    return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=True).stdout


def main() -> None:
    """Prints the table."""
    found = sizes(*sys.argv[1:2])
    product = {package: lines for package, lines in found.items() if package not in APART}
    rows = [*sorted(product.items()), ("product", sum(product.values()))]
    rows += [(package, found[package]) for package in APART]
    for package, lines in rows:
        sys.stdout.write(f"{package:<18}{lines:>7,}\n")


if __name__ == "__main__":
    main()
