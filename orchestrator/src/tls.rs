//! TLS: the server's certificate and key, and making a pair that a browser does not believe but encrypts with.

use crate::auth::tokens::{Version, version};
use anyhow::{Context, Result, anyhow, bail};
use rcgen::{
    CertificateParams, DnType, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose, SanType,
};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::fs::{self, OpenOptions};
use std::io::{IsTerminal, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

/// How often the files of a certificate and its key are looked at.
const LOOK: Duration = Duration::from_secs(5);

/// Who has replaced one of them replaces the other within this time.
const BETWEEN: Duration = Duration::from_secs(1);

/// A certificate and its key in their files, and what is in use of them.
pub struct Pair {
    cert: PathBuf,
    key: PathBuf,
    read: [Option<Version>; 2],
    current: watch::Sender<TlsAcceptor>,
}

impl Pair {
    /// Reads them; `None` if neither is there.
    ///
    /// # Errors
    /// If only one of them is there, if they do not belong together, or others may read the key.
    pub fn open(cert: &Path, key: &Path) -> Result<Option<Pair>> {
        let read = [version(cert), version(key)];
        let Some(acceptor) = acceptor(cert, key)? else {
            return Ok(None);
        };
        Ok(Some(Pair {
            cert: cert.to_owned(),
            key: key.to_owned(),
            read,
            current: watch::Sender::new(acceptor),
        }))
    }

    /// What connections are accepted with; it changes when the files do.
    pub fn acceptor(&self) -> watch::Receiver<TlsAcceptor> {
        self.current.subscribe()
    }

    fn has_changed(&self) -> bool {
        self.read != [version(&self.cert), version(&self.key)]
    }

    /// Reads them again. What cannot be used changes nothing.
    fn renew(&mut self) {
        self.read = [version(&self.cert), version(&self.key)];
        let gone = || Err(anyhow!("the certificate and its key have gone"));
        match acceptor(&self.cert, &self.key).and_then(|acceptor| acceptor.map_or_else(gone, Ok)) {
            Ok(acceptor) => {
                self.current.send_replace(acceptor);
                let cert = self.cert.display();
                tracing::info!("the certificate {cert} was read again: new connections get it");
            }
            Err(error) => tracing::error!(
                "THE NEW CERTIFICATE CANNOT BE USED, and the old one stays in use: {error:#}"
            ),
        }
    }
}

/// Reads a certificate and its key again when they change, and at once on SIGHUP.
pub async fn keep_up(mut pair: Option<Pair>) {
    // When a terminal is closed, SIGHUP means that we should end.
    let hangup = (!std::io::stdin().is_terminal()).then(|| signal(SignalKind::hangup()));
    let mut hangup = hangup.and_then(Result::ok);
    let mut asked = async || match &mut hangup {
        Some(hangup) => hangup.recv().await,
        None => std::future::pending().await,
    };
    loop {
        let asked = tokio::select! {
            _ = asked() => true,
            () = tokio::time::sleep(LOOK) => false,
        };
        match &mut pair {
            Some(pair) if asked => pair.renew(),
            Some(pair) if pair.has_changed() => {
                tokio::time::sleep(BETWEEN).await;
                pair.renew();
            }
            Some(_) => {}
            None if asked => tracing::warn!(
                "no certificate is in use that could be read again: HTTPS begins when this server is started anew"
            ),
            None => {}
        }
    }
}

/// TLS 1.2 and 1.3, with this certificate; `None` if there is neither it nor its key.
fn acceptor(cert: &Path, key: &Path) -> Result<Option<TlsAcceptor>> {
    match (cert.exists(), key.exists()) {
        (false, false) => return Ok(None),
        (true, true) => {}
        (false, true) => bail!(
            "there is a key, {}, but no certificate {}",
            key.display(),
            cert.display()
        ),
        (true, false) => bail!(
            "there is a certificate, {}, but no key {}",
            cert.display(),
            key.display()
        ),
    }
    let readable = fs::metadata(key)
        .with_context(|| format!("cannot read {}", key.display()))?
        .mode()
        & 0o007;
    if readable != 0 {
        bail!("anybody may read the key {0}: chmod 600 {0}", key.display());
    }
    let chain = CertificateDer::pem_file_iter(cert);
    let chain = chain.and_then(|certs| certs.collect::<Result<Vec<_>, _>>());
    let chain = chain.with_context(|| format!("cannot read the certificate {}", cert.display()))?;
    let private = PrivateKeyDer::from_pem_file(key);
    let private = private.with_context(|| format!("cannot read the key {}", key.display()))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, private);
    let mut config = config.with_context(|| {
        format!(
            "the certificate {} and the key {} cannot be used",
            cert.display(),
            key.display()
        )
    })?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Some(TlsAcceptor::from(Arc::new(config))))
}

/// Makes a certificate that is its own issuer, for localhost and these names and addresses besides.
///
/// # Errors
/// If one of the files is there already (unless told to replace it), or cannot be written.
pub fn make(cert: &Path, key: &Path, names: &[String], days: u32, replace: bool) -> Result<()> {
    for path in [cert, key] {
        if path.exists() && !replace {
            bail!("{} exists; --force replaces it", path.display());
        }
        if let Some(dir) = path.parent().filter(|dir| !dir.as_os_str().is_empty()) {
            fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
        }
    }
    let mut all = ["localhost", "*.localhost", "127.0.0.1", "::1"]
        .map(String::from)
        .to_vec();
    all.extend(names.iter().cloned());
    let mut params =
        CertificateParams::new(all).context("a name is none that a certificate can have")?;
    params
        .distinguished_name
        .push(DnType::CommonName, "minirun");
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let now = std::time::SystemTime::now();
    params.not_before = (now - Duration::from_secs(3600)).into();
    params.not_after = (now + Duration::from_secs(86400 * u64::from(days))).into();
    debug_assert!(
        params
            .subject_alt_names
            .iter()
            .any(|name| matches!(name, SanType::IpAddress(_)))
    );
    let pair = KeyPair::generate()?;
    let signed = params.self_signed(&pair)?;
    // The key first: without its certificate it is of no use to anybody.
    write(key, &pair.serialize_pem(), 0o600)?;
    write(cert, &signed.pem(), 0o644)
}

/// Whole, or not at all, and never readable by more than it says.
fn write(path: &Path, text: &str, mode: u32) -> Result<()> {
    let partial = path.with_extension("partial");
    let written = (|| {
        fs::remove_file(&partial).ok();
        let mut file = OpenOptions::new();
        let mut file = file
            .write(true)
            .create_new(true)
            .mode(mode)
            .open(&partial)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&partial, path)
    })();
    written.with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_pair_is_made_once_and_can_be_used() {
        let dir = tempfile::tempdir().unwrap();
        let (cert, key) = (
            dir.path().join("tls/cert.pem"),
            dir.path().join("tls/key.pem"),
        );
        assert!(acceptor(&cert, &key).unwrap().is_none());
        make(
            &cert,
            &key,
            &["box.example".into(), "192.0.2.1".into()],
            365,
            false,
        )
        .unwrap();
        assert_eq!(key.metadata().unwrap().mode() & 0o777, 0o600);
        assert!(acceptor(&cert, &key).unwrap().is_some());
        let before = fs::read(&key).unwrap();
        assert!(make(&cert, &key, &[], 365, false).is_err());
        assert_eq!(fs::read(&key).unwrap(), before);
        fs::set_permissions(&key, PermissionsExt::from_mode(0o604)).unwrap();
        assert!(acceptor(&cert, &key).is_err(), "anybody may read it");
        make(&cert, &key, &[], 365, true).unwrap();
        assert_ne!(fs::read(&key).unwrap(), before);
        fs::remove_file(&cert).unwrap();
        assert!(acceptor(&cert, &key).is_err(), "half a pair");
    }
}
