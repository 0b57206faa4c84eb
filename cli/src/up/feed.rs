//! Feeds the objects of files to configd, as an operator feeds those of a cluster.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;

use tidegate_proto::objects::v1::{ApplyMode, ApplyRequest, Operation, ResyncEnd, ResyncRequest};
use tidegate_runtime::drain::Drain;
use tokio_stream::iter;

use super::args::GivenBackend;
use crate::api::{Api, failure};
use crate::batch;
use crate::desired::{DesiredSet, FileService, SOURCE, SetBuilder, services};
use crate::echo::EchoBackend;
use crate::source::set::{Contents, FileSet};

/// Most bytes in one message of a resync.
const MESSAGE_LEN_MAX: usize = 3 << 20;
/// Most echo backends; Services beyond it answer 503.
const ECHO_BACKENDS_MAX: usize = 1_000;

/// The way from files to configd.
pub(super) struct Feed {
    files: FileSet,
    given: Vec<GivenBackend>,
    echoes: BTreeMap<String, EchoBackend>,
    sent: DesiredSet,
    /// Whether configd lacks something, because it refused or did not answer.
    owes: bool,
    api: Api,
    drain: Drain,
}

/// What a look at the files brought.
pub(super) struct Fed {
    /// The object set that contains it; 0 when nothing changed.
    pub(super) revision: u64,
    pub(super) contents: Contents,
    /// What was added beyond what the files say.
    pub(super) notes: Vec<String>,
}

impl Feed {
    /// A feed that has sent nothing yet.
    pub(super) fn new(files: FileSet, given: Vec<GivenBackend>, api: Api, drain: Drain) -> Self {
        Self {
            files,
            given,
            echoes: BTreeMap::new(),
            sent: DesiredSet::new(),
            owes: false,
            api,
            drain,
        }
    }

    /// Makes configd's objects equal to those of the files, whatever it had before.
    pub(super) async fn resync(&mut self) -> anyhow::Result<Fed> {
        let (desired, contents, notes) = self.desired().await?;
        let mut requests = vec![request()];
        let mut len = 0;
        for (key, object) in &desired {
            if len > MESSAGE_LEN_MAX {
                requests.push(request());
                len = 0;
            }
            len += object.content.len();
            let last = requests.last_mut().expect("there is a first one");
            last.objects.push(batch::object(SOURCE, key, object));
        }
        if let Some(last) = requests.last_mut() {
            let objects = desired.len() as u64;
            last.end = Some(ResyncEnd { objects });
        }
        let mut client = self.api.objects.clone();
        let answer = client
            .resync(iter(requests))
            .await
            .map_err(failure)?
            .into_inner();
        self.sent = desired;
        Ok(Fed {
            revision: answer.revision,
            contents,
            notes,
        })
    }

    /// Reads what changed and sends what differs; `None` where no file changed. What configd did not
    /// take is sent again the next time.
    pub(super) async fn refresh(
        &mut self,
        touched: &BTreeSet<OsString>,
    ) -> anyhow::Result<Option<Fed>> {
        if !self.files.refresh(touched) && !self.owes {
            return Ok(None);
        }
        self.owes = true;
        let (desired, contents, notes) = self.desired().await?;
        let mut revision = 0;
        for operations in batch::batches(changes(&self.sent, &desired)) {
            let request = ApplyRequest {
                source: SOURCE.to_owned(),
                operations,
                mode: ApplyMode::Commit.into(),
                reason: "files changed".to_owned(),
                ..ApplyRequest::default()
            };
            let mut client = self.api.objects.clone();
            revision = client
                .apply(request)
                .await
                .map_err(failure)?
                .into_inner()
                .revision;
        }
        self.sent = desired;
        self.owes = false;
        Ok(Some(Fed {
            revision,
            contents,
            notes,
        }))
    }

    async fn desired(&mut self) -> anyhow::Result<(DesiredSet, Contents, Vec<String>)> {
        let contents = self.files.contents();
        let mut builder = SetBuilder::new(&contents.objects);
        for service in services(&contents.objects) {
            let given: Vec<_> = self
                .given
                .iter()
                .filter(|given| is_for(given, &service))
                .collect();
            if !given.is_empty() {
                builder.drop_endpoints(&service, &contents.objects);
                for given in given {
                    builder.add_endpoints(&service, given.port, &[given.address]);
                }
            } else if !service.has_endpoints && service.can_echo() {
                self.echo(&service, &mut builder).await?;
            }
        }
        let (set, notes) = builder.finish();
        Ok((set, contents, notes))
    }

    async fn echo(
        &mut self,
        service: &FileService,
        builder: &mut SetBuilder,
    ) -> std::io::Result<()> {
        let title = service.title();
        if !self.echoes.contains_key(&title) {
            if self.echoes.len() >= ECHO_BACKENDS_MAX {
                builder.note(format!(
                    "more than {ECHO_BACKENDS_MAX} Services have no endpoints; the others answer 503"
                ));
                return Ok(());
            }
            let backend = EchoBackend::start(&title, &self.drain).await?;
            self.echoes.insert(title.clone(), backend);
        }
        let address = self.echoes[&title].addr;
        builder.add_echo(service, address);
        builder.note(format!(
            "Service {title} has no endpoints; the built-in echo backend answers for it \
             (--backend {title}=127.0.0.1:3000 sends it to your own process)"
        ));
        Ok(())
    }
}

fn is_for(given: &GivenBackend, service: &FileService) -> bool {
    given.namespace == service.namespace && given.service == service.name
}

fn request() -> ResyncRequest {
    ResyncRequest {
        source: SOURCE.to_owned(),
        objects: Vec::new(),
        reason: "tidegate up started".to_owned(),
        // Whoever deletes files means it, and sees at once what is gone.
        delete_at_once: true,
        ..ResyncRequest::default()
    }
}

/// The changes that make one set of another. Objects go first and deletions last, so that nothing is
/// missing in between.
fn changes<'s>(
    sent: &'s DesiredSet,
    desired: &'s DesiredSet,
) -> impl Iterator<Item = Operation> + 's {
    let puts = desired
        .iter()
        .filter(|(key, object)| sent.get(*key) != Some(*object))
        .map(|(key, object)| batch::put(SOURCE, key, object));
    let deletes = sent
        .keys()
        .filter(|key| !desired.contains_key(*key))
        .map(|key| batch::delete(SOURCE, key));
    puts.chain(deletes)
}
