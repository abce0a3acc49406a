"""Runs the cases of documented/: all at once in one cluster, each told apart."""

import asyncio
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from types import ModuleType

import pytest
import pytest_asyncio

from tests.integration.controllers.documented import jobs, plumbing, workloads
from tests.integration.controllers.documented.running import Case
from tests.integration.controllers.hollow_cluster import hollow_cluster

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(400)]
Run = Callable[[Case], Awaitable[None]]


def _of(module: ModuleType) -> dict[str, Run]:
    return {
        name: run
        for name, run in vars(module).items()
        if inspect.iscoroutinefunction(run)
        and run.__module__ == module.__name__
        and list(inspect.signature(run).parameters) == ["it"]
        and not name.startswith("_")
    }


CASES = _of(workloads) | _of(jobs) | _of(plumbing)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def outcomes(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[dict[str, asyncio.Task[None]]]:
    """Of the cases that were selected."""
    asked = {each.callspec.params["name"] for each in request.session.items if each.fspath == request.fspath}
    async with hollow_cluster(tmp_path_factory.mktemp("documented"), nodes=2) as (_, client):

        async def begun(number: int, run: Run) -> None:
            case = Case(client, f"case-{number}")
            await case.create("namespaces", case.namespace)
            await case.until(lambda: case.get("serviceaccounts/default"))
            await case.until(lambda: case.provided("nodes", 2))
            await run(case)

        tasks = {
            name: asyncio.create_task(begun(number, run))
            for number, (name, run) in enumerate(CASES.items())
            if name in asked
        }
        yield tasks
        for task in tasks.values():
            task.cancel()
        await asyncio.gather(*tasks.values(), return_exceptions=True)


@pytest.mark.parametrize("name", CASES)
async def test_case(outcomes: dict[str, asyncio.Task[None]], name: str) -> None:
    await outcomes[name]
