//! Tokens of an OpenID Connect issuer: JWTs (RFC 7519), whose signatures are checked with the issuer's public keys
//! (RFC 7517), fetched from where its discovery document says ("OpenID Connect Discovery 1.0", section 4).
//!
//! Only signatures of key pairs are accepted: with a shared secret (HS256) our copy of a public key could be
//! taken for one.

use super::{Role, Who};
use crate::envelope::Failure;
use anyhow::{Context, Result, bail};
use axum::http::StatusCode;
use jsonwebtoken::jwk::{Jwk, JwkSet, KeyAlgorithm, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use serde::Deserialize;
use serde_json::Value;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// An issuer, and what its tokens must say.
pub struct Oidc {
    /// `iss` has to be this.
    issuer: String,
    /// `aud` has to have this.
    audience: String,
    /// Where its keys are; by default where its discovery document says.
    keys_url: Option<String>,
    /// The claim that holds the roles.
    claim: String,
    keys: Arc<Mutex<Keys>>,
    /// One look for new keys at a time.
    fetching: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Keys {
    set: Option<Arc<JwkSet>>,
    fetched: Option<Instant>,
    tried: Option<Instant>,
}

/// The issuer may have other keys after this, and withdrawn old ones.
const FRESH: Duration = Duration::from_secs(600);

/// Keys that it is not possible to renew are believed for so long.
const STALE: Duration = Duration::from_secs(3600);

/// Somebody who sends unknown key ids must not make us ask the issuer each time.
const AGAIN: Duration = Duration::from_secs(10);

const ALGORITHMS: [Algorithm; 9] = [
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
    Algorithm::ES256,
    Algorithm::ES384,
    Algorithm::EdDSA,
];

#[derive(Deserialize)]
struct Discovery {
    issuer: String,
    jwks_uri: String,
}

impl Oidc {
    /// The issuer with this URL.
    pub fn new(
        issuer: String,
        audience: String,
        keys_url: Option<String>,
        claim: String,
    ) -> Result<Oidc> {
        for url in [Some(&issuer), keys_url.as_ref()].into_iter().flatten() {
            let loopback = ["http://127.0.0.1", "http://localhost", "http://[::1]"];
            let local = loopback.iter().any(|start| {
                let rest = url.strip_prefix(start);
                rest.is_some_and(|rest| rest.is_empty() || rest.starts_with([':', '/']))
            });
            if !url.starts_with("https://") && !local {
                bail!(
                    "the issuer's keys would come over plain HTTP from {url}: anybody between could give others"
                );
            }
        }
        Ok(Oidc {
            issuer,
            audience,
            keys_url,
            claim,
            keys: Arc::default(),
            fetching: tokio::sync::Mutex::new(()),
        })
    }

    /// Whose token this is.
    ///
    /// # Errors
    /// 401 if it is not valid, 403 if it has none of our roles, 503 if the issuer's keys cannot be had.
    pub async fn who(&self, token: &str) -> Result<Who, Failure> {
        let refuse = |why: String| Failure::new(StatusCode::UNAUTHORIZED, why);
        let header = decode_header(token).map_err(|error| refuse(format!("no JWT: {error}")))?;
        if !ALGORITHMS.contains(&header.alg) {
            return Err(refuse(format!(
                "{:?} is no signature of a key pair",
                header.alg
            )));
        }
        // RFC 7515, 4.1.11: what the issuer calls critical must be understood, and nothing of it is.
        if header.crit.is_some() {
            return Err(refuse("the JWT has critical extensions".into()));
        }
        let key = self.key(header.kid.as_deref(), header.alg).await?;
        let mut validation = Validation::new(header.alg);
        validation.set_issuer(&[&self.issuer]);
        validation.set_audience(&[&self.audience]);
        validation.set_required_spec_claims(&["exp", "iss", "aud"]);
        validation.validate_nbf = true;
        let claims = decode::<Value>(token, &key, &validation);
        let claims = claims
            .map_err(|error| refuse(format!("the JWT is not valid: {error}")))?
            .claims;
        let name = ["preferred_username", "email", "sub"]
            .iter()
            .find_map(|key| claims[key].as_str());
        let name = name.unwrap_or("somebody of the issuer's");
        match self.role(&claims) {
            Some(role) => Ok(Who {
                name: name.into(),
                role,
            }),
            None => {
                let none = format!("the JWT of {name} gives no role here");
                let hint = format!(
                    "its claim `{}` or `scope` must have minirun:read or minirun:operate",
                    self.claim
                );
                Err(Failure::new(StatusCode::FORBIDDEN, none).hint(hint))
            }
        }
    }

    /// The greatest role in the claims.
    fn role(&self, claims: &Value) -> Option<Role> {
        // A path into nested claims, as Keycloak's `realm_access.roles`.
        let nested = self
            .claim
            .split('.')
            .fold(claims, |claims, key| &claims[key]);
        let words = [nested, &claims["scope"]]
            .into_iter()
            .flat_map(|value| match value {
                Value::String(text) => text.split(' ').collect::<Vec<_>>(),
                Value::Array(items) => items.iter().filter_map(Value::as_str).collect(),
                _ => Vec::new(),
            });
        let roles = words.filter_map(|word| match word {
            "minirun:operate" => Some(Role::Operate),
            "minirun:read" => Some(Role::Read),
            _ => None,
        });
        roles.max()
    }

    /// The key of this id, for signatures of this kind; the only one if there is no id.
    async fn key(&self, id: Option<&str>, algorithm: Algorithm) -> Result<DecodingKey, Failure> {
        for attempt in 0..2 {
            let (set, fetched) = self.known();
            let fresh = fetched.is_some_and(|at| at.elapsed() < FRESH);
            let known = fetched.is_some_and(|at| at.elapsed() < STALE);
            let set = set.filter(|_| known);
            let keys = set.iter().flat_map(|set| &set.keys);
            let keys: Vec<&Jwk> = keys.filter(|key| is_for(key, algorithm)).collect();
            let key = match (id, &keys[..]) {
                (Some(id), keys) => keys
                    .iter()
                    .find(|key| key.common.key_id.as_deref() == Some(id)),
                (None, [only]) => Some(only),
                (None, _) => None,
            };
            if let Some(key) = key
                && (fresh || attempt > 0)
            {
                return DecodingKey::from_jwk(key).map_err(|error| {
                    let bad = format!("the issuer's key cannot be used: {error}");
                    Failure::new(StatusCode::UNAUTHORIZED, bad)
                });
            }
            if attempt == 0 {
                self.renew(fetched).await;
            }
        }
        match self.known().0 {
            Some(_) => {
                let unknown = "the JWT is signed with a key that is not the issuer's";
                Err(Failure::new(StatusCode::UNAUTHORIZED, unknown))
            }
            None => {
                let none = format!("the keys of {} cannot be had", self.issuer);
                Err(Failure::new(StatusCode::SERVICE_UNAVAILABLE, none))
            }
        }
    }

    fn known(&self) -> (Option<Arc<JwkSet>>, Option<Instant>) {
        let keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        (keys.set.clone(), keys.fetched)
    }

    /// Asks the issuer for its keys, unless somebody just has.
    async fn renew(&self, seen: Option<Instant>) {
        let _one = self.fetching.lock().await;
        {
            let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
            let another_did = keys.fetched != seen;
            let lately = keys.tried.is_some_and(|at| at.elapsed() < AGAIN);
            if another_did || lately {
                return;
            }
            keys.tried = Some(Instant::now());
        }
        let (issuer, url) = (self.issuer.clone(), self.keys_url.clone());
        let fetched = tokio::task::spawn_blocking(move || fetch(&issuer, url)).await;
        match fetched.map_err(anyhow::Error::from).and_then(|set| set) {
            Ok(set) => {
                let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
                keys.set = Some(Arc::new(set));
                keys.fetched = Some(Instant::now());
            }
            Err(error) => tracing::warn!("cannot get the keys of {}: {error:#}", self.issuer),
        }
    }
}

/// Is the key for such signatures, by what the issuer says of it?
fn is_for(key: &Jwk, algorithm: Algorithm) -> bool {
    let says = &key.common;
    let signs = says.public_key_use != Some(PublicKeyUse::Encryption);
    let fits = |known: &KeyAlgorithm| known.to_string() == format!("{algorithm:?}");
    signs && says.key_algorithm.as_ref().is_none_or(fits)
}

fn fetch(issuer: &str, keys_url: Option<String>) -> Result<JwkSet> {
    let config = ureq::Agent::config_builder()
        .timeout_global(Some(Duration::from_secs(5)))
        .max_redirects(0)
        .build();
    let agent = ureq::Agent::new_with_config(config);
    let get = |url: &str| -> Result<Vec<u8>> {
        let answer = agent
            .get(url)
            .call()
            .with_context(|| format!("cannot get {url}"))?;
        let body = answer
            .into_body()
            .into_with_config()
            .limit(1 << 20)
            .read_to_vec();
        body.with_context(|| format!("cannot read {url}"))
    };
    let url = match keys_url {
        Some(url) => url,
        None => {
            let base = issuer.trim_end_matches('/');
            let document = get(&format!("{base}/.well-known/openid-configuration"))?;
            let document: Discovery = serde_json::from_slice(&document)?;
            if document.issuer != issuer {
                bail!("it says that it is {}", document.issuer);
            }
            document.jwks_uri
        }
    };
    // What we cannot use (an unknown kind of key) must not keep us from the rest.
    let set: Value = serde_json::from_slice(&get(&url)?)?;
    let keys = set["keys"].as_array().context("there are no keys")?.iter();
    let keys = keys.filter_map(|key| serde_json::from_value(key.clone()).ok());
    Ok(JwkSet {
        keys: keys.collect(),
    })
}
