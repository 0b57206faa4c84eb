//! The workers themselves.

use serde_json::{Value, json};

use super::{Pool, without_nulls};

/// Health and metrics of a worker.
pub(super) const ADMIN_PORT: u16 = 9901;

/// Workers, where nothing else is said.
const REPLICAS: u32 = 2;
/// Seconds between not being ready and not accepting connections: load balancers have to notice.
const DRAIN_DELAY_S: u32 = 5;
/// Seconds that open requests get to end.
const DRAIN_DEADLINE_S: u32 = 30;
/// Seconds between the end of a drain and the end of patience.
const DRAIN_GRACE_S: u32 = 15;

/// The user of the image; any that is not root would do.
const USER: u32 = 65_532;

/// Where a worker keeps its last good snapshot.
const DATA_DIR: &str = "/var/lib/tidegate";
/// Where its certificate lies.
const IDENTITY_DIR: &str = "/etc/tidegate/identity";

/// The workers of a pool.
pub(super) fn deployment(pool: &Pool) -> Value {
    let scaled = pool.parameters.autoscaling.is_some();
    let replicas = pool.parameters.replicas.unwrap_or(REPLICAS);
    let mut pod_metadata = json!({"labels": pool.metadata.all_labels()});
    let annotations: serde_json::Map<String, Value> = pool
        .metadata
        .annotations
        .iter()
        .chain(&pool.parameters.pod.annotations)
        .map(|(name, value)| (name.clone(), json!(value)))
        .collect();
    if !annotations.is_empty() {
        pod_metadata["annotations"] = Value::Object(annotations);
    }
    without_nulls(json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": pool.metadata.json(),
        "spec": {
            "replicas": (!scaled).then_some(replicas),
            "selector": {"matchLabels": pool.metadata.selector},
            "strategy": {
                "type": "RollingUpdate",
                "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": 0},
            },
            "template": {"metadata": pod_metadata, "spec": pod(pool)},
        },
    }))
}

fn pod(pool: &Pool) -> Value {
    let wanted = &pool.parameters.pod;
    let (delay, deadline) = drain(pool);
    json!({
        "serviceAccountName": pool.metadata.name,
        "automountServiceAccountToken": false,
        "enableServiceLinks": false,
        "terminationGracePeriodSeconds": delay + deadline + DRAIN_GRACE_S,
        "securityContext": {
            "runAsNonRoot": true,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "seccompProfile": {"type": "RuntimeDefault"},
            // Listeners have the ports that the Gateway says, also those below 1024.
            "sysctls": [{"name": "net.ipv4.ip_unprivileged_port_start", "value": "0"}],
        },
        "topologySpreadConstraints": spread(pool),
        "nodeSelector": Some(&wanted.node_selector).filter(|one| !one.is_empty()),
        "tolerations": Some(&wanted.tolerations).filter(|one| !one.is_empty()),
        "affinity": wanted.affinity,
        "priorityClassName": wanted.priority_class_name,
        "imagePullSecrets": Some(&wanted.image_pull_secrets).filter(|one| !one.is_empty()),
        "containers": [container(pool)],
        "volumes": volumes(pool),
    })
}

fn drain(pool: &Pool) -> (u32, u32) {
    let wanted = &pool.parameters.drain;
    (
        wanted.delay_seconds.unwrap_or(DRAIN_DELAY_S),
        wanted.deadline_seconds.unwrap_or(DRAIN_DEADLINE_S),
    )
}

/// Over zones and nodes, as far as that goes.
fn spread(pool: &Pool) -> Value {
    if let Some(wanted) = &pool.parameters.pod.topology_spread_constraints {
        return json!(wanted);
    }
    let over = |key: &str| {
        json!({
            "maxSkew": 1,
            "topologyKey": key,
            "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": {"matchLabels": pool.metadata.selector},
        })
    };
    json!([
        over("topology.kubernetes.io/zone"),
        over("kubernetes.io/hostname")
    ])
}

fn container(pool: &Pool) -> Value {
    let image = pool.parameters.image.as_ref().unwrap_or(&pool.image);
    let ports = pool
        .ports
        .iter()
        .map(|(port, transport)| json!({"containerPort": port, "protocol": transport.name()}));
    let admin = json!({"name": "admin", "containerPort": ADMIN_PORT, "protocol": "TCP"});
    let probe = |path: &str, period: u32, timeout: u32, failures: u32| {
        json!({
            "httpGet": {"path": path, "port": ADMIN_PORT, "scheme": "HTTP"},
            "periodSeconds": period,
            // A node that is starved for a moment must not lose its workers.
            "timeoutSeconds": timeout,
            "failureThreshold": failures,
        })
    };
    let mut mounts = vec![json!({"name": "data", "mountPath": DATA_DIR})];
    if pool.identity.is_some() {
        mounts.push(json!({"name": "identity", "mountPath": IDENTITY_DIR, "readOnly": true}));
    }
    json!({
        "name": "worker",
        "image": image,
        "args": arguments(pool),
        "env": environment(pool),
        "ports": std::iter::once(admin).chain(ports).collect::<Vec<_>>(),
        "readinessProbe": probe("/readyz", 2, 5, 1),
        "livenessProbe": probe("/livez", 10, 10, 3),
        "resources": pool.parameters.resources,
        "securityContext": {
            "allowPrivilegeEscalation": false,
            "readOnlyRootFilesystem": true,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": mounts,
    })
}

fn environment(pool: &Pool) -> Vec<Value> {
    let telemetry = &pool.parameters.telemetry;
    let name = json!({
        "name": "HOSTNAME",
        "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.name"}},
    });
    let asked = [
        ("TIDEGATE_LOG", &telemetry.log_filter),
        (
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
            &telemetry.traces_endpoint,
        ),
    ];
    let asked = asked.into_iter().filter_map(|(name, value)| {
        let value = value.as_ref()?;
        Some(json!({"name": name, "value": value}))
    });
    std::iter::once(name).chain(asked).collect()
}

fn arguments(pool: &Pool) -> Vec<String> {
    let (delay, deadline) = drain(pool);
    let mut arguments: Vec<String> = [
        "worker",
        "--configd",
        &pool.configd,
        "--pool",
        &pool.id,
        "--admin",
        &format!("0.0.0.0:{ADMIN_PORT}"),
        "--data-dir",
        DATA_DIR,
        "--privileged-ports",
        "--log-format",
        "json",
        "--drain-delay-s",
        &delay.to_string(),
        "--drain-deadline-s",
        &deadline.to_string(),
    ]
    .map(str::to_owned)
    .into();
    if let Some(threads) = pool.parameters.threads {
        arguments.extend(["--threads".to_owned(), threads.to_string()]);
    }
    if pool.parameters.telemetry.access_log == Some(false) {
        arguments.push("--no-access-log".to_owned());
    }
    if pool.identity.is_some() {
        for (flag, file) in [
            ("--tls-cert", "tls.crt"),
            ("--tls-key", "tls.key"),
            ("--tls-ca", "ca.crt"),
        ] {
            arguments.extend([flag.to_owned(), format!("{IDENTITY_DIR}/{file}")]);
        }
    } else {
        arguments.push("--insecure-plaintext".to_owned());
    }
    arguments
}

fn volumes(pool: &Pool) -> Value {
    // Private keys are in the last good snapshot, so it never reaches the node's disk.
    let data = json!({"name": "data", "emptyDir": {"medium": "Memory", "sizeLimit": "256Mi"}});
    let mut volumes = vec![data];
    if pool.identity.is_some() {
        volumes.push(json!({
            "name": "identity",
            "secret": {"secretName": pool.metadata.name, "defaultMode": 0o440},
        }));
    }
    json!(volumes)
}
