"""Build the sdist and the wheel from the tracked files, and check what is in them.

python tools/build_dist.py [--out dist]

The page on PyPI has no files beside it. So its links lead to the repository that pyproject.toml
names (Repository under project.urls), and are plain words as long as it names none.
"""

import argparse
import re
import subprocess
import sys
import tarfile
import tomllib
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory
from zipfile import ZipFile

ROOT = Path(__file__).resolve().parents[1]
BESIDE = ("pyproject.toml", "MANIFEST.in", "README.md", "LICENSE", "CHANGELOG.md", "CITATION.cff")
PACKAGE = "src/prosopon/"

_IMAGE = re.compile(r"!\[([^\]]*)\]\((?!https?:)([^)]+)\)\n*")
_LINK = re.compile(r"(?<!!)\[([^\]]+)\]\((?!https?:|#)([^)]+)\)")


def main() -> None:
    """Build both, and stop with what is wrong in them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=ROOT / "dist", help="an empty or new folder")
    out: Path = parser.parse_args().out.resolve()
    if out.is_dir() and any(out.iterdir()):
        sys.exit(f"{out}: is not empty; remove it, or give another --out")
    files = tracked()
    with TemporaryDirectory() as name:
        tree, again = Path(name) / "prosopon", Path(name) / "again"
        stage(files, tree)
        build("--outdir", out, tree)  # the sdist, and the wheel out of it
        build("--outdir", again, "--wheel", tree)
        (sdist,), (wheel,) = out.glob("*.tar.gz"), out.glob("*.whl")
        (direct,) = again.glob("*.whl")
        wrong = check_wheel(wheel, files) + check_sdist(sdist, files)
        if contents(wheel) != contents(direct):
            wrong.append("the sdist makes another wheel than the tree")
    if wrong:
        sys.exit("\n".join(wrong))
    made = sorted(out.iterdir())
    subprocess.run([sys.executable, "-m", "twine", "check", "--strict", *made], check=True)
    for path in made:
        print(f"{path}: {path.stat().st_size / 1e6:.1f} MB")


def tracked() -> list[str]:
    """Return the files that git knows and a distribution is made of."""
    known = subprocess.run(
        ["git", "ls-files", "-z", *BESIDE, PACKAGE], cwd=ROOT, check=True, capture_output=True
    )
    return known.stdout.decode().rstrip("\0").split("\0")


def stage(files: Iterable[str], tree: Path) -> None:
    """Copy files into a folder, the README as PyPI can show it."""
    for name in files:
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_bytes((ROOT / name).read_bytes())
    readme = tree / "README.md"
    readme.write_text(readme_for_pypi(readme.read_text("utf-8"), repository()), "utf-8")


def repository() -> str | None:
    """Return the address of the repository, where pyproject.toml names one."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    address: str | None = project["urls"].get("Repository")
    return address


def readme_for_pypi(text: str, address: str | None) -> str:
    """Return the README with links into the repository, or as words where there is no address."""
    if address is None:
        return _LINK.sub(r"\1", _IMAGE.sub("", text))
    root = address.rstrip("/")
    text = _IMAGE.sub(lambda image: f"![{image[1]}]({root}/raw/HEAD/{image[2]})\n\n", text)
    return _LINK.sub(lambda link: f"[{link[1]}]({root}/blob/HEAD/{link[2]})", text)


def build(*words: str | Path) -> None:
    """Run ``python -m build``; what it prints is shown where it fails."""
    line = [sys.executable, "-m", "build", *map(str, words)]
    done = subprocess.run(line, check=False, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{done.stdout}{done.stderr}")


def contents(wheel: Path) -> dict[str, bytes]:
    """Return every file of a wheel; its list of files follows from the others."""
    with ZipFile(wheel) as file:
        return {name: file.read(name) for name in file.namelist() if not name.endswith("/RECORD")}


def check_wheel(wheel: Path, files: Iterable[str]) -> list[str]:
    """Return what a wheel lacks or should not hold: it holds the tracked files of the package."""
    wanted = {name.removeprefix("src/") for name in files if name.startswith(PACKAGE)}
    held = {name for name in contents(wheel) if ".dist-info/" not in name}
    return difference(wheel, wanted, held)


def check_sdist(sdist: Path, files: Iterable[str]) -> list[str]:
    """Return what an sdist lacks or should not hold, but for what setuptools writes."""
    with tarfile.open(sdist) as file:
        held = {m.name.partition("/")[2] for m in file.getmembers() if m.isfile()}
    made = {name for name in held if ".egg-info/" in name} | {"PKG-INFO", "setup.cfg"}
    return difference(sdist, set(files), held - made)


def difference(path: Path, wanted: set[str], held: set[str]) -> list[str]:
    """Say which files are missing and which are too many."""
    lines = [f"{path.name}: {name} is missing" for name in sorted(wanted - held)]
    return lines + [f"{path.name}: {name} does not belong there" for name in sorted(held - wanted)]


if __name__ == "__main__":
    main()
