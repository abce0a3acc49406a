"""A workload's scale is an object of its own, whose one field is the workload's, and so are its managers."""

from hypernetes.apiserver.fieldmanagement import fieldsets
from hypernetes.apiserver.fieldmanagement.entries import Managed, Manager, Managers
from hypernetes.apiserver.fieldmanagement.fieldsets import MEMBER, Fields

API_VERSION = "autoscaling/v1"
_PATH = ("f:spec", "f:replicas")
_REPLICAS: Fields = {"f:spec": {"f:replicas": MEMBER}}  # of the scale as of every kind that has one


def of_scale(managers: Managers) -> Managers:
    """The managers of the scale, of those of its workload: who manages the number of replicas."""
    return {
        manager: Managed(API_VERSION, _REPLICAS, managed.time)
        for manager, managed in managers.items()
        if fieldsets.has(managed.fields, _PATH)
    }


def of_workload(before: Managers, scale: Managers, api_version: str) -> Managers:
    """The managers of the workload, once its scale has these. Since when, isn't kept of the scale's, as upstream."""
    after: Managers = {}
    for manager, managed in before.items():
        fields = managed.fields
        if fieldsets.has(fields, _PATH) and manager not in scale:
            fields = fieldsets.difference(fields, _REPLICAS)
        if fields:
            after[manager] = managed._replace(fields=fields)
    for manager in scale:
        if manager not in before:
            own = Manager.of(manager.name, manager.operation, api_version, manager.subresource)
            after[own] = Managed(api_version, _REPLICAS)
    return after
