//! ReferenceGrants: which references across namespaces are allowed.

use std::sync::Arc;

use crate::api::reference_grant::ReferenceGrantSpec;
use crate::objects::{Objects, Parsed};

/// A reference from one namespace into another.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reference<'a> {
    pub(crate) source: &'a Arc<str>,
    pub(crate) from_group: &'a str,
    pub(crate) from_kind: &'a str,
    pub(crate) from_namespace: &'a str,
    pub(crate) to_group: &'a str,
    pub(crate) to_kind: &'a str,
    pub(crate) to_namespace: &'a str,
    pub(crate) to_name: &'a str,
}

impl Reference<'_> {
    /// Inside one namespace always; else when any grant in the target's namespace says so.
    pub(crate) fn is_permitted(&self, objects: &Objects) -> bool {
        self.from_namespace == self.to_namespace
            || objects
                .grants_in(self.source, self.to_namespace)
                .any(|grant| self.is_granted_by(&grant.spec))
    }

    fn is_granted_by(&self, grant: &ReferenceGrantSpec) -> bool {
        let from = grant.from.iter().any(|from| {
            from.group == self.from_group
                && from.kind == self.from_kind
                && from.namespace == self.from_namespace
        });
        let to = |to: &crate::api::reference_grant::ReferenceGrantTo| {
            let name = to.name.as_deref().unwrap_or_default();
            to.group == self.to_group
                && to.kind == self.to_kind
                && (name.is_empty() || name == self.to_name)
        };
        from && grant.to.iter().any(to)
    }
}

impl Objects {
    fn grants_in<'a>(
        &'a self,
        source: &Arc<str>,
        namespace: &'a str,
    ) -> impl Iterator<Item = &'a Arc<Parsed<ReferenceGrantSpec>>> {
        let from = crate::objects::Place::new(source, namespace, "");
        let source = source.clone();
        self.grants
            .range(from..)
            .take_while(move |(place, _)| {
                place.source == source && &*place.object.namespace == namespace
            })
            .map(|(_, grant)| grant)
    }
}
