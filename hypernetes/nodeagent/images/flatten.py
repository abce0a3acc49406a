"""`python -m hypernetes.nodeagent.images.flatten`: an image's layers to one squashfs, in a process of its own.

Layers are a stranger's bytes: this process has its memory and the size of its files limited, and if it dies, a pull has
failed and nothing else. Arguments come as JSON on stdin, the result goes as JSON to stdout:
{"layers": [{"path", "compression", "diffID"}], "output", "maxBytes"} → {"files": {"etc/passwd": text, …}}, or
{"error": text}
"""

import contextlib
import gzip
import hashlib
import json
import resource
import subprocess
import sys
import tarfile
import zlib
from pathlib import Path
from typing import IO, Any

import zstandard

from hypernetes.nodeagent.images import layers

MEMORY_BYTES = 2 << 30
_CHUNK_BYTES = 1 << 20
# What the agent wants to know of an image without mounting it: who is `user: nginx`?
_WANTED_FILES = ("etc/passwd", "etc/group")
_MAX_WANTED_BYTES = 1 << 20


def flatten(request: dict[str, Any]) -> dict[str, Any]:
    """Raises LayerError; OSError where the disk is full."""
    tree = layers.Tree(max_content_bytes=request["maxBytes"])
    with contextlib.ExitStack() as stack:
        archives = []
        left = request["maxBytes"]
        for index, layer in enumerate(request["layers"]):
            raw = Path(layer["path"] + ".tar")
            left -= unpack(Path(layer["path"]), raw, layer["compression"], layer["diffID"], left)
            archive = stack.enter_context(_open(raw, index))
            tree.apply(index, archive)
            archives.append(archive)
        _squash(tree, archives, request["output"])
        return {"files": {name: text for name in _WANTED_FILES if (text := _content(tree, archives, name)) is not None}}


def unpack(source: Path, target: Path, compression: str, diff_id: str, limit: int) -> int:
    """Decompresses a layer and verifies what comes out; its length. Raises LayerError."""
    hasher, total = hashlib.sha256(), 0
    try:
        with source.open("rb") as compressed, _reader(compressed, compression) as reader, target.open("wb") as output:
            while chunk := reader.read(_CHUNK_BYTES):
                total += len(chunk)
                if total > limit:
                    raise layers.LayerError(f"the image unpacks to more than the {limit >> 20} MiB allowed")
                hasher.update(chunk)
                output.write(chunk)
    except (gzip.BadGzipFile, zlib.error, zstandard.ZstdError, EOFError) as error:
        raise layers.LayerError(f"a layer is not valid {compression}: {error}") from error
    if diff_id and f"sha256:{hasher.hexdigest()}" != diff_id:
        raise layers.LayerError(f"a layer unpacks to sha256:{hasher.hexdigest()}, the image says {diff_id}")
    source.unlink()
    return total


def _reader(file: IO[bytes], compression: str) -> Any:
    if compression == "gzip":
        return gzip.GzipFile(fileobj=file)
    if compression == "zstd":
        return zstandard.ZstdDecompressor(max_window_size=128 << 20).stream_reader(file, read_across_frames=True)
    return contextlib.nullcontext(file)


def _open(path: Path, index: int) -> tarfile.TarFile:
    try:
        return tarfile.open(path, "r:", errors="surrogateescape")
    except tarfile.ReadError as error:
        if path.stat().st_size == 0:
            raise layers.LayerError(f"layer {index + 1} is empty") from error
        raise layers.LayerError(f"layer {index + 1} is not a tar archive") from error


def _squash(tree: layers.Tree, archives: list[tarfile.TarFile], output: str) -> None:
    command = ["tar2sqfs", "--quiet", "--force", "--no-skip", "--compressor", "lz4", "--num-jobs", "1", output]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stderr is not None
        broken = False
        try:
            layers.write(tree, archives, process.stdin)
        except BrokenPipeError:
            broken = True
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()
        complaint = process.stderr.read(4096).decode(errors="replace").strip()
    if process.returncode or broken:
        raise layers.LayerError(f"the image can't be stored: {complaint or 'tar2sqfs ended early'}")


def _content(tree: layers.Tree, archives: list[tarfile.TarFile], name: str) -> str | None:
    node = tree.find(name.split("/"))
    if node is None or node.header is None or not node.header.isreg():
        return None
    file = archives[node.layer].extractfile(node.header)
    return file.read(_MAX_WANTED_BYTES).decode(errors="replace") if file else None


def main() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    try:
        result = flatten(json.load(sys.stdin))
    except layers.LayerError as error:
        result = {"error": str(error)}
    except MemoryError:
        result = {"error": "the image's headers need more memory than a pull may take"}
    except RecursionError:
        result = {"error": "the image's headers are nested too deep"}
    except OSError as error:
        result = {"error": f"the node can't store the image: {error.strerror or error}"}
    json.dump(result, sys.stdout)


if __name__ == "__main__":
    main()
