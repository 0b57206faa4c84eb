//! Rules of what policies are for.

use super::Violations;
use crate::api::meta::PolicyTargetReference;

/// Checks each target.
pub(super) fn policy_targets(violations: &mut Violations, targets: &[PolicyTargetReference]) {
    violations.length("spec.targetRefs", targets, 1, 16);
    for (index, target) in targets.iter().enumerate() {
        let field = format!("spec.targetRefs[{index}]");
        violations.name(&format!("{field}.name"), &target.name);
        violations.name(&format!("{field}.kind"), &target.kind);
        if let Some(section) = section_of(target) {
            violations.section_name(&format!("{field}.sectionName"), section);
        }
    }
}

/// Several targets of one object need sections, each another one.
pub(super) fn sections_are_distinct(
    violations: &mut Violations,
    targets: &[PolicyTargetReference],
) {
    for (index, own) in targets.iter().enumerate() {
        let mut before = targets[..index].iter().filter(|other| is_same(own, other));
        let field = format!("spec.targetRefs[{index}]");
        if before
            .clone()
            .any(|other| section_of(own) == section_of(other))
        {
            violations.add(field, "the target stands here twice; remove one");
        } else if before.any(|other| section_of(own).is_none() || section_of(other).is_none()) {
            let message = "several targets of one object each need a sectionName";
            violations.add(field, message);
        }
    }
}

/// Without sections each object stands there once.
pub(super) fn objects_are_distinct(violations: &mut Violations, targets: &[PolicyTargetReference]) {
    for (index, own) in targets.iter().enumerate() {
        let field = format!("spec.targetRefs[{index}]");
        let twice = targets[..index].iter().any(|other| is_same(own, other));
        violations.require(!twice, &field, "the target stands here twice; remove one");
        let message = "the policy is for whole objects; remove sectionName";
        let field = format!("{field}.sectionName");
        violations.require(own.section_name.is_none(), &field, message);
    }
}

fn is_same(a: &PolicyTargetReference, b: &PolicyTargetReference) -> bool {
    (&a.group, &a.kind, &a.name) == (&b.group, &b.kind, &b.name)
}

fn section_of(target: &PolicyTargetReference) -> Option<&str> {
    let section = target.section_name.as_deref();
    section.filter(|section| !section.is_empty())
}
