"""What a new cluster has before anybody asks: a default StorageClass, so that claims which name none are bound.

It is made once in the life of a DIR, and only where `system` has no class: who deletes or changes it isn't overruled.
"""

from hypernetes.api.models.meta_v1 import ObjectMeta
from hypernetes.api.models.storage_v1 import StorageClass
from hypernetes.api.status import StatusError
from hypernetes.cli.errors import CommandError
from hypernetes.cli.layout import Layout
from hypernetes.client import REQUEST_ERRORS, Client

LOCAL_CLASS = StorageClass(
    metadata=ObjectMeta(name="local", annotations={"storageclass.kubernetes.io/is-default-class": "true"}),
    provisioner="local.hypernetes.io",
    volume_binding_mode="WaitForFirstConsumer",
    allow_volume_expansion=True,
)


async def ensure(layout: Layout, client: Client) -> None:
    """Raises CommandError."""
    if layout.first_objects.exists():
        return
    try:
        if not (await client.list(StorageClass)).items:
            await client.create(LOCAL_CLASS)
    except REQUEST_ERRORS as error:
        if not (isinstance(error, StatusError) and error.reason == "AlreadyExists"):
            raise CommandError(f"the default StorageClass can't be made: {error}") from error
    layout.first_objects.touch()
