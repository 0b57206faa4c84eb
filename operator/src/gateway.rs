//! Turns each Gateway of ours into a pool of workers in its namespace:
//! `dereference → validate → build → apply`, one step per file, pure in the middle.

mod applied;
mod apply;
mod build;
mod children;
mod class;
mod dereference;
mod identity;
mod memory;
pub(crate) mod names;
mod parameters;
mod patch;
mod reconcile;

pub(crate) use children::{Children, follow as follow_children};
pub(crate) use class::finalizers as class_finalizers;
pub(crate) use identity::Issuer;
pub(crate) use memory::{remembered_by, remembering};
#[cfg(test)]
pub(crate) use patch::merge as merge_patch;
pub(crate) use reconcile::{PoolSettings, Reconciler};
