"""What a running server says it serves."""

from dataclasses import dataclass, field

from tests.integration.api.servers import User

_AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"


@dataclass(frozen=True, slots=True)
class Offered:
    """One resource of a discovery document."""

    group_version: str
    name: str
    kind: str
    namespaced: bool
    verbs: tuple[str, ...]
    subresources: tuple[tuple[str, tuple[str, ...]], ...] = field(compare=False)

    @property
    def id(self) -> tuple[str, str]:
        return self.group_version, self.name

    @property
    def stored(self) -> bool:
        return "create" in self.verbs and "get" in self.verbs

    def path(self, namespace: str = "", name: str = "", *, watch: bool = False) -> str:
        """Below a tenant's root; `watch` in the old form."""
        root = f"/api{'s' * ('/' in self.group_version)}/{self.group_version}{'/watch' * watch}"
        inside = f"/namespaces/{namespace}" if namespace and self.namespaced else ""
        return f"{root}{inside}/{self.name}" + (f"/{name}" if name else "")

    def allows(self, subresource: str, verb: str) -> bool:
        return verb in (dict(self.subresources).get(subresource, ()) if subresource else self.verbs)


async def discovered(user: User) -> dict[tuple[str, str], Offered]:
    """By group version and resource."""
    found = {}
    for root in ("/api", "/apis"):
        for group in (await user("GET", root, headers={"Accept": _AGGREGATED})).json["items"]:
            for version in group["versions"]:
                group_version = "/".join(filter(None, (group["metadata"].get("name"), version["version"])))
                for row in version["resources"]:
                    subresources = tuple(
                        (each["subresource"], tuple(each["verbs"])) for each in row.get("subresources", ())
                    )
                    found[group_version, row["resource"]] = Offered(
                        group_version, row["resource"], row["responseKind"]["kind"], row["scope"] == "Namespaced",
                        tuple(row["verbs"]), subresources,
                    )  # fmt: skip
    return found
