//! The files of the chart, as they are in `deploy/helm/tidegate`.

/// A file of the chart.
macro_rules! file {
    ($path:literal) => {
        include_str!(concat!("../../../deploy/helm/tidegate/", $path))
    };
}

/// Pairs of a path in the chart and what is there.
macro_rules! table {
    ($($path:literal),* $(,)?) => {
        &[$(($path, file!($path))),*]
    };
}

/// Name, version and version of the image.
pub(super) const CHART: &str = file!("Chart.yaml");
/// Every value with its default.
pub(super) const VALUES: &str = file!("values.yaml");
/// What values may be.
pub(super) const SCHEMA: &str = file!("values.schema.json");

/// Named pieces that templates include.
pub(super) const PIECES: &[(&str, &str)] =
    table!["templates/_names.tpl", "templates/certificates/_issuer.tpl",];

/// What renders to objects.
pub(super) const TEMPLATES: &[(&str, &str)] = table![
    "templates/certificates/cert-manager.yaml",
    "templates/certificates/issuer.yaml",
    "templates/configd/disruptionbudget.yaml",
    "templates/configd/networkpolicy.yaml",
    "templates/configd/serviceaccount.yaml",
    "templates/configd/services.yaml",
    "templates/configd/statefulset.yaml",
    "templates/crds.yaml",
    "templates/gatewayclass.yaml",
    "templates/operator/access.yaml",
    "templates/operator/deployment.yaml",
    "templates/operator/disruptionbudget.yaml",
    "templates/operator/networkpolicy.yaml",
];

/// Files that templates read.
pub(super) const DATA: &[(&str, &str)] = table![
    "definitions/backendpolicies.yaml",
    "definitions/gatewayparameters.yaml",
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;

    fn walk(folder: &Path, root: &Path, found: &mut BTreeSet<String>) {
        for entry in std::fs::read_dir(folder).expect("the folder can be read") {
            let path = entry.expect("the folder can be read").path();
            if path.is_dir() {
                walk(&path, root, found);
            } else {
                let path = path.strip_prefix(root).expect("it is below the chart");
                found.insert(path.to_str().expect("it is a text").to_owned());
            }
        }
    }

    #[test]
    fn every_file_of_the_chart_is_in_the_binary() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/helm/tidegate");
        let mut found = BTreeSet::new();
        walk(&root.join("templates"), &root, &mut found);
        walk(&root.join("definitions"), &root, &mut found);
        // Helm alone runs hooks; kubectl would do at once what is for the end.
        found.retain(|path| !path.starts_with("templates/hooks/"));
        let embedded = [PIECES, TEMPLATES, DATA].concat();
        let embedded = embedded.iter().map(|(path, _)| (*path).to_owned());
        assert_eq!(found, embedded.collect());
    }
}
