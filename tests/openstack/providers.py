"""The provider `keystone` as hn-apiserver makes it."""

from pathlib import Path

import yaml

from hypernetes.providers.identity.keystone import KeystoneIdentityProvider


async def opened(directory: Path, clouds: dict[str, object], **more: object) -> KeystoneIdentityProvider:
    (directory / "clouds.yaml").write_text(yaml.safe_dump(clouds))
    (directory / "keystone.yaml").write_text(yaml.safe_dump({"cloud": "hypernetes", "clouds": "clouds.yaml", **more}))
    provider = KeystoneIdentityProvider(directory / "keystone.yaml")
    await provider.open()
    return provider
