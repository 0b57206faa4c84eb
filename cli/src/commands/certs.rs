//! `tidegate certs`: a certificate authority for development, and what certificates say.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use tidegate_operator::CertificateSecretsArgs;
use tidegate_runtime::identity::authority::{Authority, Validity};
use tidegate_runtime::identity::{Access, Principal, Role, Subject, TrustDomain};

use super::write_out;

const EXAMPLES: &str = "\
Examples:
  tidegate certs init pki --trust-domain tidegate.test
  tidegate certs issue pki --role configd --name n1
  tidegate certs issue pki --role worker --pool default --worker w1
  tidegate certs issue pki --role automation --name ci --access write
  tidegate certs show pki/configd-n1/tls.crt
";

/// Certificates of processes and people.
#[derive(Debug, Subcommand)]
#[command(before_help = EXAMPLES)]
pub(crate) enum CertsCommand {
    /// Make an authority for development: ca.crt and ca.key in a folder
    Init(InitArgs),
    /// Issue a certificate: tls.crt, tls.key and ca.crt in a new folder
    Issue(IssueArgs),
    /// Say whose a certificate is, and how long it counts
    Show(ShowArgs),
    Secrets(CertificateSecretsArgs),
}

/// Which authority.
#[derive(Debug, Args)]
pub(crate) struct InitArgs {
    /// Folder of the authority
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// Whom it vouches for; the first part of every identity
    #[arg(long, value_name = "NAME")]
    trust_domain: TrustDomain,
    /// Days until it ends
    #[arg(long, default_value_t = 3_650, value_parser = clap::value_parser!(u64).range(1..=3_650))]
    days: u64,
}

/// Whose certificate.
#[derive(Debug, Args)]
pub(crate) struct IssueArgs {
    /// Folder of the authority
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// configd, worker, operator or automation
    #[arg(long)]
    role: Role,
    /// Name of the node, the operator's source, or the tool
    #[arg(long)]
    name: Option<String>,
    /// The worker's pool
    #[arg(long)]
    pool: Option<String>,
    /// The worker that it is for; without it, it is for every worker of the pool
    #[arg(long, value_name = "NAME")]
    worker: Option<String>,
    /// What automation may do: read, write or admin
    #[arg(long)]
    access: Option<Access>,
    /// A DNS name for clients that check names; Tidegate checks identities instead; may be given several times
    #[arg(long = "dns", value_name = "NAME")]
    dns_names: Vec<String>,
    /// Days until it ends
    #[arg(long, default_value_t = 90, value_parser = clap::value_parser!(u64).range(1..=397))]
    days: u64,
    /// The new folder [default: DIR/ROLE-NAME]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// Which certificate.
#[derive(Debug, Args)]
pub(crate) struct ShowArgs {
    /// A file with the certificate as PEM
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

/// Does it.
pub(crate) async fn run(command: CertsCommand) -> anyhow::Result<()> {
    match command {
        CertsCommand::Init(args) => init(args),
        CertsCommand::Issue(args) => issue(args),
        CertsCommand::Show(args) => show(&args),
        CertsCommand::Secrets(args) => args.run().await,
    }
}

fn init(args: InitArgs) -> anyhow::Result<()> {
    let authority = Authority::init(&args.folder, args.trust_domain, days(args.days))?;
    let (folder, domain) = (args.folder.display(), authority.trust_domain());
    eprintln!(
        "{folder}/ca.crt vouches for {domain}; whoever has {folder}/ca.key can be anybody there"
    );
    Ok(())
}

fn issue(args: IssueArgs) -> anyhow::Result<()> {
    let principal = principal(&args)?;
    let authority = Authority::open(&args.folder)?;
    let label = principal.to_string().replace("/-/", "/").replace('/', "-");
    let folder = args.out.unwrap_or_else(|| args.folder.join(label));
    let validity = days(args.days);
    authority.issue_into(&folder, principal.clone(), &args.dns_names, validity)?;
    eprintln!(
        "{}/tls.crt is for spiffe://{}/{principal}, for {} days",
        folder.display(),
        authority.trust_domain(),
        args.days
    );
    Ok(())
}

/// The principal that the flags describe; flags of other roles are refused.
fn principal(args: &IssueArgs) -> anyhow::Result<Principal> {
    if args.worker.is_some() && args.role != Role::Worker {
        bail!("--worker is for --role worker");
    }
    if args.access.is_some() != (args.role == Role::Automation) {
        bail!("--role automation needs --access read, write or admin; other roles have none");
    }
    let (role, name) = (args.role, name(args)?);
    let path = match (&args.worker, args.access) {
        (Some(worker), _) => format!("{role}/{name}/-/{worker}"),
        (None, Some(access)) => format!("{role}/{access}/{name}"),
        (None, None) => format!("{role}/{name}"),
    };
    Ok(path.parse()?)
}

/// The name that a role has: a worker's is its pool's.
fn name(args: &IssueArgs) -> anyhow::Result<&str> {
    match (args.role, &args.name, &args.pool) {
        (Role::Worker, None, Some(pool)) => Ok(pool),
        (Role::Worker, ..) => bail!(
            "--role worker needs --pool POOL, and no --name; --worker NAME makes it for one worker of the pool"
        ),
        (_, Some(name), None) => Ok(name),
        (_, _, Some(_)) => bail!("--pool is for --role worker"),
        (role, None, None) => bail!("--role {role} needs --name NAME"),
    }
}

fn show(args: &ShowArgs) -> anyhow::Result<()> {
    let file = args.file.display();
    let der = CertificateDer::from_pem_file(&args.file)
        .map_err(|error| anyhow::anyhow!("{file}: no certificate can be read: {error}"))?;
    let subject = Subject::of_der(&der).with_context(|| format!("{file} names nobody"))?;
    let time = |unix_s| jiff::Timestamp::from_second(unix_s).map(|time| time.to_string());
    Ok(write_out(&format!(
        "Identity:   {}\nNot before: {}\nNot after:  {}\n",
        subject.identity,
        time(subject.not_before_unix_s)?,
        time(subject.not_after_unix_s)?
    ))?)
}

fn days(days: u64) -> Validity {
    Validity::from_now(Duration::from_secs(days * 24 * 3_600))
}
