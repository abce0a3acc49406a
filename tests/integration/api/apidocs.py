"""The generated parts of docs/api.md: what a running server offers, beside Kubernetes' own API, and what differs.

python -m tests.integration.api.apidocs        writes them anew
"""

import asyncio
import tempfile
from collections.abc import Iterable
from pathlib import Path

import orjson

from hypernetes.api import facts
from hypernetes.apiserver.storage.opening import open_store
from tests.integration.api import differences, recorded
from tests.integration.api.differences import SYSTEM, TENANT, Listed
from tests.integration.api.servers import User, serving

DOCUMENT = Path(__file__).parents[3] / "docs" / "api.md"
_AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
_USUAL = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")
_READING = ("get", "list", "watch")

Offered = dict[tuple[str, str], tuple[str, ...]]  # (group/version, resource or resource/subresource) -> verbs


async def offered(user: User) -> Offered:
    """What the discovery documents of a user's tenant say."""
    found: Offered = {}
    for path in ("/api", "/apis"):
        answer = await user("GET", path, headers={"Accept": _AGGREGATED})
        for group in answer.json["items"]:
            for version in group["versions"]:
                group_version = "/".join(filter(None, (group["metadata"].get("name"), version["version"])))
                for resource in version["resources"]:
                    name = resource["resource"]
                    found[group_version, name] = tuple(resource["verbs"])
                    for sub in resource.get("subresources", ()):
                        found[group_version, f"{name}/{sub['subresource']}"] = tuple(sub["verbs"])
    return found


def upstream() -> Offered:
    """What Kubernetes offers, by facts/resources.json."""
    rows = orjson.loads((Path(facts.__file__).parent / "facts" / "resources.json").read_bytes())
    return {(row["groupVersion"], row["name"]): tuple(row["verbs"]) for row in rows}


def resource_table(ours: Offered, tenants: Offered, theirs: Offered) -> str:
    """One line a resource, its subresources in it."""
    lines = [
        "| group and version | resource | verbs | subresources | missing | in a tenant |",
        "|---|---|---|---|---|---|",
    ]
    for group_version, name in sorted({(gv, each.partition("/")[0]) for gv, each in ours.keys() | theirs.keys()}):
        subs = sorted(
            each for gv, each in ours.keys() | theirs.keys() if gv == group_version and each.startswith(f"{name}/")
        )
        verbs = ours.get((group_version, name), ())
        missing = [*_less(theirs.get((group_version, name), ()), verbs)]
        shown = []
        for sub in subs:
            has, wanted = ours.get((group_version, sub), ()), theirs.get((group_version, sub), ())
            plain = sub.partition("/")[2]
            if has:
                shown.append(f"{plain} ({_verbs(has)})")
            missing += [f"{plain}: {verb}" for verb in _less(wanted, has)]
        if (group_version, name) not in ours:
            missing = ["all of it"]
        less = _in_tenant(group_version, [name, *subs], ours, tenants)
        added = "" if (group_version, name) in theirs else " (ours)"
        row = (group_version, f"{name}{added}", _verbs(verbs), ", ".join(shown), ", ".join(missing), less)
        lines.append(f"| {' | '.join(row)} |")
    return "\n".join(lines)


def _in_tenant(group_version: str, names: Iterable[str], ours: Offered, tenants: Offered) -> str:
    parts = []
    for name in names:
        verbs, left = ours.get((group_version, name), ()), tenants.get((group_version, name), ())
        if left != verbs:
            plain = name.partition("/")[2]
            parts.append(f"{plain}: {_verbs(left) or 'none'}" if plain else _verbs(left) or "none")
    return ", ".join(parts)


def _less(wanted: Iterable[str], has: Iterable[str]) -> list[str]:
    return [verb for verb in wanted if verb not in has]


def _verbs(verbs: tuple[str, ...]) -> str:
    if tuple(sorted(verbs)) == _USUAL:
        return "all"
    if tuple(sorted(verbs)) == _READING:
        return "reads"
    return " ".join(verbs)


def difference_tables(listed: Listed, counts: dict[tuple[str, str], int]) -> str:
    """How many recorded sequences are answered alike, and each that isn't with its reason."""
    lines = ["| topic | in the provider's tenant | in any other |", "|---|---|---|"]
    for topic in sorted({topic for topic, _ in counts}):
        cells = []
        for where in (SYSTEM, TENANT):
            total = counts[topic, where]
            cells.append(f"{total - len(differences.of(listed, topic, where))} of {total}")
        lines.append(f"| {topic} | {' | '.join(cells)} |")
    lines += ["", "| sequence | about | where | why |", "|---|---|---|---|"]
    for topic in sorted(listed):
        for identity, row in sorted(listed[topic].items()):
            lines.append(f"| {identity} | {row['case']} | {row['where']} | {row['reason']} |")
    return "\n".join(lines)


def counted() -> dict[tuple[str, str], int]:
    """(topic, where) -> how many sequences are replayed."""
    return {
        (topic, where): len(recorded.sequences(recorded.RECORDINGS, topic, where))
        for topic in recorded.topics()
        for where in (SYSTEM, TENANT)
    }


def replaced(text: str, name: str, body: str) -> str:
    """The text with what stands between the markers of a section made anew."""
    begin, end = f"<!-- begin {name} -->\n", f"<!-- end {name} -->"
    head, _, rest = text.partition(begin)
    _, found, tail = rest.partition(end)
    assert found, f"{DOCUMENT} has no place for {name}"
    return f"{head}{begin}{body}\n{end}{tail}"


async def generated(admin: User) -> str:
    """The document, with what a server offers in it."""
    async with await admin.tenant("docs") as tenant:
        table = resource_table(await offered(admin), await offered(tenant), upstream())
    return replaced(DOCUMENT.read_text(), "resources", table)


def with_differences(listed: Listed) -> str:
    """The document, with what is listed in it."""
    return replaced(DOCUMENT.read_text(), "differences", difference_tables(listed, counted()))


def write_differences(listed: Listed) -> None:
    DOCUMENT.write_text(with_differences(listed))


async def _write() -> None:
    with tempfile.TemporaryDirectory() as directory:
        store = await open_store(str(Path(directory) / "state.db"))
        try:
            async with serving(store, Path(directory), "docs") as admin:
                DOCUMENT.write_text(await generated(admin))
        finally:
            await store.close()


if __name__ == "__main__":
    asyncio.run(_write())
