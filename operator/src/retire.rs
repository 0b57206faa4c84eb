//! Before an installation goes: no Gateway may need it any more, and its classes must be free to go.
//!
//! Who takes the finalizer off a class is the operator, which is gone by the time when Helm removes the class.

use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Args;
use kube::api::{ListParams, Patch, PatchParams};
use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use kube::{Api, Client};
use serde_json::json;
use tokio::time::Instant;

use crate::connect::connect;
use crate::gateway::class_finalizers;
use crate::kinds::{CONTROLLER_NAME, GATEWAY_GROUP};

/// Pause between two looks at Gateways that are being deleted.
const INTERVAL: Duration = Duration::from_millis(500);
/// Gateways that a refusal names.
const NAMED_MAX: usize = 10;

/// Prepare the removal of an installation: see that no Gateway has its classes, and let those go
#[derive(Debug, Args)]
pub struct RetireArgs {
    /// GatewayClasses with this controllerName are those of the installation
    #[arg(
        long,
        default_value = CONTROLLER_NAME,
        value_name = "NAME"
    )]
    controller_name: String,
    /// Seconds that Gateways which are being deleted get to be gone
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = 60,
        value_parser = clap::value_parser!(u64).range(1..=3_600)
    )]
    timeout_s: u64,
}

impl RetireArgs {
    /// Returns when the classes may go.
    ///
    /// # Errors
    /// Where a Gateway still has one of the classes; nothing is changed then.
    pub async fn run(self) -> anyhow::Result<()> {
        let (client, _) = connect().await?;
        retire(
            &client,
            &self.controller_name,
            Duration::from_secs(self.timeout_s),
        )
        .await
    }
}

/// Waits for Gateways that go, then takes our finalizer off the classes.
pub(crate) async fn retire(
    client: &Client,
    controller: &str,
    patience: Duration,
) -> anyhow::Result<()> {
    let deadline = Instant::now() + patience;
    let classes = of_kind(client, "GatewayClass", "gatewayclasses");
    loop {
        let Some(own) = own_classes(&classes, controller).await? else {
            return Ok(());
        };
        let used = gateways_of(client, &own).await?;
        let is_over = Instant::now() > deadline;
        if used.iter().any(|one| is_over || !is_deleting(one)) {
            bail!(refusal(&used, is_over));
        }
        if used.is_empty() && release_all(&classes, &own).await? {
            return Ok(());
        }
        if is_over {
            bail!("the classes are changed by others all the time; try again");
        }
        tokio::time::sleep(INTERVAL).await;
    }
}

/// `None` where the cluster has no such kind.
async fn own_classes(
    classes: &Api<DynamicObject>,
    controller: &str,
) -> anyhow::Result<Option<Vec<DynamicObject>>> {
    match classes.list(&ListParams::default()).await {
        Ok(found) => {
            let own = found.items.into_iter();
            let own = own.filter(|class| class.data["spec"]["controllerName"] == controller);
            Ok(Some(own.collect()))
        }
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
        Err(error) => Err(error).context("the GatewayClasses cannot be listed"),
    }
}

async fn gateways_of(
    client: &Client,
    classes: &[DynamicObject],
) -> anyhow::Result<Vec<DynamicObject>> {
    let all = of_kind(client, "Gateway", "gateways");
    let all = all.list(&ListParams::default()).await;
    let all = all.context("the Gateways cannot be listed")?.items;
    let names: Vec<&str> = classes.iter().filter_map(name_of).collect();
    let has_one = |gateway: &DynamicObject| {
        let class = gateway.data["spec"]["gatewayClassName"].as_str();
        class.is_some_and(|class| names.contains(&class))
    };
    Ok(all.into_iter().filter(has_one).collect())
}

/// Takes the finalizer off; false where somebody has changed a class meanwhile.
async fn release_all(classes: &Api<DynamicObject>, own: &[DynamicObject]) -> anyhow::Result<bool> {
    for class in own {
        let whole = serde_json::to_value(class).context("a GatewayClass is JSON")?;
        let (Some(finalizers), Some(name)) = (class_finalizers(&whole, false), name_of(class))
        else {
            continue;
        };
        let version = &class.metadata.resource_version;
        let patch = json!({"metadata": {"resourceVersion": version, "finalizers": finalizers}});
        let params = PatchParams::default();
        match classes.patch(name, &params, &Patch::Merge(&patch)).await {
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            Err(kube::Error::Api(status)) if status.code == 409 => return Ok(false),
            patched => drop(patched.with_context(|| {
                format!("the finalizer of GatewayClass {name} cannot be removed")
            })?),
        }
    }
    Ok(true)
}

fn refusal(used: &[DynamicObject], is_over: bool) -> String {
    let names = used.iter().take(NAMED_MAX).map(|gateway| {
        let namespace = gateway.metadata.namespace.as_deref().unwrap_or_default();
        format!("{namespace}/{}", name_of(gateway).unwrap_or_default())
    });
    let mut names: Vec<String> = names.collect();
    if used.len() > names.len() {
        names.push(format!("and {} more", used.len() - names.len()));
    }
    let why = match is_over {
        true => "these Gateways are still not gone",
        false => "these Gateways need the installation",
    };
    format!(
        "{why}: {}; delete them, or give them another class, and try again. Nothing was removed.",
        names.join(", ")
    )
}

fn is_deleting(object: &DynamicObject) -> bool {
    object.metadata.deletion_timestamp.is_some()
}

fn name_of(object: &DynamicObject) -> Option<&str> {
    object.metadata.name.as_deref()
}

fn of_kind(client: &Client, kind: &str, plural: &str) -> Api<DynamicObject> {
    let kind = GroupVersionKind::gvk(GATEWAY_GROUP, "v1", kind);
    Api::all_with(
        client.clone(),
        &ApiResource::from_gvk_with_plural(&kind, plural),
    )
}
