"""What a command fails with, other than a bug."""

import click


class CommandError(click.ClickException):
    """One clear sentence for the user; exit code 1."""

    def show(self, file: object = None) -> None:
        click.echo(f"hn: {self.message}", err=True)
