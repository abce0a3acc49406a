"""What Kubernetes' documentation says of each controller, case by case, on the real API server, with the real scheduler
and controllers, and nodes without machines. `docs/controllers.md` lists them.

All cases run side by side in one cluster, each in a namespace of its own (`running.py`): they wait more than they work.
"""
