"""Switches, and the tenants' routers with a way outside."""

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv4Network

from hypernetes.providers.network.base import NetworkError, NetworkSpec
from hypernetes_ovn import names
from hypernetes_ovn.database import Database, mapping

MTU = 1442  # Geneve's head takes 58 bytes


@dataclass(frozen=True, slots=True)
class Outside:
    """A physical network of OVN's bridge mappings, and the addresses there that routers may take."""

    network: str
    chassis: str  # whose node is connected to it
    cidr: str
    gateway: str
    first: str
    last: str

    def addresses(self) -> list[str]:
        return [str(IPv4Address(each)) for each in range(int(IPv4Address(self.first)), int(IPv4Address(self.last)) + 1)]


class Networks:
    def __init__(self, cluster: str, database: Database, outside: Outside | None) -> None:
        self._cluster, self._database, self._outside = cluster, database, outside

    async def ensure(self, network: NetworkSpec) -> str:
        """The switch's name. Raises NetworkError."""
        if network.provider_network_id is not None:
            raise NetworkError("NotSupported", "the provider ovn adopts no networks; give the Network subnets")
        switch, router = names.switch(self._cluster, network), names.router(self._cluster, network)
        owner = f"external_ids:hypernetes-cluster={self._cluster}"
        commands = [
            ["--may-exist", "ls-add", switch],
            ["set", "Logical_Switch", switch, owner, f"external_ids:hypernetes-network={network.uid}"],
            ["--may-exist", "lr-add", router],
            ["set", "Logical_Router", router, owner, f"external_ids:hypernetes-tenant={network.tenant_uid}"],
        ]
        for subnet in network.subnets:
            address = _gateway(network, subnet.cidr, subnet.gateway)
            port = names.gateway(self._cluster, network, subnet.name)
            commands += [
                ["--may-exist", "lrp-add", router, port, names.mac(port), str(address)],
                *_peer(switch, port),
            ]
        await self._database.transact(*commands)
        if self._outside is not None:
            await self._lead_outside(router, network, self._outside)
        return switch

    async def delete(self, network: NetworkSpec) -> None:
        """With its ports, and its tenant's router where that joins nothing more."""
        switch, router = names.switch(self._cluster, network), names.router(self._cluster, network)
        ports = await self._ports(router)
        own = [name for name in ports if name.startswith(f"{switch}-")]
        commands = [["--if-exists", "ls-del", switch], *(["--if-exists", "lrp-del", name] for name in own)]
        if ports:
            cidrs = [str(IPv4Network(subnet.cidr)) for subnet in network.subnets]
            commands += [["--if-exists", "lr-nat-del", router, "snat", cidr] for cidr in cidrs]
        if ports and {*ports} <= {*own, f"{router}-outside"}:
            commands.append(["--if-exists", "lr-del", router])
            for row in await self._database.find("Logical_Switch_Port", "name", hypernetes_router=router):
                commands.append(["--if-exists", "lsp-del", str(row[0])])
        await self._database.transact(*commands)

    async def _ports(self, router: str) -> list[str]:
        said = await self._database.transact(["--if-exists", "get", "Logical_Router", router, "name"])
        if not said.strip():
            return []
        listed = await self._database.transact(["lrp-list", router])
        return [line.split("(")[1].rstrip(")") for line in listed.splitlines()]

    async def _lead_outside(self, router: str, network: NetworkSpec, outside: Outside) -> None:
        address = await self._outer_address(router, outside)
        known = await self._database.transact(["lr-nat-list", router])
        commands = [["--may-exist", "lr-route-add", router, "0.0.0.0/0", outside.gateway]]
        for subnet in network.subnets:
            cidr = str(IPv4Network(subnet.cidr))
            if cidr not in known.split():
                commands.append(["lr-nat-add", router, "snat", address, cidr])
        await self._database.transact(*commands)

    async def _outer_address(self, router: str, outside: Outside) -> str:
        """An address is its port's name, so that none is given twice: the database has names once."""
        found = await self._database.find("Logical_Switch_Port", "external_ids", hypernetes_router=router)
        if found:
            return mapping(found[0][0])["hypernetes-address"]
        switch, port = f"hn-{self._cluster}-outside", f"{router}-outside"
        await self._database.transact(
            ["--may-exist", "ls-add", switch], ["--may-exist", "lsp-add", switch, f"{switch}-physical"],
            ["lsp-set-type", f"{switch}-physical", "localnet"], ["lsp-set-addresses", f"{switch}-physical", "unknown"],
            ["lsp-set-options", f"{switch}-physical", f"network_name={outside.network}"],
        )  # fmt: skip
        taken = [
            str(row[0]) for row in await self._database.find("Logical_Switch_Port", "name", hypernetes_outside="1")
        ]
        prefix = outside.cidr.partition("/")[2]
        for address in outside.addresses():
            peer = f"hn-outside-{address}"
            if peer in taken:
                continue
            try:
                await self._database.transact(
                    ["lsp-add", switch, peer], ["lsp-set-type", peer, "router"], ["lsp-set-addresses", peer, "router"],
                    ["lsp-set-options", peer, f"router-port={port}"],
                    ["set", "Logical_Switch_Port", peer, "external_ids:hypernetes-outside=1",
                     f"external_ids:hypernetes-router={router}", f"external_ids:hypernetes-address={address}"],
                    ["lrp-add", router, port, names.mac(port), f"{address}/{prefix}"],
                    ["lrp-set-gateway-chassis", port, outside.chassis],
                )  # fmt: skip
            except NetworkError as error:
                if "already exists" in error.message:
                    continue  # another process was faster
                raise
            return address
        raise NetworkError("ExternalAddressesExhausted", f"no address of {outside.first} to {outside.last} is free")


def _peer(switch: str, port: str) -> list[list[str]]:
    peer = f"{port}-peer"
    return [
        ["--may-exist", "lsp-add", switch, peer], ["lsp-set-type", peer, "router"],
        ["lsp-set-addresses", peer, "router"], ["lsp-set-options", peer, f"router-port={port}"],
    ]  # fmt: skip


def _gateway(network: NetworkSpec, cidr: str, gateway: str) -> IPv4Interface:
    try:
        whole, address = IPv4Network(cidr), IPv4Address(gateway)
    except ValueError as error:
        raise NetworkError("InvalidSubnet", f"network {network.name}: {error}") from error
    if address not in whole or whole.prefixlen > 30:
        raise NetworkError("InvalidSubnet", f"network {network.name}: {address} is no host address of {whole}")
    return IPv4Interface((address, whole.prefixlen))
