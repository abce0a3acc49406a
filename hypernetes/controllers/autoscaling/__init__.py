"""HorizontalPodAutoscalers (autoscaling/v2): as many replicas as the load needs, looked at every 15 seconds.

    scales.py            metricssource.py
    (the target's        (metrics.k8s.io, custom and external ones)
     scale subresource)        │ readings
          │ replicas           ▼
          │            proposals.py ─► replicacounts.py     for each metric: how many replicas it asks for
          │                    │ the highest
          └──────────► decision.py ─► behavior.py           limits, stabilisation, policies; what the status says
                               │
                        controller.py                       carries it out

Values of metrics are in thousandths (millicores, thousandths of bytes or of whatever a metric counts), as upstream
computes with them: https://kubernetes.io/docs/concepts/workloads/autoscaling/horizontal-pod-autoscale/
"""

from hypernetes.controllers.autoscaling.controller import HorizontalPodAutoscalers

__all__ = ["HorizontalPodAutoscalers"]
