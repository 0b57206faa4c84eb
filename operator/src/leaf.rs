//! Certificates of processes as they are found in Secrets.

use std::time::{SystemTime, UNIX_EPOCH};

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use tidegate_runtime::identity::Subject;

/// Whose certificate a text is; `None` where it is none of a process.
pub(crate) fn subject_of(pem: &str) -> Option<Subject> {
    let der = CertificateDer::from_pem_slice(pem.as_bytes()).ok()?;
    Subject::of_der(&der).ok()
}

/// Whether a certificate counts until that time.
pub(crate) fn lasts_until(subject: &Subject, time: SystemTime) -> bool {
    let needed = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(subject.not_after_unix_s).is_ok_and(|end| end >= needed.as_secs())
}
