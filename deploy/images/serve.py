"""`python deploy/images/serve.py build/images --detach`: serves the demo images from a registry on this machine.

--detach   starts the registry in the background unless one answers already, and pushes what it lacks
--status   says what is served; exit code 1 where nothing is
--stop     stops the registry that --detach started
(nothing)  the same in front, until Ctrl-C
"""

import argparse
import subprocess
import sys
from pathlib import Path

from demoimages import layout
from demoimages.errors import ImagesError
from demoimages.recipes import RECIPES
from demoimages.registry import Registry
from demoimages.server import Server


def push_all(images: Path, registry: Registry) -> None:
    for recipe in RECIPES:
        try:
            image, tags = layout.read(images / recipe.name)
        except (OSError, ValueError) as error:
            raise ImagesError(f"{images / recipe.name} is no image ({error}); run build.py first") from error
        sent = registry.push(recipe.name, image, tags)
        print(f"{registry.name}/{recipe.name}: {'pushed' if sent else 'is there'}, {image.digest}", flush=True)


def say_status(server: Server) -> None:
    """Raises ImagesError where no registry answers."""
    pid = server.pid()
    print(f"{server.registry.name}: " + (f"process {pid}" if pid else "not started from here"))
    for recipe in RECIPES:
        digest = server.registry.manifest_digest(recipe.name, "latest")
        print(f"{server.registry.name}/{recipe.name}: {digest or 'missing'}")


def serve_in_front(server: Server, images: Path) -> None:
    server.start()
    try:
        push_all(images, server.registry)
        print(f"serving {server.registry.name}; stop it with Ctrl-C", flush=True)
        if pid := server.pid():
            subprocess.run(["tail", "--pid", str(pid), "-f", str(server.log)], check=False)
    except KeyboardInterrupt:
        print("stopping", flush=True)
    finally:
        server.stop()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", type=Path, help="directory that build.py made: build/images")
    parser.add_argument("--storage", type=Path, help="the registry's directory (default: registry, beside the images)")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=5000)
    what = parser.add_mutually_exclusive_group()
    for name in ("detach", "stop", "status"):
        what.add_argument(f"--{name}", action="store_true")
    options = parser.parse_args()
    images = options.images.resolve()
    server = Server((options.storage or images.parent / "registry").resolve(), options.host, options.port)
    try:
        if options.status:
            say_status(server)
        elif options.stop:
            print("stopped" if server.stop() else "nothing to stop")
        elif options.detach:
            server.ensure()
            push_all(images, server.registry)
        else:
            serve_in_front(server, images)
    except ImagesError as error:
        sys.exit(f"images: {error}")


if __name__ == "__main__":
    main()
