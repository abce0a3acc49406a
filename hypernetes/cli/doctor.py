"""`hn doctor`: what is missing on this machine, and which accelerator pods will get, and why."""

import errno
import json
import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from hypernetes.cli import preflight
from hypernetes.providers.check import Finding

KUBECTL_OLDEST = (1, 28)  # older ones speak neither the discovery nor the streaming protocols we serve
_KVM = Path("/dev/kvm")
_TIMEOUT_SECONDS = 10.0


def examine(guest: Path, bind: str, port: int, kubectl: str) -> list[Finding]:
    """All findings; those that aren't good say what to do."""
    return [
        Finding("rights", os.geteuid() == 0, "root" if os.geteuid() == 0 else "not root: run hn with sudo"),
        *_tools(),
        _guest(guest),
        _port(bind, port),
        _kvm(),
        bridges(),
        _kubectl(kubectl),
    ]


def render(findings: Sequence[Finding]) -> str:
    width = max(len(finding.what) for finding in findings)
    return "\n".join(f"{'ok  ' if f.good else 'FAIL'}  {f.what.ljust(width)}  {f.text}" for f in findings)


def _tools() -> list[Finding]:
    path = preflight.search_path()
    findings = []
    for tool, package in preflight.TOOLS.items():
        found = shutil.which(tool, path=path)
        findings.append(Finding(tool, found is not None, found or f"missing: apt-get install {package}"))
    return findings


def _guest(guest: Path) -> Finding:
    built = (guest / "guest.json").is_file()
    return Finding("guest", built, str(guest) if built else f"{guest} holds none: run `make guest`")


def _port(bind: str, port: int) -> Finding:
    why = preflight.why_taken(bind, port)
    return Finding(f"port {port}", True, "free" if why is None else f"in use ({why}), perhaps by a cluster that is up")


def _kvm() -> Finding:
    """Opening the device is no proof that guests run under it; hn-agent boots one to find out, and says so."""
    try:
        os.close(os.open(_KVM, os.O_RDWR | os.O_CLOEXEC))
    except OSError as error:
        why = "there is none" if error.errno == errno.ENOENT else error.strerror
        return Finding("/dev/kvm", True, f"{why}: pods are emulated (TCG), which works and is slower")
    return Finding("/dev/kvm", True, "opens; hn-agent uses it if its probe guest boots, else TCG (see its log: accel)")


def bridges(settings: Path = Path("/proc/sys/net/bridge")) -> Finding:
    """Network policies between pods of one bridge need it; pods of tenants with policies don't start without."""
    if (settings / "bridge-nf-call-iptables").exists():
        return Finding("policies", True, "the kernel filters between ports of a bridge")
    return Finding("policies", False, "network policies can't be enforced: modprobe br_netfilter, now and at each boot")


def _kubectl(name: str) -> Finding:
    path = shutil.which(name)
    if path is None:
        return Finding("kubectl", False, "missing: `make kubectl` fetches one, or install 1.28 or newer")
    try:
        done = subprocess.run(
            [path, "version", "--client", "-o", "json"], capture_output=True, timeout=_TIMEOUT_SECONDS, check=True
        )
        version = json.loads(done.stdout)["clientVersion"]["gitVersion"]
    except (OSError, subprocess.SubprocessError, ValueError, KeyError) as error:
        return Finding("kubectl", False, f"{path} does not say its version: {error}")
    good = kubectl_is_new_enough(version)
    return Finding("kubectl", good, f"{path} {version}" + ("" if good else ": too old; `make kubectl` fetches one"))


def kubectl_is_new_enough(version: str) -> bool:
    match = re.match(r"v?(\d+)\.(\d+)", version)
    return match is not None and (int(match[1]), int(match[2])) >= KUBECTL_OLDEST
