//! The codes of findings about files, as opposed to those about what objects mean.

/// A code, how bad it is, its title and what to do about it.
pub(crate) struct FileCode {
    pub(crate) code: &'static str,
    pub(crate) severity: &'static str,
    pub(crate) title: &'static str,
    pub(crate) explanation: &'static str,
}

pub(crate) const UNREADABLE: &str = "TG9001";
pub(crate) const NOT_YAML: &str = "TG9002";
pub(crate) const NOT_AN_OBJECT: &str = "TG9003";
pub(crate) const DUPLICATE: &str = "TG9004";
pub(crate) const IGNORED_KIND: &str = "TG9005";
pub(crate) const TOO_LARGE: &str = "TG9006";
pub(crate) const INVALID_OBJECT: &str = "TG9007";
pub(crate) const MISTAKEN_KIND: &str = "TG9008";

/// Every code above, in order.
pub(crate) const FILE_CODES: &[FileCode] = &[
    FileCode {
        code: UNREADABLE,
        severity: "error",
        title: "a file cannot be read",
        explanation: "The path does not exist, is not text in UTF-8, or may not be read by this \
            user. While serving, the last good version of the file stays in use.",
    },
    FileCode {
        code: NOT_YAML,
        severity: "error",
        title: "a file is not YAML",
        explanation: "Reading stopped at the line and column given. Common causes: a tab used for \
            indentation, a missing space after a colon, the same field twice. While serving, the \
            last good version of the file stays in use.",
    },
    FileCode {
        code: NOT_AN_OBJECT,
        severity: "error",
        title: "a document is not a Kubernetes object",
        explanation: "Every document needs apiVersion, kind and metadata.name. While serving, no object \
            of the file is taken away until that is mended.",
    },
    FileCode {
        code: DUPLICATE,
        severity: "error",
        title: "an object is defined twice",
        explanation: "Two documents have the same kind, namespace and name. The first one, by file \
            name and then by place in the file, is used. Delete or rename the other.",
    },
    FileCode {
        code: IGNORED_KIND,
        severity: "info",
        title: "a kind that Tidegate does not read",
        explanation: "The object stays out of the configuration and does no harm. Deployments and \
            the like may stand in the same files as routes.",
    },
    FileCode {
        code: TOO_LARGE,
        severity: "error",
        title: "a file or an object is too large",
        explanation: "A file may have 64 MiB, an object 1 MiB as JSON, which is about what a \
            Kubernetes API server takes. Split the route or move the data elsewhere.",
    },
    FileCode {
        code: INVALID_OBJECT,
        severity: "error",
        title: "an object is not valid",
        explanation: "A field is unknown, has the wrong type, or breaks a rule of the object's \
            schema. A Kubernetes API server would refuse the object. While serving, its last good \
            version stays in use; nothing else is touched.",
    },
    FileCode {
        code: MISTAKEN_KIND,
        severity: "error",
        title: "a kind that does not exist",
        explanation: "The Gateway API and Tidegate have no kind of that name, or it is a letter or two \
            away from one that Tidegate reads. While serving, no object of the file is taken away until \
            that is mended.",
    },
];
