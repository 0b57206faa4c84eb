//! The way to the API server, as KUBECONFIG or a Pod's service account says it.

use anyhow::Context as _;
use kube::{Client, Config};

/// A client, and the namespace that it is at home in.
///
/// # Errors
/// Where nothing says where the API server is, or what says it makes no sense.
pub(crate) async fn connect() -> anyhow::Result<(Client, String)> {
    let config = Config::infer()
        .await
        .context("neither KUBECONFIG nor a Pod's service account says where the API server is")?;
    let namespace = config.default_namespace.clone();
    let client = Client::try_from(config).context("the API server cannot be reached so")?;
    Ok((client, namespace))
}
