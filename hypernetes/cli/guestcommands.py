"""`hn guest`: what pods' machines boot."""

import time
from pathlib import Path

import click

from hypernetes.guest.commands import BuildError
from hypernetes.guest.smallkernel import SmallKernelBuild, default_jobs


@click.group()
def guest() -> None:
    """What pods' machines boot."""


@guest.command("build-kernel")
@click.argument("directory", type=click.Path(path_type=Path, file_okay=False))
@click.option("--work", type=click.Path(path_type=Path, file_okay=False), help="Source and objects; DIRECTORY/work.")
@click.option("--jobs", type=click.IntRange(min=1), default=default_jobs, show_default="processors")
def build_kernel(directory: Path, work: Path | None, jobs: int) -> None:
    """Compile the small kernel from Debian's source, and make of it a guest in DIRECTORY for `hn up --guest`.

    It takes some twelve minutes of a processor. What is interrupted goes on when it is run again."""
    started = time.monotonic()

    def progress(line: str) -> None:
        click.echo(f"guest: {line} ({time.monotonic() - started:.0f} s)")

    try:
        SmallKernelBuild(directory.absolute(), (work or directory / "work").absolute(), jobs, progress).run()
    except BuildError as error:
        raise click.ClickException(str(error)) from error
    progress(f"ready; `hn up --guest {directory}` uses it")
