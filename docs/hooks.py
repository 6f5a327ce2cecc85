"""Pages of the docs site that are made from the code, so that they can't fall behind it."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import typer
from mkdocs.structure.files import File

from isometry import __all__ as public_names
from isometry.cli import app

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PACKAGE = ROOT / "src" / "isometry"
RESULTS = ROOT / "benchmarks" / "results" / "systems"
ROOMS = [name for name in public_names if (PACKAGE / name).is_dir() or (PACKAGE / f"{name}.py").is_file()]
COMMANDS_GO_HERE = "<!-- commands -->"


def on_config(config: Any) -> Any:
    """Build the navigation: fixed pages first, then what the folders hold."""
    systems = [f"systems/{name}.md" for name in sorted(_system_pages()) if name != "index"]
    config.nav = [
        {"Start": ["index.md", "quickstart.md", "cli.md", "measurements.md"]},
        {"Rooms": [*_pages_in("rooms"), *(f"reference/{room}.md" for room in ROOMS)]},
        {"Formats": _pages_in("formats")},
        {"Systems": ["systems/index.md", *systems]},
        {"Project": ["changelog.md", "contributing.md"]},
    ]
    config.nav = [entry for entry in config.nav if all(entry.values())]
    return config


def on_files(files: Any, config: Any) -> Any:
    """Add the generated pages."""
    pages = {f"reference/{room}.md": f"# isometry.{room}\n\n::: isometry.{room}\n" for room in ROOMS}
    pages |= {f"systems/{name}.md": text for name, text in _system_pages().items()}
    for name in ("changelog", "contributing"):
        pages[f"{name}.md"] = (ROOT / f"{name.upper()}.md").read_text(encoding="utf-8")
    for path, text in pages.items():
        files.append(File.generated(config, path, content=text))
    for picture in sorted(RESULTS.glob("*.png")):
        files.append(File.generated(config, f"systems/{picture.name}", abs_src_path=str(picture)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Put the list of commands where the command line page wants it."""
    return markdown.replace(COMMANDS_GO_HERE, commands_as_markdown())


def commands_as_markdown() -> str:
    """Describe every command with its arguments and options, from the program itself."""
    group: Any = typer.main.get_command(app)
    parts = []
    for name, command in group.commands.items():
        arguments = [each for each in command.params if each.param_type_name == "argument"]
        options = [each for each in command.params if each.param_type_name == "option"]
        words = " ".join(_argument(each) for each in arguments)
        parts.append(f"### {name}\n\n`isometry {name} {words}`".rstrip("` ") + "`\n")
        parts.append(f"{command.help}\n")
        rows = [(_argument(each), each.help or "", "") for each in arguments]
        rows += [(_option(each), each.help or "", _default(each)) for each in options]
        parts.append("| | | default |\n|---|---|---|")
        parts += [f"| `{name}` | {what} | {default} |" for name, what, default in rows]
        parts.append("")
    return "\n".join(parts)


def _argument(argument: Any) -> str:
    name = (argument.metavar or argument.name.upper()) + ("..." if argument.nargs == -1 else "")
    return name if argument.required else f"[{name}]"


def _option(option: Any) -> str:
    names = ", ".join(option.opts)
    return f"{names} {option.metavar or ''}".strip().replace("|", "\\|")


def _default(option: Any) -> str:
    if option.required:
        return "required"
    value = getattr(option.default, "value", option.default)
    return "" if value is None or value is False else f"`{value}`"


def _pages_in(folder: str) -> list[Any]:
    return [f"{folder}/{page.name}" for page in sorted((DOCS / folder).glob("*.md"))]


def _system_pages() -> dict[str, str]:
    """Markdown of every system's page by name, and of the list of systems as ``index``."""
    pages: dict[str, str] = importlib.import_module("isometry.systems.pages").all_pages(RESULTS)
    return pages
