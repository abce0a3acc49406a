"""Every test of the controllers runs with one hn-controllers, and once more with two of which one is killed every few
seconds: that by `make soak`, but for those marked `killed`, which do so by `make test`, too. Those marked `kills` do
it themselves."""

import pytest

from tests.integration import control_plane, killing

_FIXTURE = "controllers_at_work"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if _FIXTURE in metafunc.fixturenames:
        marked = {marker.name for marker in metafunc.definition.iter_markers()}
        killed = pytest.param("killed", marks=[] if "killed" in marked else [pytest.mark.soak])
        ways = ["one"] if "kills" in marked else ["one", killed]
        metafunc.parametrize(_FIXTURE, ways, indirect=True, scope="session")


@pytest.fixture(scope="session", autouse=True)
def controllers_at_work(request: pytest.FixtureRequest) -> object:
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "killed":
            patch.setattr(control_plane, "controllers", killing.two_controllers_of_which_one_is_killed)
        yield
