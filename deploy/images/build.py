"""`python deploy/images/build.py build/images`: makes the demo images as OCI layouts, one directory each."""

import argparse
import sys
from pathlib import Path

from demoimages.building import build
from demoimages.errors import ImagesError


def main() -> None:
    parser = argparse.ArgumentParser(description="Builds the demo images from Debian packages.")
    parser.add_argument("output", type=Path, help="directory of the images: build/images")
    output = parser.parse_args().output.resolve()
    output.mkdir(parents=True, exist_ok=True)
    try:
        build(output, lambda line: print(line, flush=True))
    except ImagesError as error:
        sys.exit(f"images: {error}")


if __name__ == "__main__":
    main()
