//! What a certificate's holder is to a cluster of Tidegate processes: its role, and its name within the role.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// Separates a worker's pool from its own name; no segment of a pool's name is like it.
const WORKER_MARK: &str = "-";

/// A role with what it is limited to; the path of a SPIFFE id.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Principal {
    /// `configd/NODE`: a config store.
    Configd {
        /// Name of the node.
        node: Arc<str>,
    },
    /// `worker/POOL`, any worker of the pool, or `worker/POOL/-/NAME`, that worker alone.
    Worker {
        /// The pool, which may have `/` in it.
        pool: Arc<str>,
        /// The worker's name; `None` for any.
        worker: Option<Arc<str>>,
    },
    /// `operator/SOURCE`: feeds the objects of one source.
    Operator {
        /// The cluster or file set.
        source: Arc<str>,
    },
    /// `automation/ACCESS/NAME`: a person's or a program's tool.
    Automation {
        /// What it may do.
        access: Access,
        /// Its name, for the audit log.
        name: Arc<str>,
    },
}

/// A role without its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    /// See [`Principal::Configd`].
    Configd,
    /// See [`Principal::Worker`].
    Worker,
    /// See [`Principal::Operator`].
    Operator,
    /// See [`Principal::Automation`].
    Automation,
}

/// What automation may do; each includes those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Access {
    /// Look.
    Read,
    /// Change objects, of any source.
    Write,
    /// Change the cluster itself.
    Admin,
}

impl Principal {
    /// The role alone.
    pub fn role(&self) -> Role {
        match self {
            Self::Configd { .. } => Role::Configd,
            Self::Worker { .. } => Role::Worker,
            Self::Operator { .. } => Role::Operator,
            Self::Automation { .. } => Role::Automation,
        }
    }

    /// Reads the path of an id whose segments are valid; `None` where it names no role of ours.
    pub(super) fn of_path(path: &str) -> Option<Self> {
        let (role, name) = path.split_once('/')?;
        let single = || (!name.contains('/')).then(|| name.into());
        match role.parse().ok()? {
            Role::Configd => Some(Self::Configd { node: single()? }),
            Role::Operator => Some(Self::Operator { source: single()? }),
            Role::Worker => Self::worker(name),
            Role::Automation => {
                let (access, name) = name.split_once('/')?;
                let access = access.parse().ok()?;
                (!name.contains('/')).then(|| Self::Automation {
                    access,
                    name: name.into(),
                })
            }
        }
    }

    fn worker(name: &str) -> Option<Self> {
        let segments: Vec<&str> = name.split('/').collect();
        let (pool, worker) = match segments[..] {
            [ref pool @ .., WORKER_MARK, worker] => (pool, Some(worker.into())),
            ref pool => (pool, None),
        };
        if pool.is_empty() || pool.contains(&WORKER_MARK) {
            return None;
        }
        Some(Self::Worker {
            pool: pool.join("/").into(),
            worker,
        })
    }
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Configd { node } => write!(f, "configd/{node}"),
            Self::Worker { pool, worker: None } => write!(f, "worker/{pool}"),
            Self::Worker {
                pool,
                worker: Some(worker),
            } => write!(f, "worker/{pool}/{WORKER_MARK}/{worker}"),
            Self::Operator { source } => write!(f, "operator/{source}"),
            Self::Automation { access, name } => write!(f, "automation/{access}/{name}"),
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Configd => "configd",
            Self::Worker => "worker",
            Self::Operator => "operator",
            Self::Automation => "automation",
        })
    }
}

impl FromStr for Role {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "configd" => Ok(Self::Configd),
            "worker" => Ok(Self::Worker),
            "operator" => Ok(Self::Operator),
            "automation" => Ok(Self::Automation),
            _ => Err("a role is configd, worker, operator or automation".to_owned()),
        }
    }
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Admin => "admin",
        })
    }
}

impl FromStr for Access {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "read" => Ok(Self::Read),
            "write" => Ok(Self::Write),
            "admin" => Ok(Self::Admin),
            _ => Err("an access is read, write or admin".to_owned()),
        }
    }
}
