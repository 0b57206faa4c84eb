//! `tidegate cluster`: who belongs to the cluster of configds, and how that changes.

use std::fmt::Write as _;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use tidegate_proto::cluster::v1::{
    AddMemberRequest, BackupRequest, DiskSpace, GetStatusRequest, GetStatusResponse,
    ListMembersRequest, Member, RemoveMemberRequest, Role, TransferLeadershipRequest,
};

use tidegate_configd::RestoreArgs;
use tonic::Request;
use tonic::metadata::MetadataValue;

use super::output::{Output, json_text};
use super::write_out;
use crate::api::{Api, ServerArgs, failure};
use crate::table::Table;

/// Which question, or which change.
#[derive(Debug, Subcommand)]
#[command(
    before_help = "Examples:\n  tidegate cluster members\n  tidegate cluster add configd-3.configd:15011\n  \
                   tidegate cluster remove configd-1\n  tidegate cluster transfer configd-2\n"
)]
pub(crate) enum ClusterCommand {
    /// List the configds with what each is and how far it is behind
    Members(ShowArgs),
    /// Show how the configd that is asked fares; exit code 1 where nobody leads or it is no member
    Status(ShowArgs),
    /// Add a configd that was started with --join; it votes once it has caught up
    Add(AddArgs),
    /// Remove a configd for good; its id is never used again
    Remove(MemberArgs),
    /// Make another configd lead
    Transfer(MemberArgs),
    /// Write all that a configd has to a file; private keys are in it
    Backup(BackupArgs),
    /// Make an empty data directory out of a backup: a cluster of one, in a new epoch
    Restore(RestoreArgs),
}

/// How to show it.
#[derive(Debug, Args)]
pub(crate) struct ShowArgs {
    /// Ask the configd itself, even if it may be behind or cut off, and not the leader
    #[arg(long)]
    stale: bool,
    /// How to write it
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,
    #[command(flatten)]
    server: ServerArgs,
}

/// Which configd comes.
#[derive(Debug, Args)]
pub(crate) struct AddArgs {
    /// Where it listens for other configds (its --peer-listen or --peer-address)
    #[arg(value_name = "HOST:PORT")]
    peer_address: String,
    #[command(flatten)]
    server: ServerArgs,
}

/// Which configd is meant.
#[derive(Debug, Args)]
pub(crate) struct MemberArgs {
    /// Its name or its id
    #[arg(value_name = "NAME|ID")]
    member: String,
    #[command(flatten)]
    server: ServerArgs,
}

/// Where to.
#[derive(Debug, Args)]
pub(crate) struct BackupArgs {
    /// The file; it must not exist
    file: PathBuf,
    /// Take what the configd that is asked has, even if it may be behind or cut off
    #[arg(long)]
    stale: bool,
    #[command(flatten)]
    server: ServerArgs,
}

/// Answers the question, or makes the change.
pub(crate) async fn run(command: ClusterCommand) -> anyhow::Result<()> {
    match command {
        ClusterCommand::Members(args) => show_members(args).await,
        ClusterCommand::Status(args) => show_status(args).await,
        ClusterCommand::Add(args) => add(args).await,
        ClusterCommand::Remove(args) => remove(args).await,
        ClusterCommand::Transfer(args) => transfer(args).await,
        ClusterCommand::Backup(args) => backup(args).await,
        ClusterCommand::Restore(args) => Ok(write_out(&args.run().await?)?),
    }
}

async fn show_members(args: ShowArgs) -> anyhow::Result<()> {
    let mut api = args.server.connect().await?;
    let members = members(&mut api, args.stale).await?;
    let text = match args.output {
        Output::Json => {
            let members: Vec<_> = members.iter().map(member_json).collect();
            json_text(json!({"members": members}))
        }
        Output::Table => table(&members),
    };
    Ok(write_out(&text)?)
}

async fn members(api: &mut Api, stale: bool) -> anyhow::Result<Vec<Member>> {
    let answer = api
        .cluster
        .list_members(asked(ListMembersRequest {}, stale));
    let answer = answer.await;
    Ok(answer.map_err(failure)?.into_inner().members)
}

/// A question; a stale one is answered by the configd that is asked, with what it knows.
fn asked<T>(message: T, stale: bool) -> Request<T> {
    let mut request = Request::new(message);
    if stale {
        let local = MetadataValue::from_static("1");
        request.metadata_mut().insert("tidegate-local", local);
    }
    request
}

fn table(members: &[Member]) -> String {
    let mut table = Table::new(&[
        "NAME",
        "ID",
        "ROLE",
        "LAG",
        "DISK",
        "LEVEL",
        "PEER-ADDRESS",
        "API-ADDRESS",
    ]);
    for member in members {
        table.row([
            member.name.clone(),
            member.id.to_string(),
            role(member.role()).to_owned(),
            member
                .lag
                .map_or_else(|| "unknown".to_owned(), |lag| lag.to_string()),
            disk(member.disk.as_ref()),
            member.level.to_string(),
            member.peer_address.clone(),
            member.api_address.clone(),
        ]);
    }
    table.render()
}

fn member_json(member: &Member) -> Value {
    json!({
        "id": member.id,
        "name": member.name,
        "role": role(member.role()),
        "lag": member.lag,
        "disk": member.disk.as_ref().map(disk_json),
        "level": member.level,
        "peerAddress": member.peer_address,
        "apiAddress": member.api_address,
    })
}

fn disk(disk: Option<&DiskSpace>) -> String {
    match disk {
        None => "unknown".to_owned(),
        Some(disk) if disk.free < disk.reserve => "full".to_owned(),
        Some(_) => "ok".to_owned(),
    }
}

fn disk_json(disk: &DiskSpace) -> Value {
    json!({
        "freeBytes": disk.free,
        "reserveBytes": disk.reserve,
        "full": disk.free < disk.reserve,
    })
}

fn role(role: Role) -> &'static str {
    match role {
        Role::Leader => "leader",
        Role::Voter => "voter",
        Role::Learner => "learner",
        Role::NoMember => "no member",
        Role::Unspecified => "unknown",
    }
}

async fn show_status(args: ShowArgs) -> anyhow::Result<()> {
    let mut api = args.server.connect().await?;
    let answer = api.cluster.get_status(GetStatusRequest {}).await;
    let status = answer.map_err(failure)?.into_inner();
    let text = match args.output {
        Output::Json => json_text(status_json(&status)),
        Output::Table => status_text(&status),
    };
    write_out(&text)?;
    match (status.role(), &status.leader) {
        (Role::NoMember, _) => bail!(
            "node {} is no member of the cluster: it was removed, or not added yet; an id is never used again, so \
             empty its data directory and start it with --join to have it back",
            status.node_id
        ),
        (_, None) => bail!("no configd leads, as far as node {} knows", status.node_id),
        (_, Some(_)) => Ok(()),
    }
}

fn status_text(status: &GetStatusResponse) -> String {
    let number =
        |number: Option<u64>| number.map_or_else(|| "none".to_owned(), |number| number.to_string());
    let leader = status.leader.as_ref();
    let leader = leader.map_or_else(
        || "none".to_owned(),
        |leader| {
            format!(
                "{} (node {}, {})",
                leader.name, leader.id, leader.api_address
            )
        },
    );
    let mut text = String::new();
    let _ = writeln!(
        text,
        "Cluster:   {} (epoch {})",
        status.cluster_id, status.epoch
    );
    let _ = writeln!(
        text,
        "Node:      {} ({})",
        status.node_id,
        role(status.role())
    );
    let _ = writeln!(text, "Leader:    {leader}");
    let _ = writeln!(text, "Term:      {}", status.term);
    let _ = writeln!(text, "Last:      {}", number(status.last_log_index));
    let _ = writeln!(text, "Applied:   {}", number(status.applied_index));
    let _ = writeln!(text, "Revision:  {}", status.revision);
    let _ = writeln!(text, "Level:     {}", level_text(status));
    let _ = writeln!(text, "Disk:      {}", disk_text(status.disk.as_ref()));
    text
}

fn level_text(status: &GetStatusResponse) -> String {
    let (level, highest) = (status.level, status.highest_level);
    match level < highest {
        true => format!(
            "{level} (this configd knows {highest}; all must, see `tidegate cluster members`)"
        ),
        false => format!("{level} (the highest that this configd knows)"),
    }
}

fn disk_text(space: Option<&DiskSpace>) -> String {
    let words = disk(space);
    let Some(space) = space else {
        return words;
    };
    let (free, reserve) = (space.free >> 20, space.reserve >> 20);
    format!("{words} ({free} MiB free, {reserve} MiB of them kept for the log)")
}

fn status_json(status: &GetStatusResponse) -> Value {
    json!({
        "clusterId": status.cluster_id,
        "epoch": status.epoch,
        "nodeId": status.node_id,
        "role": role(status.role()),
        "leader": status.leader.as_ref().map(member_json),
        "term": status.term,
        "lastLogIndex": status.last_log_index,
        "appliedIndex": status.applied_index,
        "revision": status.revision,
        "disk": status.disk.as_ref().map(disk_json),
        "level": status.level,
        "highestLevel": status.highest_level,
    })
}

async fn add(args: AddArgs) -> anyhow::Result<()> {
    let mut api = args.server.connect().await?;
    let peer_address = args.peer_address.clone();
    let added = api
        .cluster
        .add_member(AddMemberRequest { peer_address })
        .await;
    let id = added.map_err(failure)?.into_inner().id;
    let text = format!(
        "{} is node {id}; it votes once it has caught up, see `tidegate cluster members`\n",
        args.peer_address
    );
    Ok(write_out(&text)?)
}

async fn remove(args: MemberArgs) -> anyhow::Result<()> {
    let mut api = args.server.connect().await?;
    let gone = find(&mut api, &args.member).await?;
    let removed = api
        .cluster
        .remove_member(RemoveMemberRequest { id: gone.id })
        .await;
    removed.map_err(failure)?;
    let text = format!(
        "{} (node {}) is removed; stop its configd\n",
        gone.name, gone.id
    );
    Ok(write_out(&text)?)
}

async fn transfer(args: MemberArgs) -> anyhow::Result<()> {
    let mut api = args.server.connect().await?;
    let next = find(&mut api, &args.member).await?;
    let request = TransferLeadershipRequest { id: next.id };
    api.cluster
        .transfer_leadership(request)
        .await
        .map_err(failure)?;
    Ok(write_out(&format!(
        "{} (node {}) leads\n",
        next.name, next.id
    ))?)
}

async fn backup(args: BackupArgs) -> anyhow::Result<()> {
    let mut api = args.server.connect().await?;
    let path = &args.file;
    let name = || format!("{}", path.display());
    // Only the owner may read it: it holds private keys.
    let mut options = std::fs::File::options();
    options.write(true).create_new(true).mode(0o600);
    let request = BackupRequest { stale: args.stale };
    let answers = api.cluster.backup(request).await.map_err(failure)?;
    let mut answers = answers.into_inner();
    let mut file = options.open(path).with_context(name)?;
    let mut bytes = 0;
    while let Some(answer) = answers.message().await.map_err(failure)? {
        file.write_all(&answer.content).with_context(name)?;
        bytes += answer.content.len();
    }
    file.sync_all().with_context(name)?;
    Ok(write_out(&format!("{}: {bytes} bytes\n", path.display()))?)
}

/// The member with this name or id. A name counts before an id.
async fn find(api: &mut Api, wanted: &str) -> anyhow::Result<Member> {
    let members = members(api, false).await?;
    let named = members.iter().find(|member| member.name == wanted);
    let found = named.or_else(|| {
        let id = wanted.parse::<u64>().ok()?;
        members.iter().find(|member| member.id == id)
    });
    let known: Vec<&str> = members.iter().map(|member| member.name.as_str()).collect();
    let known = known.join(", ");
    let found = found.cloned();
    found.with_context(|| format!("the cluster has no configd {wanted}; it has {known}"))
}
