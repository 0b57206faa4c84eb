//! Index over the path conditions of one host: exact paths by hash, prefixes by segment, expressions in a list.

use std::collections::HashMap;
use std::sync::Arc;

use tidegate_ir::{GrpcMethod, PathMatch, StringMatch};

/// Places of candidates in their host's order; every list is ascending, so its first match is its best.
#[derive(Debug, Default)]
pub(crate) struct PathIndex {
    exact: HashMap<Arc<str>, Vec<u32>>,
    prefixes: Node,
    expressions: Vec<u32>,
}

/// One segment of a prefix.
#[derive(Debug, Default)]
struct Node {
    here: Vec<u32>,
    children: HashMap<Box<str>, Self>,
}

impl PathIndex {
    /// Adds a candidate; candidates are added in their order.
    pub(crate) fn add(&mut self, place: u32, path: &PathMatch) {
        match path {
            PathMatch::Exact(path) => self.exact.entry(path.clone()).or_default().push(place),
            PathMatch::Regex(_) => self.expressions.push(place),
            PathMatch::Method(method) => self.add_method(place, method),
            PathMatch::Prefix(prefix) => self.add_prefix(place, prefix),
        }
    }

    fn add_prefix(&mut self, place: u32, prefix: &str) {
        let mut node = &mut self.prefixes;
        let segments = prefix.strip_prefix('/').filter(|rest| !rest.is_empty());
        for segment in segments.into_iter().flat_map(|rest| rest.split('/')) {
            node = node.children.entry(segment.into()).or_default();
        }
        node.here.push(place);
    }

    /// By whatever of `/service/method` is exact; `matches` tests the rest.
    fn add_method(&mut self, place: u32, condition: &GrpcMethod) {
        match (&condition.service, &condition.method) {
            (Some(StringMatch::Exact(service)), Some(StringMatch::Exact(method))) => {
                let path = format!("/{service}/{method}").into();
                self.exact.entry(path).or_default().push(place);
            }
            (Some(StringMatch::Exact(service)), _) => {
                self.add_prefix(place, &format!("/{service}"));
            }
            (None | Some(StringMatch::Regex(_)), _) => self.expressions.push(place),
        }
    }

    /// The smallest place for which `matches` holds, among those that `path` can match. Expressions
    /// are left for `matches` to test.
    pub(crate) fn first(&self, path: &str, mut matches: impl FnMut(u32) -> bool) -> Option<u32> {
        let mut best = None;
        let mut look_at = |places: &[u32]| {
            let limit = best.unwrap_or(u32::MAX);
            let better = places.iter().copied().take_while(|place| *place < limit);
            best = { better }.find(|place| matches(*place)).or(best);
        };
        if let Some(places) = self.exact.get(path) {
            look_at(places);
        }
        self.for_each_prefix(path, &mut look_at);
        look_at(&self.expressions);
        best
    }

    /// Calls `visit` for each node that holds prefixes of `path`, longest first.
    fn for_each_prefix(&self, path: &str, visit: &mut impl FnMut(&[u32])) {
        let Some(rest) = path.strip_prefix('/') else {
            return;
        };
        descend(&self.prefixes, Some(rest), visit);
    }
}

/// Goes as deep as the tree does, which the configuration bounds, and visits on the way back.
fn descend(node: &Node, rest: Option<&str>, visit: &mut impl FnMut(&[u32])) {
    if let Some(rest) = rest {
        let (segment, rest) = match rest.split_once('/') {
            Some((segment, rest)) => (segment, Some(rest)),
            None => (rest, None),
        };
        if let Some(child) = node.children.get(segment) {
            descend(child, rest, visit);
        }
    }
    if !node.here.is_empty() {
        visit(&node.here);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index(paths: &[PathMatch]) -> PathIndex {
        let mut index = PathIndex::default();
        for (place, path) in (0..).zip(paths) {
            index.add(place, path);
        }
        index
    }

    #[test]
    fn prefixes_end_at_segments() {
        let index = index(&[
            PathMatch::Prefix("/v2".into()),
            PathMatch::Prefix("/".into()),
        ]);
        for (path, expected) in [
            ("/v2", Some(0)),
            ("/v2/", Some(0)),
            ("/v2/x", Some(0)),
            ("/v2x", Some(1)),
            ("*", None),
        ] {
            assert_eq!(index.first(path, |_| true), expected, "{path}");
        }
    }

    #[test]
    fn a_lookup_does_not_look_at_other_paths() {
        let paths = (0..10_000).flat_map(|n| {
            [
                PathMatch::Prefix(format!("/p/{n}").into()),
                PathMatch::Exact(format!("/e/{n}").into()),
            ]
        });
        let index = index(&paths.collect::<Vec<_>>());
        for (path, found) in [
            ("/p/77/x", Some(154)),
            ("/e/77", Some(155)),
            ("/p/none", None),
        ] {
            let mut looked_at = 0;
            let place = index.first(path, |_| {
                looked_at += 1;
                true
            });
            assert_eq!(place, found, "{path}");
            assert!(looked_at <= 1, "{path}: looked at {looked_at}");
        }
    }

    #[test]
    fn a_candidate_that_does_not_match_gives_way_to_the_next() {
        let paths = [
            PathMatch::Exact("/a".into()),
            PathMatch::Prefix("/a".into()),
        ];
        let index = index(&paths);
        assert_eq!(index.first("/a", |place| place != 0), Some(1));
    }
}
