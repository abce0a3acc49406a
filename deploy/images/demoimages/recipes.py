"""The demo images: which packages, which of their files, what is added, and how the image is run."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any

from demoimages.layers import Directory, Entry, File

NOBODY, REDIS = 65534, 999


@dataclass(frozen=True, slots=True)
class Recipe:
    name: str
    packages: tuple[str, ...]  # the first one's version becomes a tag
    keep: tuple[str, ...]  # glob patterns in the packages' files; libraries come by themselves
    drop: tuple[str, ...] = ()
    added: Mapping[str, Entry] = field(default_factory=dict)
    compiled: str | None = None  # a directory of Python modules to compile, by the image's own interpreter
    config: Mapping[str, Any] = field(default_factory=dict)


def _content(name: str, mode: int = 0o644) -> File:
    return File((files("demoimages") / "content" / name).read_bytes(), mode)


_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

# Below every image: a shell and its tools, users, and the directories that programs expect. All images share the layer.
BASE = Recipe(
    name="busybox",
    packages=("busybox-static",),
    keep=("bin/busybox",),
    added={
        "etc/passwd": _content("passwd"),
        "etc/group": _content("group"),
        "dev": Directory(),
        "home": Directory(),
        "proc": Directory(),
        "root": Directory(0o700),
        "run": Directory(),
        "sys": Directory(),
        "tmp": Directory(0o1777),
        "var/log": Directory(),
    },
    config={"Env": [_PATH], "Cmd": ["sh"]},
)

_LIBC = ("libc6",)

NGINX = Recipe(
    name="nginx",
    packages=("nginx", "nginx-common", "libcrypt1", "libpcre2-8-0", "libssl3", "zlib1g", *_LIBC),
    keep=("usr/sbin/nginx", "etc/nginx/mime.types"),
    added={
        "etc/nginx/nginx.conf": _content("nginx.conf"),
        "usr/share/nginx/html/index.html": _content("index.html"),
        "var/lib/nginx": Directory(),
        "var/log/nginx": Directory(),
    },
    config={
        "Env": [_PATH],
        "Entrypoint": ["/usr/sbin/nginx", "-e", "stderr"],
        "Cmd": ["-g", "daemon off;"],
        "ExposedPorts": {"80/tcp": {}},
        "StopSignal": "SIGQUIT",
    },
)

REDIS_SERVER = Recipe(
    name="redis",
    packages=(
        "redis-tools",
        "libatomic1",
        "libcap2",
        "libgcc-s1",
        "libgcrypt20",
        "libgpg-error0",
        "libjemalloc2",
        "liblz4-1",
        "liblzf1",
        "liblzma5",
        "libssl3",
        "libstdc++6",
        "libsystemd0",
        "libzstd1",
        *_LIBC,
        "redis-server",
    ),
    keep=("usr/bin/redis-server", "usr/bin/redis-check-rdb", "usr/bin/redis-cli"),
    added={"etc/redis/redis.conf": _content("redis.conf"), "data": Directory(owner=REDIS)},
    config={
        "Env": [_PATH],
        "Cmd": ["/usr/bin/redis-server", "/etc/redis/redis.conf"],
        "ExposedPorts": {"6379/tcp": {}},
        "User": f"{REDIS}:{REDIS}",
        "WorkingDir": "/data",
    },
)

ECHO = Recipe(
    name="echo",
    packages=("python3.11-minimal", "libpython3.11-minimal", "libexpat1", "libssl3", "zlib1g", *_LIBC),
    keep=("usr/bin/python3.11", "usr/lib/python3.11"),  # with ssl, so that a pod's script can ask the API
    drop=("usr/lib/python3.11/sitecustomize.py",),  # it needs /etc
    added={"srv/echo.py": _content("echo.py", 0o755)},
    compiled="usr/lib/python3.11",
    config={
        "Env": [_PATH, "PORT=8080"],
        "Entrypoint": ["/usr/bin/python3.11", "-I", "-S", "-u", "/srv/echo.py"],
        "ExposedPorts": {"8080/tcp": {}},
        "User": f"{NOBODY}:{NOBODY}",
        "WorkingDir": "/srv",
    },
)

RECIPES = (BASE, NGINX, REDIS_SERVER, ECHO)
