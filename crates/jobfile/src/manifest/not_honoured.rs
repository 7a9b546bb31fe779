//! Every field of the Kubernetes 1.33+ API that is valid and has no effect on one machine. A field in none of these tables
//! and not read is a typing error.

use crate::node::NotHonoured;

const ROOT: &str = "is not used on one machine: the job runs as you are, in this file system";

pub(super) const METADATA: &NotHonoured = &[
    ("creationTimestamp", ""),
    ("deletionGracePeriodSeconds", ""),
    ("deletionTimestamp", ""),
    ("finalizers", ""),
    ("generation", ""),
    ("managedFields", ""),
    ("ownerReferences", ""),
    ("resourceVersion", ""),
    ("selfLink", ""),
    ("uid", ""),
];

/// Of the pod template: its names come from the job.
pub(super) const TEMPLATE_METADATA: &NotHonoured = &[
    ("creationTimestamp", ""),
    ("deletionGracePeriodSeconds", ""),
    ("deletionTimestamp", ""),
    ("finalizers", ""),
    ("generateName", "pods are named after their job"),
    ("generation", ""),
    ("managedFields", ""),
    ("name", "pods are named after their job"),
    ("namespace", "pods are in the namespace of their job"),
    ("ownerReferences", ""),
    ("resourceVersion", ""),
    ("selfLink", ""),
    ("uid", ""),
];

pub(super) const JOB_SPEC: &NotHonoured = &[
    ("backoffLimitPerIndex", "has no effect on one machine: `backoffLimit` alone counts failures"),
    ("managedBy", ""),
    ("manualSelector", ""),
    ("maxFailedIndexes", ""),
    ("podFailurePolicy", "has no effect on one machine: every failed pod counts"),
    ("podReplacementPolicy", "has no effect on one machine: a pod is replaced when it has ended"),
    ("selector", ""),
    ("successPolicy", "has no effect on one machine: every completion is awaited"),
    ("ttlSecondsAfterFinished", "has no effect on one machine: records are kept, pods leave nothing behind"),
];

pub(super) const POD_SPEC: &NotHonoured = &[
    ("affinity", ""),
    ("automountServiceAccountToken", ""),
    ("dnsConfig", ""),
    ("dnsPolicy", ""),
    ("enableServiceLinks", ""),
    ("ephemeralContainers", ""),
    ("hostAliases", ""),
    ("hostIPC", ""),
    ("hostNetwork", "is so on one machine whatever it says"),
    ("hostPID", "is so on one machine whatever it says"),
    ("hostUsers", ""),
    ("hostname", ""),
    ("hostnameOverride", ""),
    ("imagePullSecrets", "is not used on one machine: no image is pulled"),
    ("nodeName", "has no effect on one machine: there is this one only"),
    ("nodeSelector", "has no effect on one machine: there is this one only"),
    ("os", ""),
    ("overhead", ""),
    ("preemptionPolicy", ""),
    ("priorityClassName", "has no effect on one machine, which knows no classes: write the number as `priority`"),
    ("readinessGates", ""),
    ("resourceClaims", ""),
    ("resources", ""),
    ("runtimeClassName", ""),
    ("schedulerName", ""),
    ("schedulingGates", ""),
    ("securityContext", ROOT),
    ("serviceAccount", ""),
    ("setHostnameAsFQDN", ""),
    ("shareProcessNamespace", "is so on one machine whatever it says"),
    ("subdomain", ""),
    ("tolerations", ""),
    ("topologySpreadConstraints", ""),
    ("volumes", ROOT),
    ("workloadRef", ""),
];

pub(super) const CONTAINER: &NotHonoured = &[
    ("imagePullPolicy", "is not used on one machine: no image is pulled"),
    ("lifecycle", "has no effect on one machine: hooks are not run"),
    ("livenessProbe", "has no effect on one machine: probes are not run"),
    ("ports", "has no effect on one machine: a port is open if the command opens it"),
    ("readinessProbe", "has no effect on one machine: probes are not run"),
    ("resizePolicy", ""),
    ("restartPolicyRules", ""),
    ("securityContext", ROOT),
    ("startupProbe", "has no effect on one machine: probes are not run"),
    ("stdin", "has no effect on one machine: standard input is empty"),
    ("stdinOnce", ""),
    ("terminationMessagePath", ""),
    ("terminationMessagePolicy", ""),
    ("tty", ""),
    ("volumeDevices", ROOT),
    ("volumeMounts", ROOT),
];
