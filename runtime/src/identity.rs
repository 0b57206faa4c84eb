//! Who a process is, and how it proves that: SPIFFE ids in certificates, which both ends of a connection show.
//!
//! An id is `spiffe://TRUST-DOMAIN/ROLE/NAME`; see [`Principal`] for the roles. [`Credentials`] are what a process
//! shows; with the feature `authority` there is an authority for development and tests.

#[cfg(feature = "authority")]
pub mod authority;
mod certificate;
mod credentials;
mod dial;
mod flags;
mod handshake;
mod loaded;
mod principal;
mod spiffe;
mod verifier;

pub use certificate::{InvalidCertificate, Subject};
pub use credentials::Credentials;
pub use dial::Dialer;
pub use flags::{TlsArgs, TlsArgsError};
pub use handshake::HandshakeError;
pub use loaded::{CredentialFiles, CredentialsError};
pub use principal::{Access, Principal, Role};
pub use spiffe::{Identity, InvalidIdentity, TrustDomain};
