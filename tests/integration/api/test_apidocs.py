"""docs/api.md says what a running server offers, and how its answers differ from Kubernetes' own."""

from tests.integration.api import apidocs, differences, recorded
from tests.integration.api.servers import User

# Groups that other parts of the project bring, and the one that nobody asked for.
LATER = {
    "admissionregistration.k8s.io/v1", "apiextensions.k8s.io/v1", "flowcontrol.apiserver.k8s.io/v1",
}  # fmt: skip


async def test_the_document_is_what_the_server_offers(admin: User) -> None:
    hint = "python -m tests.integration.api.apidocs writes it anew"
    assert apidocs.DOCUMENT.read_text() == await apidocs.generated(admin), hint


def test_the_document_lists_the_differences() -> None:
    listed = differences.read(recorded.RECORDINGS / differences.FILE)
    hint = "python -m tests.integration.api.replay … --write-differences writes them anew"
    assert apidocs.DOCUMENT.read_text() == apidocs.with_differences(listed), hint


async def test_nothing_is_missing_but_what_comes_later(admin: User) -> None:
    ours = await apidocs.offered(admin)
    for (group_version, name), verbs in apidocs.upstream().items():
        if group_version in LATER:
            assert (group_version, name) not in ours
        else:
            assert set(verbs) <= set(ours.get((group_version, name), ())), (group_version, name)
