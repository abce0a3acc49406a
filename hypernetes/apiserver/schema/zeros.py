"""Where zero values appear in an answer.

Upstream's types say by pointers and tags whether an empty value is written; its schemas don't. These tables hold what
the schemas leave out, as `<group>.<version>.<Type>.<field>`; everything else follows the rules of `types`.
"""

# Optional numbers and booleans whose 0 and false mean "unset" and are not written.
UNSET_WHEN_ZERO = frozenset(
    {
        "apps.v1.DeploymentSpec.minReadySeconds", "apps.v1.DeploymentSpec.paused",
        "apps.v1.DeploymentStatus.availableReplicas", "apps.v1.DeploymentStatus.observedGeneration",
        "apps.v1.DeploymentStatus.readyReplicas", "apps.v1.DeploymentStatus.replicas",
        "apps.v1.DeploymentStatus.unavailableReplicas", "apps.v1.DeploymentStatus.updatedReplicas",
        "apps.v1.ReplicaSetSpec.minReadySeconds", "apps.v1.ReplicaSetStatus.availableReplicas",
        "apps.v1.ReplicaSetStatus.fullyLabeledReplicas", "apps.v1.ReplicaSetStatus.observedGeneration",
        "apps.v1.ReplicaSetStatus.readyReplicas", "autoscaling.v1.ScaleSpec.replicas",
        "autoscaling.v2.HorizontalPodAutoscalerStatus.currentReplicas",
        "core.v1.AWSElasticBlockStoreVolumeSource.partition", "core.v1.AWSElasticBlockStoreVolumeSource.readOnly",
        "core.v1.AzureFilePersistentVolumeSource.readOnly", "core.v1.AzureFileVolumeSource.readOnly",
        "core.v1.CephFSPersistentVolumeSource.readOnly", "core.v1.CephFSVolumeSource.readOnly",
        "core.v1.CinderPersistentVolumeSource.readOnly", "core.v1.CinderVolumeSource.readOnly",
        "core.v1.Container.stdin", "core.v1.Container.stdinOnce", "core.v1.Container.tty",
        "core.v1.ContainerImage.sizeBytes", "core.v1.ContainerPort.hostPort", "core.v1.ContainerStateTerminated.signal",
        "core.v1.CSIPersistentVolumeSource.readOnly", "core.v1.EphemeralContainer.stdin",
        "core.v1.EphemeralContainer.stdinOnce", "core.v1.EphemeralContainer.tty", "core.v1.Event.count",
        "core.v1.EventSeries.count", "core.v1.FCVolumeSource.readOnly", "core.v1.FlexPersistentVolumeSource.readOnly",
        "core.v1.FlexVolumeSource.readOnly", "core.v1.GCEPersistentDiskVolumeSource.partition",
        "core.v1.GCEPersistentDiskVolumeSource.readOnly", "core.v1.GlusterfsPersistentVolumeSource.readOnly",
        "core.v1.GlusterfsVolumeSource.readOnly", "core.v1.ISCSIPersistentVolumeSource.chapAuthDiscovery",
        "core.v1.ISCSIPersistentVolumeSource.chapAuthSession", "core.v1.ISCSIPersistentVolumeSource.readOnly",
        "core.v1.ISCSIVolumeSource.chapAuthDiscovery", "core.v1.ISCSIVolumeSource.chapAuthSession",
        "core.v1.ISCSIVolumeSource.readOnly", "core.v1.NFSVolumeSource.readOnly", "core.v1.NodeSpec.unschedulable",
        "core.v1.PersistentVolumeClaimVolumeSource.readOnly", "core.v1.PodCondition.observedGeneration",
        "core.v1.PodSpec.hostIPC", "core.v1.PodSpec.hostNetwork", "core.v1.PodSpec.hostPID",
        "core.v1.PodStatus.observedGeneration", "core.v1.PortworxVolumeSource.readOnly",
        "core.v1.Probe.failureThreshold", "core.v1.Probe.initialDelaySeconds", "core.v1.Probe.periodSeconds",
        "core.v1.Probe.successThreshold", "core.v1.Probe.timeoutSeconds", "core.v1.QuobyteVolumeSource.readOnly",
        "core.v1.RBDPersistentVolumeSource.readOnly", "core.v1.RBDVolumeSource.readOnly",
        "core.v1.ReplicationControllerSpec.minReadySeconds", "core.v1.ReplicationControllerStatus.availableReplicas",
        "core.v1.ReplicationControllerStatus.fullyLabeledReplicas",
        "core.v1.ReplicationControllerStatus.observedGeneration", "core.v1.ReplicationControllerStatus.readyReplicas",
        "core.v1.ScaleIOPersistentVolumeSource.readOnly", "core.v1.ScaleIOPersistentVolumeSource.sslEnabled",
        "core.v1.ScaleIOVolumeSource.readOnly", "core.v1.ScaleIOVolumeSource.sslEnabled",
        "core.v1.ServicePort.nodePort", "core.v1.ServiceSpec.healthCheckNodePort",
        "core.v1.ServiceSpec.publishNotReadyAddresses", "core.v1.StorageOSPersistentVolumeSource.readOnly",
        "core.v1.StorageOSVolumeSource.readOnly", "core.v1.VolumeMount.readOnly", "core.v1.VolumeMountStatus.readOnly",
        "events.v1.Event.deprecatedCount", "meta.v1.Condition.observedGeneration", "meta.v1.ObjectMeta.generation",
        "networking.v1.ServiceBackendPort.number", "policy.v1.PodDisruptionBudgetStatus.observedGeneration",
        "scheduling.v1.PriorityClass.globalDefault",
    }
)  # fmt: skip

# Optional strings whose "" is a value of its own, and is written.
EMPTY_STRING_IS_A_VALUE = frozenset(
    {
        "batch.v1.CronJobSpec.timeZone", "batch.v1.JobSpec.completionMode", "batch.v1.JobSpec.managedBy",
        "batch.v1.JobSpec.podReplacementPolicy", "batch.v1.PodFailurePolicyOnExitCodesRequirement.containerName",
        "batch.v1.SuccessPolicyRule.succeededIndexes", "core.v1.AppArmorProfile.localhostProfile",
        "core.v1.AzureDiskVolumeSource.cachingMode", "core.v1.AzureDiskVolumeSource.fsType",
        "core.v1.AzureDiskVolumeSource.kind", "core.v1.CSIVolumeSource.fsType",
        "core.v1.ClusterTrustBundleProjection.name", "core.v1.ClusterTrustBundleProjection.signerName",
        "core.v1.Container.restartPolicy", "core.v1.EphemeralContainer.restartPolicy",
        "core.v1.ISCSIVolumeSource.initiatorName", "core.v1.PodResourceClaim.resourceClaimName",
        "core.v1.PodResourceClaim.resourceClaimTemplateName", "core.v1.PodSecurityContext.fsGroupChangePolicy",
        "core.v1.PodSecurityContext.seLinuxChangePolicy", "core.v1.PodSecurityContext.supplementalGroupsPolicy",
        "core.v1.PodSpec.hostnameOverride", "core.v1.PodSpec.preemptionPolicy",
        "core.v1.SeccompProfile.localhostProfile", "core.v1.SecurityContext.procMount",
        "core.v1.TopologySpreadConstraint.nodeAffinityPolicy", "core.v1.TopologySpreadConstraint.nodeTaintsPolicy",
        "core.v1.VolumeMount.recursiveReadOnly", "core.v1.WindowsSecurityContextOptions.gmsaCredentialSpec",
        "core.v1.WindowsSecurityContextOptions.gmsaCredentialSpecName",
        "core.v1.WindowsSecurityContextOptions.runAsUserName",
        "autoscaling.v2.HPAScalingRules.selectPolicy", "coordination.v1.LeaseSpec.holderIdentity",
        "coordination.v1.LeaseSpec.preferredHolder", "coordination.v1.LeaseSpec.strategy",
        "core.v1.AzureFilePersistentVolumeSource.secretNamespace", "core.v1.EndpointAddress.nodeName",
        "core.v1.EndpointPort.appProtocol", "core.v1.GlusterfsPersistentVolumeSource.endpointsNamespace",
        "core.v1.GRPCAction.service", "core.v1.HostPathVolumeSource.type",
        "core.v1.ISCSIPersistentVolumeSource.initiatorName", "core.v1.LoadBalancerIngress.ipMode",
        "core.v1.LocalVolumeSource.fsType", "core.v1.PersistentVolumeClaimSpec.storageClassName",
        "core.v1.PersistentVolumeClaimSpec.volumeAttributesClassName", "core.v1.PersistentVolumeClaimSpec.volumeMode",
        "core.v1.PersistentVolumeClaimStatus.currentVolumeAttributesClassName",
        "core.v1.PersistentVolumeSpec.volumeAttributesClassName", "core.v1.PersistentVolumeSpec.volumeMode",
        "core.v1.PodSpec.runtimeClassName", "core.v1.PortStatus.error", "core.v1.ServicePort.appProtocol",
        "core.v1.ServiceSpec.internalTrafficPolicy", "core.v1.ServiceSpec.ipFamilyPolicy",
        "core.v1.ServiceSpec.loadBalancerClass", "core.v1.ServiceSpec.trafficDistribution",
        "core.v1.TypedLocalObjectReference.apiGroup", "core.v1.TypedObjectReference.apiGroup",
        "core.v1.TypedObjectReference.namespace", "core.v1.VolumeMount.mountPropagation",
        "discovery.v1.Endpoint.hostname", "discovery.v1.Endpoint.nodeName", "discovery.v1.Endpoint.zone",
        "discovery.v1.EndpointPort.appProtocol", "discovery.v1.EndpointPort.name", "discovery.v1.EndpointPort.protocol",
        "networking.v1.IngressClassParametersReference.apiGroup",
        "networking.v1.IngressClassParametersReference.namespace",
        "networking.v1.IngressClassParametersReference.scope", "networking.v1.IngressPortStatus.error",
        "networking.v1.IngressSpec.ingressClassName", "networking.v1.NetworkPolicyPort.protocol",
        "policy.v1.PodDisruptionBudgetSpec.unhealthyPodEvictionPolicy", "scheduling.v1.PriorityClass.preemptionPolicy",
        "storage.v1.CSIDriverSpec.fsGroupPolicy", "storage.v1.StorageClass.reclaimPolicy",
        "storage.v1.StorageClass.volumeBindingMode", "storage.v1.VolumeAttachmentSource.persistentVolumeName",
    }
)  # fmt: skip

# Optional fields whose zero default is written all the same.
ZERO_DEFAULT_IS_WRITTEN = frozenset(
    {
        "core.v1.Event.reportingComponent", "core.v1.Event.reportingInstance", "core.v1.FileKeySelector.optional",
        "core.v1.GRPCAction.service", "core.v1.AzureDiskVolumeSource.readOnly",
        "apps.v1.StatefulSetStatus.availableReplicas",
        "policy.v1.PodDisruptionBudgetStatus.currentHealthy", "policy.v1.PodDisruptionBudgetStatus.desiredHealthy",
        "policy.v1.PodDisruptionBudgetStatus.disruptionsAllowed", "policy.v1.PodDisruptionBudgetStatus.expectedPods",
        "scheduling.v1.PriorityClass.value",
    }
)  # fmt: skip

# Fields that are written as null where they have no value.
NULL_WHEN_UNSET = frozenset(
    {
        "apps.v1.DeploymentCondition.lastTransitionTime", "apps.v1.DeploymentCondition.lastUpdateTime",
        "apps.v1.ReplicaSetCondition.lastTransitionTime",
        "autoscaling.v2.HorizontalPodAutoscalerCondition.lastTransitionTime",
        "autoscaling.v2.HorizontalPodAutoscalerStatus.currentMetrics",
        "certificates.v1.CertificateSigningRequestCondition.lastTransitionTime",
        "certificates.v1.CertificateSigningRequestCondition.lastUpdateTime",
        "certificates.v1.CertificateSigningRequestSpec.request", "core.v1.ContainerStateRunning.startedAt",
        "core.v1.ContainerStateTerminated.finishedAt", "core.v1.ContainerStateTerminated.startedAt",
        "core.v1.Event.eventTime", "core.v1.Event.firstTimestamp", "core.v1.Event.lastTimestamp",
        "core.v1.EventSeries.lastObservedTime", "core.v1.LimitRangeSpec.limits",
        "core.v1.NamespaceCondition.lastTransitionTime", "core.v1.NodeCondition.lastHeartbeatTime",
        "core.v1.NodeCondition.lastTransitionTime", "core.v1.NodeSelector.nodeSelectorTerms",
        "core.v1.PersistentVolumeClaimCondition.lastProbeTime",
        "core.v1.PersistentVolumeClaimCondition.lastTransitionTime", "core.v1.PodCondition.lastProbeTime",
        "core.v1.PodCondition.lastTransitionTime", "core.v1.ReplicationControllerCondition.lastTransitionTime",
        "core.v1.TopologySelectorLabelRequirement.values", "core.v1.TypedLocalObjectReference.apiGroup",
        "core.v1.TypedObjectReference.apiGroup", "discovery.v1.Endpoint.addresses",
        "discovery.v1.EndpointSlice.endpoints", "discovery.v1.EndpointSlice.ports",
        "events.v1.Event.deprecatedFirstTimestamp", "events.v1.Event.deprecatedLastTimestamp",
        "events.v1.Event.eventTime", "meta.v1.Condition.lastTransitionTime", "networking.v1.HTTPIngressRuleValue.paths",
        "rbac.v1.ClusterRole.rules", "rbac.v1.PolicyRule.verbs", "rbac.v1.Role.rules", "storage.v1.CSINodeSpec.drivers",
        "storage.v1.VolumeError.time",
        "storage.v1.CSINodeDriver.topologyKeys",
    }
)  # fmt: skip

# Required fields whose absence no validation of upstream's minds by itself.
REQUIRED_BY_NAME_ONLY = frozenset({"apps.v1.DaemonSetSpec.selector"})

# Lists with keys in which upstream nevertheless takes entries of the same key.
DUPLICATES_ALLOWED = frozenset(
    {
        "core.v1.Container.env", "core.v1.Container.ports", "core.v1.EphemeralContainer.env",
        "core.v1.EphemeralContainer.ports", "core.v1.PodSpec.hostAliases", "core.v1.PodSpec.imagePullSecrets",
        "core.v1.PodSpec.schedulingGates", "core.v1.PodSpec.topologySpreadConstraints", "core.v1.PodStatus.conditions",
        "core.v1.PodStatus.hostIPs", "core.v1.PodStatus.podIPs", "core.v1.ResourceRequirements.claims",
        "core.v1.Container.volumeDevices", "core.v1.EphemeralContainer.volumeDevices",
        "apps.v1.DeploymentStatus.conditions", "apps.v1.ReplicaSetStatus.conditions",
        "apps.v1.StatefulSetStatus.conditions", "apps.v1.DaemonSetStatus.conditions",
        "core.v1.ReplicationControllerStatus.conditions",
        "core.v1.ServiceAccount.secrets", "core.v1.Container.volumeMounts", "core.v1.EphemeralContainer.volumeMounts",
        "core.v1.NodeStatus.addresses", "meta.v1.ObjectMeta.finalizers",
    }
)  # fmt: skip
