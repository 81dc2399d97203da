"""Build the documentation: `python docs/make_site.py` (or `make docs`) writes build/site/index.html.

The pages are the Markdown files of this folder, the contributor's guide, the changelog, and the tables and leaderboards
of results/. Blocks that are made from the code are filled in (see `blocks`), and links between files of the repository
become links between pages. Then MkDocs makes the site, without a network. A page, link or anchor that does not exist
is an error, and so is a page that would load anything from elsewhere.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from blocks import BLOCKS

ROOT = Path(__file__).parents[1]
MADE = re.compile(r"<!-- made: ([\w-]+) -->.*?<!-- /made -->", re.DOTALL)
LINK = re.compile(r"^```.*?^```|`[^`\n]*`|\]\((?!https?:|#)(?P<file>[^)#\s]+)", re.DOTALL | re.MULTILINE)
"""A link to a file; code is passed over."""
HREF = re.compile(r'href="(?P<file>[^":#]+)\.md(?P<anchor>#[^"]*)?"')
"""A link of an HTML page to a Markdown file."""
SHOWN = ("*.md", "*.ipynb", "*.css", "*.js", "images/*")
"""The files of this folder that are on the site."""
REMOTE = re.compile(r'<(?:script|img|link rel="(?:stylesheet|preconnect)")[^>]*?(?:src|href)="(https?:[^"]*)')
"""What a page would load from another place than the site."""


def main() -> int:
    """Build the site and return MkDocs' exit status."""
    pages = ROOT / "build/pages"
    shutil.rmtree(pages, ignore_errors=True)
    assemble(ROOT, pages)
    # Not --quiet: it hides the warnings that a strict build ends with.
    mkdocs = [sys.executable, "-m", "mkdocs", "build", "--config-file", str(ROOT / "docs/mkdocs.yml")]
    status = subprocess.run(mkdocs, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"}, check=False).returncode
    site = ROOT / "build/site"
    remote = {found for page in site.rglob("*.html") for found in REMOTE.findall(page.read_text(encoding="utf-8"))}
    if remote:
        print(f"the site loads from elsewhere: {', '.join(sorted(remote))}", file=sys.stderr)
        return 1
    if status == 0:
        print(f"documentation: {site / 'index.html'}")
    return status


def published(root: Path) -> dict[Path, Path]:
    """Return the files of the repository that the site shows, each with its place on the site."""
    docs = root / "docs"
    return {
        **{file: file.relative_to(docs) for kind in SHOWN for file in docs.glob(kind)},
        root / "CONTRIBUTING.md": Path("contributing.md"),
        root / "CHANGELOG.md": Path("changelog.md"),
        **{file: Path("results", f"{file.parent.name}.md") for file in root.glob("results/*/README.md")},
        **{
            file: Path("results", f"{file.parent.name}-{file.name}") for file in root.glob("results/*/leaderboard.html")
        },
    }


def assemble(root: Path, target: Path) -> None:
    """Write all that the site shows into `target`, which MkDocs reads.

    Raises ValueError where a page links to a file that is not on the site, or names a block that does not exist.
    """
    places = published(root)
    for file, place in places.items():
        (target / place).parent.mkdir(parents=True, exist_ok=True)
        if file.suffix == ".md":
            text = _turn_links(file.read_text(encoding="utf-8"), file, places)
            (target / place).write_text(MADE.sub(_made, text), encoding="utf-8")
        elif file.suffix == ".html":
            text = _turn_hrefs(file.read_text(encoding="utf-8"), file, places)
            (target / place).write_text(text, encoding="utf-8")
        else:
            shutil.copyfile(file, target / place)


def _made(block: re.Match[str]) -> str:
    if block[1] not in BLOCKS:
        raise ValueError(f"block {block[1]!r} is unknown; expected one of {', '.join(BLOCKS)}")
    return BLOCKS[block[1]]()


def _turn_links(text: str, file: Path, places: dict[Path, Path]) -> str:
    """Return a page's text with links to files of the repository turned into links to their places on the site."""

    def turn(link: re.Match[str]) -> str:
        return link[0] if link["file"] is None else "](" + _place(link["file"], file, places).as_posix()

    return LINK.sub(turn, text)


def _turn_hrefs(text: str, file: Path, places: dict[Path, Path]) -> str:
    """Return an HTML page's text with links to Markdown files turned into links to the pages made of them."""

    def turn(link: re.Match[str]) -> str:
        place = _place(f"{link['file']}.md", file, places).with_suffix(".html")
        return f'href="{place.as_posix()}{link["anchor"] or ""}"'

    return HREF.sub(turn, text)


def _place(link: str, file: Path, places: dict[Path, Path]) -> Path:
    """Return where a link from one file to another leads on the site, relative to the first one's place there."""
    linked = Path(os.path.normpath(file.parent / link))
    if linked not in places:
        raise ValueError(f"{file.name} links to {link}, which is no page of the site")
    return Path(os.path.relpath(places[linked], places[file].parent))


if __name__ == "__main__":
    sys.exit(main())
