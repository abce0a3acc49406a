"""How a volume is called where volumes of all tenants and drivers stand side by side (`status.volumesInUse`)."""

CSI_PREFIX = "kubernetes.io/csi/"


def unique(tenant: str, driver: str, handle: str) -> str:
    """Upstream's form with the tenant in it: two tenants may both claim to have a volume of one handle."""
    return f"{CSI_PREFIX}{driver}^{tenant}/{handle}"
