//! Whether a match takes every request that another one matches.

use std::sync::Arc;

use tidegate_ir::{GrpcMethod, Match, PathMatch, ValueMatch};

/// Whether every request that `narrow` matches is one that `wide` matches. False where that cannot be seen.
pub(super) fn covers(wide: &Match, narrow: &Match) -> bool {
    let has = |all: &[ValueMatch], some: &[ValueMatch]| some.iter().all(|one| all.contains(one));
    let is_any_method = wide.method.is_none() || wide.method == narrow.method;
    is_any_method
        && has(&narrow.headers, &wide.headers)
        && has(&narrow.query_params, &wide.query_params)
        && wider(&narrow.path).contains(&wide.path)
}

/// The path conditions that hold wherever this one does, itself first.
pub(super) fn wider(path: &PathMatch) -> Vec<PathMatch> {
    let mut wider = vec![path.clone()];
    match path {
        PathMatch::Exact(text) => wider.extend(prefixes(text)),
        PathMatch::Prefix(text) => {
            wider.extend(prefixes(text).into_iter().filter(|other| other != path));
        }
        // What it stands for is not looked into, and it may match paths without a slash.
        PathMatch::Regex(_) => {}
        PathMatch::Method(GrpcMethod { service, .. }) => {
            let any_method = GrpcMethod {
                service: service.clone(),
                method: None,
            };
            wider.push(PathMatch::Method(any_method));
            wider.push(PathMatch::Method(GrpcMethod::default()));
            wider.push(PathMatch::Prefix("/".into()));
        }
    }
    wider
}

/// The prefixes that a path has, longest first.
fn prefixes(path: &str) -> Vec<PathMatch> {
    let mut found = Vec::new();
    let mut rest = path.trim_end_matches('/');
    while let Some(at) = rest.rfind('/') {
        found.push(PathMatch::Prefix(Arc::from(rest)));
        rest = rest[..at].trim_end_matches('/');
    }
    if path.starts_with('/') {
        found.push(PathMatch::Prefix("/".into()));
    }
    found.retain(
        |prefix| matches!(prefix, PathMatch::Prefix(p) if PathMatch::prefix_matches(p, path)),
    );
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn on(path: PathMatch) -> Match {
        Match {
            path,
            method: None,
            headers: vec![],
            query_params: vec![],
        }
    }

    fn prefix(text: &str) -> Match {
        on(PathMatch::Prefix(text.into()))
    }

    #[test]
    fn a_prefix_covers_what_begins_with_its_elements() {
        let exact = |text: &str| on(PathMatch::Exact(text.into()));
        assert!(covers(&prefix("/"), &exact("/a/b")));
        assert!(covers(&prefix("/a"), &exact("/a/b")));
        assert!(covers(&prefix("/a"), &exact("/a/")));
        assert!(covers(&prefix("/a"), &prefix("/a/b/c")));
        assert!(!covers(&prefix("/a"), &exact("/ab")));
        assert!(!covers(&prefix("/a/b"), &prefix("/a")));
        assert!(!covers(&exact("/a"), &prefix("/a")));
    }

    #[test]
    fn a_condition_more_is_narrower() {
        let get = Match {
            method: Some("GET".into()),
            ..prefix("/")
        };
        assert!(covers(&prefix("/"), &get));
        assert!(!covers(&get, &prefix("/")));
    }

    #[test]
    fn expressions_cover_themselves_only() {
        let regex = on(PathMatch::Regex("/a.*".into()));
        assert!(covers(&regex, &regex));
        assert!(!covers(&prefix("/"), &regex));
    }
}
