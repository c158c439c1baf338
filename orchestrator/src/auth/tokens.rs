//! Tokens of our own: random, shown once, and kept only as hashes, in a file of the store.
//!
//! A token has 256 random bits: its SHA-256 cannot be turned back, nor guessed, as a password's could.

use super::{Role, Who};
use anyhow::{Context, Result, bail};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

/// What a token begins with: so that who finds one, by hand or by machine, knows what it is.
pub const PREFIX: &str = "mr_";

/// A token, as it is kept.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Token {
    /// Whose, or what for.
    pub name: String,
    /// What it allows.
    pub role: Role,
    /// SHA-256, in hexadecimal.
    hash: String,
    /// RFC 3339, in UTC.
    pub created_at: String,
    /// RFC 3339, in UTC; never, if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<String>,
}

impl Token {
    /// Is it too old?
    pub fn has_expired(&self) -> bool {
        // What cannot be read has expired.
        let end = self
            .expires_at
            .as_ref()
            .map(|text| humantime::parse_rfc3339(text));
        end.is_some_and(|end| end.map_or(true, |end| end <= SystemTime::now()))
    }
}

#[derive(Default, Serialize, Deserialize)]
struct Document {
    tokens: Vec<Token>,
}

/// The file of all tokens. It is read again when it has changed.
pub struct Tokens {
    path: PathBuf,
    read: Mutex<Option<(Version, Vec<Token>)>>,
}

/// When a file was written, and which: what a rename changes.
pub type Version = (u64, i64, i64, u64);

/// Of the file at a path, if there is one.
pub fn version(path: &Path) -> Option<Version> {
    let meta = fs::metadata(path).ok()?;
    Some((meta.ino(), meta.ctime(), meta.ctime_nsec(), meta.len()))
}

impl Tokens {
    /// Those in this file, which need not exist.
    pub fn at(path: impl Into<PathBuf>) -> Tokens {
        Tokens {
            path: path.into(),
            read: Mutex::new(None),
        }
    }

    /// Has there ever been one? The file stays when the last is revoked.
    pub fn exist(&self) -> bool {
        // Not `exists`, which is false for what one may not look at.
        !matches!(fs::metadata(&self.path), Err(error) if error.kind() == std::io::ErrorKind::NotFound)
    }

    /// Whose token this is.
    pub fn who(&self, token: &str) -> Option<Who> {
        let now = version(&self.path);
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        if now.is_none() || read.as_ref().map(|(version, _)| *version) != now {
            let document = self.document().unwrap_or_default();
            *read = now.map(|version| (version, document.tokens));
        }
        let hash = hash(token);
        let tokens = read.iter().flat_map(|(_, tokens)| tokens);
        let mut tokens = tokens.filter(|token| token.hash == hash);
        let token = tokens.find(|token| !token.has_expired())?;
        Some(Who {
            name: token.name.as_str().into(),
            role: token.role,
        })
    }

    fn document(&self) -> Result<Document> {
        let cannot = || format!("cannot read {}", self.path.display());
        match fs::read_to_string(&self.path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Document::default()),
            text => serde_json::from_str(&text.with_context(cannot)?).with_context(cannot),
        }
    }

    /// All of them.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn list(&self) -> Result<Vec<Token>> {
        Ok(self.document()?.tokens)
    }

    /// Makes one, and returns it: nobody can tell it a second time.
    ///
    /// # Errors
    /// If there is one of that name, or the file cannot be written.
    pub fn create(&self, name: &str, role: Role, lives: Option<Duration>) -> Result<String> {
        let fine = |c: char| c.is_ascii_alphanumeric() || "-_.@".contains(c);
        if name.is_empty() || name.len() > 64 || !name.chars().all(fine) {
            bail!("bad name {name:?}: use letters, digits, `-`, `_`, `.` and `@`, at most 64");
        }
        let mut random = [0; 32];
        let provider = rustls::crypto::ring::default_provider();
        let filled = provider.secure_random.fill(&mut random);
        filled.map_err(|_| anyhow::anyhow!("the system has no random bytes"))?;
        let token = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(random));
        let time = |time| humantime::format_rfc3339_seconds(time).to_string();
        let now = SystemTime::now();
        const CENTURY: Duration = Duration::from_secs(100 * 365 * 24 * 3600);
        if lives.is_some_and(|lives| lives > CENTURY) {
            bail!(
                "a token cannot be valid for more than a century: without --expires it is until it is revoked"
            );
        }
        self.change(|tokens| {
            if tokens.iter().any(|token| token.name == name) {
                bail!("there is a token called {name} already: revoke it first");
            }
            tokens.push(Token {
                name: name.to_owned(),
                role,
                hash: hash(&token),
                created_at: time(now),
                expires_at: lives.map(|lives| time(now + lives)),
            });
            Ok(())
        })?;
        Ok(token)
    }

    /// Makes a token worthless, at once.
    ///
    /// # Errors
    /// If there is none of that name, or the file cannot be written.
    pub fn revoke(&self, name: &str) -> Result<()> {
        self.change(|tokens| {
            let before = tokens.len();
            tokens.retain(|token| token.name != name);
            match tokens.len() < before {
                true => Ok(()),
                false => bail!("there is no token called {name}"),
            }
        })
    }

    /// Changes the file as one step, and never leaves half of it.
    fn change(&self, change: impl FnOnce(&mut Vec<Token>) -> Result<()>) -> Result<()> {
        let cannot = || format!("cannot write {}", self.path.display());
        if let Some(dir) = self.path.parent() {
            fs::create_dir_all(dir).with_context(cannot)?;
        }
        let beside = |end: &str| {
            let mut path = self.path.clone().into_os_string();
            path.push(end);
            PathBuf::from(path)
        };
        let lock = File::create(beside(".lock")).with_context(cannot)?;
        lock.lock().with_context(cannot)?;
        let mut document = self.document()?;
        change(&mut document.tokens)?;
        let partial = beside(".partial");
        fs::remove_file(&partial).ok();
        let mut file = OpenOptions::new();
        let file = file.write(true).create_new(true).mode(0o600).open(&partial);
        let mut file = file.with_context(cannot)?;
        let text = serde_json::to_string_pretty(&document)?;
        let written = file.write_all(text.as_bytes());
        let written = written.and_then(|()| file.sync_all());
        let written = written.and_then(|()| fs::rename(&partial, &self.path));
        written.with_context(|| {
            fs::remove_file(&partial).ok();
            cannot()
        })
    }
}

fn hash(token: &str) -> String {
    let digest = Sha256::digest(token.as_bytes());
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_token_is_known_until_it_is_revoked_or_too_old() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tokens.json");
        let tokens = Tokens::at(&path);
        assert!(!tokens.exist());
        let ours = tokens.create("ops", Role::Operate, None).unwrap();
        let old = tokens
            .create("old", Role::Read, Some(Duration::ZERO))
            .unwrap();
        assert!(tokens.create("ops", Role::Read, None).is_err());
        assert_eq!(tokens.who(&ours).unwrap().role, Role::Operate);
        std::thread::sleep(Duration::from_millis(1100));
        for wrong in ["", PREFIX, &ours[..ours.len() - 1], &old] {
            assert!(tokens.who(wrong).is_none(), "{wrong}");
        }
        let text = fs::read_to_string(&path).unwrap();
        assert!(!text.contains(&ours) && !text.contains(&ours[PREFIX.len()..]));
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        tokens.revoke("ops").unwrap();
        assert!(tokens.who(&ours).is_none());
        assert!(tokens.revoke("ops").is_err());
        tokens.revoke("old").unwrap();
        assert!(tokens.exist(), "the last token's end opens nothing");
    }

    #[test]
    fn a_file_that_is_broken_knows_nobody() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tokens.json");
        let tokens = Tokens::at(&path);
        let token = tokens.create("ops", Role::Operate, None).unwrap();
        fs::write(&path, "{").unwrap();
        assert!(tokens.who(&token).is_none() && tokens.exist());
        assert!(
            tokens.create("x", Role::Read, None).is_err(),
            "nothing is overwritten"
        );
    }
}
