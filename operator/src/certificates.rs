//! Keeps the Secrets of an installation filled with certificates: makes its authority once, renews what that signs.

mod contents;

use std::time::SystemTime;

use anyhow::{Context as _, bail};
use clap::Args;
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::{Patch, PatchParams};
use tidegate_runtime::identity::authority::Authority;
use tidegate_runtime::identity::{Principal, TrustDomain};

use self::contents::{Contents, Verdict};
use crate::connect::connect;

/// Fill Secrets of Kubernetes with certificates: an authority that is made once, and what it signs, renewed in time
#[derive(Debug, Args)]
pub struct CertificateSecretsArgs {
    /// Namespace of the Secrets, which exist [default: that of the Pod or kubeconfig]
    #[arg(long, env = "TIDEGATE_NAMESPACE", value_name = "NAMESPACE")]
    namespace: Option<String>,
    /// Whom the authority vouches for; the first part of every identity
    #[arg(long, value_name = "NAME")]
    trust_domain: TrustDomain,
    /// The Secret of the authority
    #[arg(long, value_name = "SECRET")]
    authority: String,
    /// A Secret and whose certificate it gets, such as tidegate-configd-tls=configd/configd; may be repeated
    #[arg(long, value_name = "SECRET=ROLE/NAME", value_parser = parse_order)]
    issue: Vec<Order>,
}

/// A certificate that is wanted.
#[derive(Debug, Clone)]
struct Order {
    secret: String,
    principal: Principal,
}

impl CertificateSecretsArgs {
    /// Looks at every Secret once and fills those that need it.
    ///
    /// # Errors
    /// Where a Secret does not exist, holds something else, or was changed meanwhile: run it again then.
    pub async fn run(self) -> anyhow::Result<()> {
        let (client, at_home) = connect().await?;
        let namespace = self.namespace.clone().unwrap_or(at_home);
        let secrets = Api::namespaced(client, &namespace);
        let authority = authority(&secrets, &self.authority, &self.trust_domain).await?;
        for order in &self.issue {
            fill(&secrets, order, &authority).await?;
        }
        Ok(())
    }
}

/// The authority in its Secret; where that is empty, a new one.
async fn authority(
    secrets: &Api<Secret>,
    name: &str,
    domain: &TrustDomain,
) -> anyhow::Result<Authority> {
    let secret = get(secrets, name).await?;
    if let Some(contents) = Contents::of_secret(&secret) {
        let authority = contents.authority().with_context(|| {
            format!("the Secret {name} holds no authority; remove its data to have one made")
        })?;
        if authority.trust_domain() != domain {
            let other = authority.trust_domain();
            bail!(
                "the authority in the Secret {name} vouches for {other}, not for {domain}; remove the Secret's data to \
                 have another one made"
            );
        }
        eprintln!("{name}: the authority of {domain} is kept");
        return Ok(authority);
    }
    let (authority, contents) = contents::new_authority(domain.clone())?;
    put(secrets, &secret, &contents).await?;
    eprintln!("{name}: a new authority of {domain}");
    Ok(authority)
}

async fn fill(secrets: &Api<Secret>, order: &Order, authority: &Authority) -> anyhow::Result<()> {
    let Order { secret, principal } = order;
    let known = get(secrets, secret).await?;
    let contents = Contents::of_secret(&known);
    match contents::judge(contents.as_ref(), principal, authority, SystemTime::now()) {
        Verdict::Keep => eprintln!("{secret}: the certificate of {principal} is kept"),
        Verdict::Replace(why) => {
            let issued = contents::issue(authority, principal.clone())?;
            put(secrets, &known, &issued).await?;
            eprintln!("{secret}: a new certificate of {principal}, because {why}");
        }
    }
    Ok(())
}

async fn get(secrets: &Api<Secret>, name: &str) -> anyhow::Result<Secret> {
    let secret = secrets.get_opt(name).await;
    let secret = secret.with_context(|| format!("the Secret {name} cannot be read"))?;
    secret.with_context(|| {
        format!("there is no Secret {name}; the chart makes it empty, and this fills it")
    })
}

/// Writes over what was read, and nothing that came after it.
async fn put(secrets: &Api<Secret>, known: &Secret, contents: &Contents) -> anyhow::Result<()> {
    let name = known.metadata.name.as_deref().unwrap_or_default();
    let patch = Patch::Merge(contents.patch(known.metadata.resource_version.clone()));
    let written = secrets.patch(name, &PatchParams::default(), &patch).await;
    written.with_context(|| format!("the Secret {name} cannot be written"))?;
    Ok(())
}

fn parse_order(text: &str) -> Result<Order, String> {
    let Some((secret, principal)) = text.split_once('=') else {
        return Err("a Secret, =, and an identity, such as tls=configd/configd".to_owned());
    };
    let principal = principal.parse::<Principal>();
    Ok(Order {
        secret: secret.to_owned(),
        principal: principal.map_err(|error| error.to_string())?,
    })
}
