"""Annotations that people steer controllers with."""

DELETION_COST_ANNOTATION = "controller.kubernetes.io/pod-deletion-cost"
