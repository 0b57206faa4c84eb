//! The flags by which every process gets its identity, and what an address may be without one.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use clap::Args;
use http::Uri;

use super::{CredentialFiles, Credentials, CredentialsError};

/// Certificate files and the way round them.
#[derive(Debug, Clone, Default, Args)]
pub struct TlsArgs {
    /// Certificate of this process as PEM, with its SPIFFE id; read again when it changes
    #[arg(long, env = "TIDEGATE_TLS_CERT", value_name = "FILE")]
    pub tls_cert: Option<PathBuf>,
    /// Key of the certificate
    #[arg(long, env = "TIDEGATE_TLS_KEY", value_name = "FILE")]
    pub tls_key: Option<PathBuf>,
    /// Authorities whose certificates count, as PEM
    #[arg(long, env = "TIDEGATE_TLS_CA", value_name = "FILE")]
    pub tls_ca: Option<PathBuf>,
    /// Allow gRPC without TLS beyond the loopback: whoever reaches it reads private keys and changes everything
    #[arg(long)]
    pub insecure_plaintext: bool,
}

/// Why flags do not fit together.
#[derive(Debug, thiserror::Error)]
pub enum TlsArgsError {
    /// Some of the three files are missing.
    #[error("--tls-cert, --tls-key and --tls-ca belong together; {0} is missing")]
    Incomplete(&'static str),
    /// The files do not make an identity.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    /// Plaintext would leave the machine.
    #[error(
        "{0} is not a loopback address, and gRPC without TLS would be open to whoever reaches it: give --tls-cert, \
         --tls-key and --tls-ca (`tidegate certs` makes some), or --insecure-plaintext"
    )]
    Plaintext(String),
    /// The scheme says one thing and the flags another.
    #[error("{0} is plaintext, but there is a certificate: write https://")]
    PlaintextUrl(String),
    /// There is no certificate to show.
    #[error("{0} needs a certificate of our own: give --tls-cert, --tls-key and --tls-ca")]
    NoCertificate(String),
}

impl TlsArgs {
    /// Reads the files; `None` where the flags name none.
    ///
    /// # Errors
    /// All three must be there, and usable.
    pub fn credentials(&self) -> Result<Option<Credentials>, TlsArgsError> {
        let (certificate, key, authorities) = match (&self.tls_cert, &self.tls_key, &self.tls_ca) {
            (None, None, None) => return Ok(None),
            (Some(certificate), Some(key), Some(authorities)) => (certificate, key, authorities),
            (None, _, _) => return Err(TlsArgsError::Incomplete("--tls-cert")),
            (_, None, _) => return Err(TlsArgsError::Incomplete("--tls-key")),
            (_, _, None) => return Err(TlsArgsError::Incomplete("--tls-ca")),
        };
        Ok(Some(Credentials::load(CredentialFiles {
            certificate: certificate.clone(),
            key: key.clone(),
            authorities: authorities.clone(),
        })?))
    }

    /// What reaches a server: credentials for `https`, `None` for plaintext that may be.
    ///
    /// # Errors
    /// Plaintext beyond the loopback needs its flag; `https` needs a certificate, and the reverse.
    pub fn for_url(&self, url: &Uri) -> Result<Option<Credentials>, TlsArgsError> {
        let credentials = self.credentials()?;
        match (url.scheme_str(), credentials) {
            (Some("https"), Some(credentials)) => Ok(Some(credentials)),
            (Some("https"), None) => Err(TlsArgsError::NoCertificate(url.to_string())),
            (_, Some(_)) => Err(TlsArgsError::PlaintextUrl(url.to_string())),
            (_, None) if self.insecure_plaintext || is_local(url) => Ok(None),
            (_, None) => Err(TlsArgsError::Plaintext(url.to_string())),
        }
    }

    /// Whether a server may listen there without TLS.
    ///
    /// # Errors
    /// Beyond the loopback that needs its flag.
    pub fn check_plaintext(&self, address: SocketAddr) -> Result<(), TlsArgsError> {
        if self.insecure_plaintext || address.ip().is_loopback() {
            Ok(())
        } else {
            Err(TlsArgsError::Plaintext(address.to_string()))
        }
    }
}

fn is_local(url: &Uri) -> bool {
    let host = url.host().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || address.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plaintext(url: &str, insecure_plaintext: bool) -> Result<(), TlsArgsError> {
        let args = TlsArgs {
            insecure_plaintext,
            ..TlsArgs::default()
        };
        args.for_url(&url.parse().expect("it is a URL")).map(|_| ())
    }

    #[test]
    fn plaintext_stays_on_the_loopback_unless_the_flag_is_given() {
        for local in ["http://127.0.0.1:1", "http://[::1]:1", "http://localhost:1"] {
            assert!(plaintext(local, false).is_ok(), "{local}");
        }
        for far in [
            "http://10.0.0.1:1",
            "http://configd:1",
            "http://localhost.example:1",
        ] {
            assert!(plaintext(far, false).is_err(), "{far}");
            assert!(plaintext(far, true).is_ok(), "{far}");
        }
        let args = TlsArgs::default();
        assert!(args.check_plaintext(([127, 0, 0, 1], 1).into()).is_ok());
        assert!(args.check_plaintext(([0, 0, 0, 0], 1).into()).is_err());
    }

    #[test]
    fn https_without_a_certificate_names_the_flags() {
        let error = plaintext("https://127.0.0.1:1", true).expect_err("no certificate");
        assert!(error.to_string().contains("--tls-cert"));
        let args = TlsArgs {
            tls_cert: Some("c".into()),
            ..TlsArgs::default()
        };
        let error = args.credentials().expect_err("two are missing");
        assert!(error.to_string().contains("--tls-key is missing"));
    }
}
